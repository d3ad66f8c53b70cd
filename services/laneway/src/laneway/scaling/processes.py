"""The embedded scaler: worker processes of one machine, scaled as the operator scales pods, by the same `decide`.

Knows neither how a process is started nor which services there are.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from time import time
from typing import Protocol

from laneway.errors import LanewayError
from laneway.scaling.model import Decision, Intent, Memory, Observation, Pod, Reading, Unknown
from laneway.scaling.signals import Signals, Source
from laneway.scaling.sizing import decide

log = logging.getLogger(__name__)

EACH = 1.0
"""Seconds between decisions."""


class Processes(Protocol):
    """The processes of one pool."""

    def started(self) -> Mapping[str, float]:
        """Those that are to run, by name, and when each was started. The first is never stopped."""
        ...

    def start(self) -> None:
        """One more."""
        ...

    async def stop(self, name: str) -> None:
        """One less: warm, and return when it has ended."""
        ...


@dataclass(frozen=True, slots=True)
class Pool:
    """What is scaled, to what end, and where its signals are."""

    intent: Intent
    source: Source
    processes: Processes


class Scaler:
    """Scales a set of pools until cancelled. Belongs to one event loop.

    `say` is told each change in a sentence.
    """

    def __init__(
        self,
        signals: Signals,
        pools: Sequence[Pool],
        *,
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time,
    ) -> None:
        self._signals = signals
        self._pools = [_Scaled(pool, signals, say) for pool in pools]
        self._clock = clock

    async def run(self) -> None:
        """Decide and apply, about once a second."""
        while True:
            await self.step()
            await asyncio.sleep(EACH)

    async def step(self) -> None:
        """One round over all pools. A broker that is away changes nothing."""
        readings = await self._signals.read([each.source for each in self._pools])
        now = self._clock()
        for each in self._pools:
            with suppress(LanewayError):  # the broker went away meanwhile; the next round sees it
                await each.apply(readings[each.source.pool], now)


class _Scaled:
    """One pool between two decisions."""

    def __init__(self, pool: Pool, signals: Signals, say: Callable[[str], None]) -> None:
        self._pool = pool
        self._signals = signals
        self._say = say
        self._memory = Memory()
        self._have_reported: set[str] = set()
        self._to_go: frozenset[str] = frozenset()

    @property
    def source(self) -> Source:
        return replace(self._pool.source, pods=tuple(self._pool.processes.started()))

    async def apply(self, reading: Reading | Unknown, now: float) -> None:
        """Decide, and do it. A process goes only when two decisions in a row say so."""
        observation = self._observation(reading)
        decision, self._memory = decide(self._pool.intent, observation, self._memory, now)
        await self._signals.undrain(self.source, decision.undrain)
        await self._signals.drain(self.source, decision.drain)
        sure = self._to_go & frozenset(decision.remove)
        self._to_go = frozenset(decision.remove)
        for name in sorted(sure):
            self._tell(decision)
            await self._pool.processes.stop(name)
            await self._signals.undrain(self.source, [name])
        if decision.replicas > observation.replicas:
            self._tell(decision)
            for _ in range(decision.replicas - observation.replicas):
                self._pool.processes.start()

    def _observation(self, reading: Reading | Unknown) -> Observation:
        started = self._pool.processes.started()
        if isinstance(reading, Reading):
            self._have_reported |= {worker.pod for worker in reading.workers}
        self._have_reported &= started.keys()
        first = next(iter(started), "")
        pods = tuple(
            Pod(name=name, created_at=at, ready=name in self._have_reported, fixed=name == first)
            for name, at in started.items()
        )
        return Observation(reading=reading, replicas=len(pods), pods=pods)

    def _tell(self, decision: Decision) -> None:
        self._say(f"{self.source.pool}: {decision.message}")
