"""A caller with a database, the callee whom it asks by each lane, and the edge in front of that one.

The callee's work is one row, after what it waits for: something of which it has four, as of connections to a provider.
"""

import asyncio
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import httpx
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from sqlalchemy import BigInteger, Column, Float, MetaData, Table, Text, insert, select, update

from laneway.call import Call
from laneway.client import Lanes
from laneway.compare.callee.v1.callee_laneway import CalleeClient, CalleeService
from laneway.compare.callee.v1.callee_pb2 import Added, ChangeReply, ChangeRequest, Sum, WorkReply, WorkRequest
from laneway.compare.caller.v1.caller_laneway import CallerService
from laneway.compare.caller.v1.caller_pb2 import AskReply, AskRequest, Lane
from laneway.compare.caller.v1.events_pb2 import Asked
from laneway.domain.aggregate import Aggregate, applies
from laneway.errors import Code, LanewayError
from laneway.service import Service

AT_ONCE = 4
"""Of what the callee waits for, so many are there."""

EDGE_URL = "EDGE_URL"
"""The environment variable that tells the caller where the edge is."""

HTTP_CODES = {429: Code.RESOURCE_EXHAUSTED, 503: Code.UNAVAILABLE, 504: Code.DEADLINE_EXCEEDED}

metadata = MetaData()

work = Table(
    "work",
    metadata,
    Column("id", Text, primary_key=True),
    Column("run", Text, nullable=False),
    Column("asked_at", Float, nullable=False),
    Column("done_at", Float, nullable=False),
)

sums = Table("sums", metadata, Column("id", Text, primary_key=True), Column("value", BigInteger, nullable=False))


class Number(Aggregate):
    """A number that is what was added."""

    value = 0

    def add(self, value: int) -> None:
        """Add to it."""
        self.record(Added(value=value))

    @applies(Added)
    def _added(self, event: Added) -> None:
        self.value += event.value


class Snapshotted(Number):
    """The same, read from its last snapshot on."""

    snapshot_every = 100
    snapshot_type = Sum

    def snapshot(self) -> Message:
        return Sum(value=self.value)

    def restore(self, state: Message) -> None:
        if isinstance(state, Sum):
            self.value = state.value


N = TypeVar("N", bound=Number)


class Callee(CalleeService):
    def __init__(self) -> None:
        self._needed = asyncio.Semaphore(AT_ONCE)

    async def work(self, request: WorkRequest, call: Call) -> WorkReply:
        return WorkReply(done_at=await self._work(request, call))

    async def on_asked(self, event: Asked, call: Call) -> Empty:
        await self._work(event, call)
        return Empty()

    async def change_row(self, request: ChangeRequest, call: Call) -> ChangeReply:
        rows = await call.fetch(select(sums).where(sums.c.id == request.id))
        if not rows:
            call.execute(insert(sums), [{"id": request.id, "value": request.add * request.times}])
            return ChangeReply(sum=request.add * request.times)
        before, after = rows[0].value, rows[0].value + request.add * request.times
        as_read = sums.c.id == request.id, sums.c.value == before
        call.execute(update(sums).where(*as_read).values(value=after), expect=1)
        return ChangeReply(sum=after)

    async def change_aggregate(self, request: ChangeRequest, call: Call) -> ChangeReply:
        return await self._change(Number, request, call)

    async def change_snapshotted(self, request: ChangeRequest, call: Call) -> ChangeReply:
        return await self._change(Snapshotted, request, call)

    async def _change(self, kind: type[N], request: ChangeRequest, call: Call) -> ChangeReply:
        number = await call.load(kind, request.id)
        for _ in range(request.times):
            number.add(request.add)
        call.save(number)
        return ChangeReply(sum=number.value)

    async def _work(self, asked: WorkRequest | Asked, call: Call) -> float:
        if seconds := asked.takes.ToTimedelta().total_seconds():
            async with self._needed:
                await asyncio.sleep(seconds)
        done_at = call.now()
        row = {"id": str(uuid.uuid4()), "run": asked.run, "asked_at": asked.asked_at, "done_at": done_at}
        call.execute(insert(work), [row])
        return done_at


class Caller(CallerService):
    def __init__(self, callee: CalleeClient, edge: httpx.AsyncClient) -> None:
        self._callee = callee
        self._edge = edge

    async def ask(self, request: AskRequest, call: Call) -> AskReply:
        asked = WorkRequest(run=request.run, asked_at=request.asked_at, takes=request.takes, text=request.text)
        try:
            if request.lane == Lane.REST:
                return await self._over_rest(asked, call)
            if request.lane == Lane.GRPC:
                await self._callee.work(asked)
            elif request.lane == Lane.QUEUE:
                await self._callee.work.start(asked)
            elif request.lane == Lane.EVENT:
                call.emit(Asked(run=request.run, asked_at=request.asked_at, takes=request.takes, text=request.text))
        except LanewayError as error:
            return AskReply(noticed=error.code.name, retry_after=error.retry_after)
        return AskReply()

    async def _over_rest(self, asked: WorkRequest, call: Call) -> AskReply:
        async with call.outside("work") as key:
            answer = await self._edge.post("/v1/work", json=MessageToDict(asked), headers={"Idempotency-Key": key})
        if answer.is_success:
            return AskReply()
        code = HTTP_CODES.get(answer.status_code, Code.UNKNOWN)
        return AskReply(noticed=code.name, retry_after=float(answer.headers.get("Retry-After", 0)))


def callee(_: Lanes) -> Service:
    """The one who is asked."""
    return Service(
        "callee", Callee(), migrations=Path(__file__).with_name("migrations"), aggregates=[Number, Snapshotted]
    )


def caller(lanes: Lanes) -> Service:
    """The one who asks."""
    edge = httpx.AsyncClient(base_url=os.environ.get(EDGE_URL, ""), timeout=5)
    return Service("caller", Caller(CalleeClient(lanes), edge))


def edge(lanes: Lanes) -> Service:
    """The door that answers for the callee over REST."""
    return Service("edge", expose=[CalleeClient(lanes)], database=False)


PARTS: dict[str, Callable[[Lanes], Service]] = {"callee": callee, "caller": caller, "edge": edge}
"""What runs, by name."""


def seconds(value: float) -> Duration:
    """A duration of the contract."""
    duration = Duration()
    duration.FromNanoseconds(round(value * 1e9))
    return duration
