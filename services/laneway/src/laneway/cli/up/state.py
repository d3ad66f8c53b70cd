"""`up.json` in the data folder: what runs, for tests and for commands that look at it.

It is there when everything is ready, follows each restart, and is removed at the end.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from laneway.cli.up.plan import Plan, Process, reachable
from laneway.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Place:
    """A process that runs; `pid` is none between its death and its next start. `admin` is where it tells of itself."""

    pid: int | None
    port: int | None
    role: str
    service: str
    admin: str | None = None


@dataclass(frozen=True, slots=True)
class State:
    """What runs. `pid` is the supervisor's; `urls` are what a person may open: gateway, mail, traces, companions."""

    pid: int
    urls: Mapping[str, str]
    processes: Mapping[str, Place]

    @classmethod
    def of(cls, plan: Plan, processes: Iterable[Process], pids: Mapping[str, int]) -> Self:
        """The state of a running plan, whose processes may have become more."""
        return cls(
            pid=os.getpid(),
            urls=plan.urls,
            processes={each.name: _place(each, pids.get(each.name)) for each in processes},
        )

    @classmethod
    def read(cls, data: Path) -> Self | None:
        """The state in a data folder; none if nothing runs there."""
        try:
            value: dict[str, Any] = json.loads(_file(data).read_text())
        except (FileNotFoundError, NotADirectoryError):
            return None
        places = {name: Place(**place) for name, place in value.pop("processes").items()}
        state = cls(**value, processes=places)
        return state if _lives(state.pid) else None

    def write(self, data: Path) -> None:
        """Replace the file in one step."""
        file = _file(data)
        new = file.with_suffix(".new")
        new.write_text(json.dumps(asdict(self), indent=1))
        new.replace(file)


def _place(process: Process, pid: int | None) -> Place:
    admin = None if process.admin_port is None else f"http://{reachable(process.host)}:{process.admin_port}"
    return Place(pid, process.port, process.role, process.service, admin)


def make_folder(folder: Path) -> None:
    """Make a folder of data, with those above it.

    Raises:
        ConfigurationError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"The folder {folder} cannot be made ({error.strerror}); choose another place with --data."
        ) from None


def refuse_second(data: Path) -> None:
    """Refuse to run in a folder in which something runs.

    Raises:
        ConfigurationError: it does.
    """
    if (state := State.read(data)) is not None:
        raise ConfigurationError(
            f"Laneway runs in {data} already (process {state.pid}); stop it, or choose another folder with --data."
        )


def remove(data: Path) -> None:
    """Nothing runs any more."""
    _file(data).unlink(missing_ok=True)


def _file(data: Path) -> Path:
    return data / "up.json"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
