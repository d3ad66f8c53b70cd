"""`laneway load`: callers that come whether or not those before them were answered, and what became of them.

A call counts from when it was due: what a late caller, or one that is not answered yet, has waited is in the figures.

`--unprotected` drives the same services without breakers, limits and retry budgets beside them, with the same faults.
What a call is, an installed distribution says (entry-point group `laneway.loads`).
"""

import asyncio
import contextlib
import json
import math
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from laneway.cli import discovery
from laneway.cli.discovery import Caller
from laneway.cli.percentile import percentile
from laneway.cli.up.plan import FAULTS
from laneway.cli.up.state import State
from laneway.errors import ConfigurationError, Unavailable

UNPROTECTED = """
defaults:
  breaker: {mode: FORCED_CLOSED}
  limit: {max_concurrent: 0}
  retry: {max_attempts: 3, budget: 1000}
"""
"""The policy of the same services without what this is about."""

OF_THE_FIRST = frozenset({"LANEWAY_BROKER_URL", "LANEWAY_DATABASE_URL", "LANEWAY_DATABASES", "SMTP_URL"})
"""What the running services are told of their surroundings, and a second set must not share."""

UP_WITHIN = 90.0
"""Seconds for the second set of services to be up."""

LATE = 2
"""Seconds after which what was due in one is told: by then it has mostly ended, and what has not, waits."""


WAITING = "waiting"


class Outcome(Enum):
    """What became of a call."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(slots=True)
class Second:
    """The calls that were due in one second."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    waiting: set[float] = field(default_factory=set)
    """When each was due that has not ended."""

    def ended(self, outcome: Outcome, due: float, now: float) -> None:
        """One of them has."""
        self.waiting.remove(due)
        self.outcomes[outcome] += 1
        self.latencies.append(now - due)

    def facts(self, now: float) -> dict[str, float]:
        """What is told of it; a call that has not ended has taken as long as it waits."""
        waited = [*self.latencies, *(now - due for due in self.waiting)]
        counts: dict[str, float] = {outcome.value: self.outcomes[outcome] for outcome in Outcome}
        shares = {"p50_ms": round(percentile(waited, 0.5), 1), "p99_ms": round(percentile(waited, 0.99), 1)}
        return {**counts, WAITING: len(self.waiting), **shares}


