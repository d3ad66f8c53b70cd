"""Worker processes of `laneway up` follow the load: one pool for each worker of a service."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from laneway.cli.up import ports
from laneway.cli.up.plan import Plan, Process
from laneway.cli.up.supervisor import Supervisor
from laneway.scaling.model import Intent, Objective
from laneway.scaling.processes import Pool, Scaler
from laneway.scaling.signals import Source, Workers
from laneway.scaling.signals.valkey import ValkeySignals

WITHIN = 5.0
"""Seconds that a message of a laptop may wait, in 95 of 100 cases."""

MEMORY = 30.0
"""Seconds for which processes are kept that were needed."""

STARTS_IN = 1.5
"""Seconds that a forked worker takes, until it has been seen; one that starts processes of its own is learned."""


@asynccontextmanager
async def scaling(plan: Plan, supervisor: Supervisor, *, at_most: int, slots: Mapping[str, int]) -> AsyncIterator[None]:
    """Scale the workers of a running plan, each pool between one and `at_most` processes of its role's slots."""
    pools = [
        Pool(_intent(each.queues, at_most, slots[each.role]), _source(each), WorkerProcesses(each, supervisor))
        for each in plan.processes
        if each.queues
    ]
    if at_most <= 1 or not pools:
        yield
        return
    signals = ValkeySignals(plan.broker_url)
    scaler = asyncio.create_task(Scaler(signals, pools, say=supervisor.say).run())
    scaler.add_done_callback(supervisor.watch)
    try:
        yield
    finally:
        scaler.cancel()
        await asyncio.gather(scaler, return_exceptions=True)
        await signals.close()


class WorkerProcesses:
    """The processes of one service's worker: the first is the plan's, others are like it but for their names."""

    def __init__(self, first: Process, supervisor: Supervisor) -> None:
        self._first = first
        self._supervisor = supervisor
        self._started = {first.name: time.time()}

    def started(self) -> Mapping[str, float]:
        return self._started

    def start(self) -> None:
        name = next(
            name for number in range(2, 10_000) if (name := f"{self._first.name}-{number}") not in self._started
        )
        environment = {**self._first.environment, "LANEWAY_INSTANCE": name}
        self._started[name] = time.time()
        another = replace(self._first, name=name, environment=environment)
        self._supervisor.add(another.telling_at(next(ports.from_base(0))))

    async def stop(self, name: str) -> None:
        await self._supervisor.remove(name)
        del self._started[name]


def _intent(queues: Sequence[str], at_most: int, slots: int) -> Intent:
    return Intent(
        queues=tuple(queues),
        objective=Objective(seconds=WITHIN),
        minimum=1,
        maximum=at_most,
        memory_seconds=MEMORY,
        slots=slots,
        startup_seconds=STARTS_IN,
    )


def _source(worker: Process) -> Source:
    return Source(pool=worker.name.removesuffix("-worker"), queues=worker.queues, workers=Workers.LANEWAY)
