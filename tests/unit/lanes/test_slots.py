"""When a worker of `cpu_bound` queues is not alive, by processes that a test plays."""

import asyncio
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from laneway.contract.tuning import Tuning
from laneway.lanes.queue import slots
from laneway.lanes.queue.slot import Ready
from laneway.lanes.queue.slots import PATIENCE, Slots
from laneway.telemetry.children import Children
from tests.fixtures.shelf import Clock


class Ended:
    """What is left of a process: how it ended."""

    pid, exitcode = 1, 1

    def kill(self) -> None: ...
    def join(self) -> None: ...


class Starts:
    """Processes that come to where they can run messages, or end at once."""

    def __init__(self) -> None:
        self.well = True
        self.far_ends: list[Connection] = []
        self.failed = asyncio.Event()

    def __call__(self) -> Any:
        here, there = Pipe()
        if self.well:
            there.send(Ready())
            self.far_ends.append(there)
        else:
            there.close()
            self.failed.set()
        return Ended(), here


async def until(fact: Any) -> None:
    async with asyncio.timeout(10):
        while not fact():
            await asyncio.sleep(0)


async def test_a_worker_whose_processes_cannot_start_is_not_alive_after_its_patience(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slots, "PAUSES", (0.001, 0.001))
    starts, clock = Starts(), Clock()
    own = Slots(starts, 1, dispatcher=None, tuning=Tuning(), children=Children(CollectorRegistry()), clock=clock)  # type: ignore[arg-type] # it runs nothing
    async with own.open():
        keeping = asyncio.create_task(own.keep())
        clock.now += 10 * PATIENCE
        assert own.ailment() is None

        starts.well = False
        starts.far_ends.pop().close()
        async with asyncio.timeout(10):
            await starts.failed.wait()
        clock.now += PATIENCE - 1
        assert own.ailment() is None
        clock.now += 2
        assert own.ailment() == "no process for cpu_bound queues has started for 61 s"

        starts.well = True
        await until(lambda: own.ailment() is None)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        starts.far_ends.pop().close()