class Load:
    """Drives one set of services, with calls that are due at the rate, for so many seconds from now."""

    def __init__(
        self, caller: Caller, rate: float, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._caller = caller
        self._clock = clock
        self._begin = begin = clock()
        self._dues = [begin + number / rate for number in range(math.ceil(seconds * rate))]
        self._seconds: defaultdict[int, Second] = defaultdict(Second)
        for due in self._dues:  # known before they come: a call that is late is not missing
            self._of(due).waiting.add(due)

    async def run(self) -> None:
        """Come when they are due; return when the last call has ended."""
        async with asyncio.TaskGroup() as calls:
            for due in self._dues:
                await asyncio.sleep(max(0.0, due - self._clock()))
                calls.create_task(self._call(due))

    def told(self, number: int) -> dict[str, float]:
        """What became by now of the calls that were due in a second, counted from the first."""
        return self._seconds[number].facts(self._clock())

    async def _call(self, due: float) -> None:
        outcome = Outcome(await self._caller())
        self._of(due).ended(outcome, due, self._clock())

    def _of(self, due: float) -> Second:
        return self._seconds[int(due - self._begin)]


async def run_load(data: Path, *, rate: float, seconds: float, unprotected: bool, as_json: bool) -> None:
    """Drive the running services, and tell of each second.

    Raises:
        ConfigurationError: nothing runs in the folder, or no load is installed.
        Unavailable: the second set of services did not come up.
    """
    folders = [data]
    async with AsyncExitStack() as stack:
        url = _door(data)
        make = discovery.the_load()
        callers = [await stack.enter_async_context(make(url))]
        if unprotected:
            print("starting the same services without breakers beside these", file=sys.stderr)
            folders.append(await stack.enter_async_context(_beside(data)))
            callers.append(await stack.enter_async_context(make(_door(folders[1]))))
        loads = [Load(caller, rate, seconds) for caller in callers]
        _say_columns(as_json, len(loads))
        telling = asyncio.create_task(_tell(loads, int(seconds), as_json=as_json))
        stack.callback(telling.cancel)
        await asyncio.gather(*(load.run() for load in loads))
        await telling


def _door(data: Path) -> str:
    state = State.read(data)
    if state is None or "gateway" not in state.urls:
        raise ConfigurationError(f"Nothing runs in {data}; start `laneway up`, or name its folder with --data.")
    return str(state.urls["gateway"])


async def _tell(loads: Sequence[Load], seconds: int, *, as_json: bool) -> None:
    for number in range(seconds):
        await asyncio.sleep(1.0 if number else 1.0 + LATE)
        told = [load.told(number) for load in loads]
        if as_json:
            names = ("protected", "unprotected")
            print(json.dumps({"second": number + 1, **dict(zip(names, told, strict=False))}), flush=True)
        else:
            print(f"{number + 1:>5}  " + "   │ ".join(_columns(facts) for facts in told), flush=True)


def _columns(facts: dict[str, float]) -> str:
    return "".join(f"{fact:>9.0f}" for fact in facts.values())


def _say_columns(as_json: bool, count: int) -> None:
    if as_json:
        return
    names = "".join(f"{name.replace('_', ' '):>9}" for name in Second().facts(0.0))
    if count > 1:
        print(f"{'':>5}  {'as they are':>{len(names)}}   │ {'without breakers':>{len(names)}}")
    print(f"{'s':>5}  " + "   │ ".join([names] * count))


@asynccontextmanager
async def _beside(data: Path) -> AsyncIterator[Path]:
    """The same services with a policy that protects nothing; their folder. The faults are those of the first."""
    with tempfile.TemporaryDirectory(prefix="laneway-load-") as name:
        folder, policy = Path(name) / "data", Path(name) / "policy"
        for made in (folder, policy):
            made.mkdir()
        (policy / "policy.yaml").write_text(UNPROTECTED)
        with (Path(name) / "up.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "laneway.cli", "up", "--port", "0", "--base-port", "0", "--data", str(folder),
                stdout=log, stderr=log, env=surroundings(os.environ, policy), start_new_session=True,
            )  # fmt: skip
        mirroring = asyncio.create_task(_mirror(data / FAULTS, folder / FAULTS))
        try:
            await _until_up(folder, process, Path(name) / "up.log")
            yield folder
        finally:
            mirroring.cancel()
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
            await process.wait()


def surroundings(environment: Mapping[str, str], policy: Path) -> dict[str, str]:
    """The environment of the second set of services, which shares neither data nor mail with the first."""
    own = {name: value for name, value in environment.items() if name.split("__")[0] not in OF_THE_FIRST}
    return {**own, "LANEWAY_POLICY_FOLDER": str(policy)}


async def _until_up(folder: Path, process: asyncio.subprocess.Process, log: Path) -> None:
    try:
        async with asyncio.timeout(UP_WITHIN):
            while State.read(folder) is None:
                if process.returncode is not None:
                    raise Unavailable(f"The second set of services ended: {_last_line(log)}")
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise Unavailable(f"The second set of services was not up within {UP_WITHIN:g} s.") from None


def _last_line(log: Path) -> str:
    return next(reversed(log.read_text(errors="replace").splitlines()), "it said nothing")


async def _mirror(source: Path, target: Path) -> None:
    while True:
        _copy(source, target)
        await asyncio.sleep(0.25)


def _copy(source: Path, target: Path) -> None:
    if not target.is_dir():
        return
    for file in target.glob("*.json"):
        if not (source / file.name).exists():
            file.unlink(missing_ok=True)
    for file in source.glob("*.json"):
        new = target / f"{file.name}.new"
        with contextlib.suppress(FileNotFoundError):  # taken away in this moment
            shutil.copyfile(file, new)
            new.replace(target / file.name)
