"""What a person has chosen to go wrong with a service, to see what the others do: `laneway fault`.

A file for each service in a folder that `laneway up` gives to its processes; elsewhere there is no folder, and nothing
of this is in force. A service that is to be down is not this module's: its processes are not kept running.
"""

import asyncio
import json
import logging
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from laneway.errors import Internal, Unavailable

log = logging.getLogger(__name__)

LOOK_AGAIN = 0.25
"""Seconds between looks at the folder."""

REASON = "FAULT_INJECTED"


class Kind(StrEnum):
    """How a service fails."""

    SLOW = "slow"
    """Each call takes longer."""
    ERROR = "error"
    """Each call fails at once."""
    HANG = "hang"
    """No call ends before its deadline."""
    FLAKY = "flaky"
    """A share of the calls fails."""
    DOWN = "down"
    """Nothing of it runs."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong: `seconds` are those of slow calls, `share` that of flaky ones."""

    kind: Kind
    seconds: float = 2.0
    share: float = 0.5

    @classmethod
    def read(cls, folder: Path, service: str) -> Self | None:
        """The fault that a service has now."""
        try:
            value = json.loads(_file(folder, service).read_text())
        except FileNotFoundError:
            return None
        return cls(**{**value, "kind": Kind(value["kind"])})

    def write(self, folder: Path, service: str) -> None:
        """Give it to a service, in the place of the one before."""
        file = _file(folder, service)
        new = file.with_suffix(".new")
        new.write_text(json.dumps(asdict(self)))
        new.replace(file)


def remove(folder: Path, service: str) -> None:
    """A service is well again."""
    _file(folder, service).unlink(missing_ok=True)


class Faults:
    """The fault of one service's process."""

    def __init__(self, folder: Path | None, service: str, *, random: Callable[[], float] = random.random) -> None:
        self.present: Fault | None = None
        self._folder = folder
        self._service = service
        self._random = random

    async def keep(self) -> None:
        """Look again and again, until cancelled."""
        while self._folder is not None:
            found = Fault.read(self._folder, self._service)
            if found != self.present:
                log.warning("fault changed", extra={"fault": "none" if found is None else found.kind.value})
            self.present = found
            await asyncio.sleep(LOOK_AGAIN)

    async def strike(self) -> None:
        """Before a handler runs: what goes wrong with it."""
        fault = self.present
        if fault is None:
            return
        if fault.kind is Kind.SLOW:
            await asyncio.sleep(fault.seconds)
        elif fault.kind is Kind.HANG:
            await asyncio.Event().wait()
        elif fault.kind is Kind.ERROR:
            raise Internal(f"{self._service} fails, as it was told to.", reason=REASON)
        elif fault.kind is Kind.FLAKY and self._random() < fault.share:
            raise Unavailable(f"{self._service} fails now and then, as it was told to.", reason=REASON)


def _file(folder: Path, service: str) -> Path:
    return folder / f"{service}.json"
