"""A server that is asked for more than it can do: what nobody waits for any more is not begun, by the caller's own clock."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from laneway.call import Call, Surroundings
from laneway.contract.model import Contract
from laneway.lanes.dispatch import Dispatcher
from laneway.lanes.grpc.server import GrpcServer
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from tests.faults.conftest import Figure
from tests.fixtures.protos import service_of

CALLS, WORK, PATIENCE = 300, 0.005, 0.3
"""Calls at once, seconds of the server's loop that each takes, and seconds that its caller waits."""

LATE = 0.01
ROUNDS = 3


class Overloaded:
    """A server whose handlers keep its loop busy, and its callers, who are not on that loop."""

    def __init__(self, folder: Path) -> None:
        self.late: list[float] = []
        """How long after its caller's deadline each handler began; below zero: before."""
        contract = Contract.of([service_of(folder, "service Shelf { rpc Put(Request) returns (Reply); }")])
        (self._method,) = contract
        surroundings = Surroundings(
            store=None, tracing=Tracing("s", "s-1", None), wall_clock=time.time, monotonic=time.monotonic
        )
        dispatcher = Dispatcher(
            contract, {self._method.full_name: self._put}, surroundings=surroundings, metrics=Metrics()
        )
        self.server = GrpcServer(dispatcher, host="127.0.0.1", port=0)

    async def _put(self, request: Any, call: Call) -> Any:
        self.late.append(time.monotonic() - float(request.name))
        time.sleep(WORK)  # noqa: ASYNC251 the loop is to be busy
        return self._method.output()

    def called(self) -> list[grpc.StatusCode]:
        """Make all calls at once; how they ended."""
        path = f"/{self._method.service_name}/{self._method.name}"
        with grpc.insecure_channel(f"127.0.0.1:{self.server.port}") as channel:
            put = channel.unary_unary(path, self._method.input.SerializeToString, self._method.output.FromString)
            calls = []
            for _ in range(CALLS):
                request = self._method.input(name=repr(time.monotonic() + PATIENCE))
                calls.append(put.future(request, timeout=PATIENCE))
            return [call.code() for call in calls]


@pytest.fixture
async def overloaded(tmp_path: Path) -> AsyncIterator[Overloaded]:
    overloaded = Overloaded(tmp_path)
    await overloaded.server.start()
    yield overloaded
    await overloaded.server.stop(0)


async def test_nothing_synchronous_starts_more_than_10_ms_after_its_deadline(
    overloaded: Overloaded, figure: Figure
) -> None:
    latest = []
    for _ in range(ROUNDS):
        overloaded.late.clear()
        ends = await asyncio.to_thread(overloaded.called)
        assert grpc.StatusCode.DEADLINE_EXCEEDED in ends, "there was more than could be done"
        assert 0 < len(overloaded.late) < CALLS
        latest.append(max(overloaded.late))
    figure("latest start of a synchronous call after its deadline", f"{min(latest) * 1000:.1f} ms", "≤ 10 ms")
    assert min(latest) <= LATE  # a machine that does something else in between is not the server
