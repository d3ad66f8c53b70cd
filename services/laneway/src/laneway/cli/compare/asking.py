"""Asks the caller, one after the other, many at once or at a rate; and looks up what the callee has done."""

import asyncio
import sqlite3
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc.aio

from laneway.compare.caller.v1.caller_pb2 import DESCRIPTOR, AskReply, AskRequest, Lane
from laneway.compare.services import seconds as duration

ASK = f"/{DESCRIPTOR.services_by_name['Caller'].full_name}/Ask"
TEXT = "x" * 512
"""What each request carries."""

PATIENCE = 10.0
"""Seconds that somebody waits for the caller's answer."""

LOOK_AGAIN = 0.05
"""Seconds between looks at what is done."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One call of the caller: when it began (since the run's begin), how long it took, and what went wrong."""

    at: float
    took: float
    noticed: str = ""
    retry_after: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing did."""
        return not self.noticed


@dataclass(frozen=True, slots=True)
class Done:
    """What the callee has done for a run: seconds from being asked to being done, and when, since the epoch."""

    after: Sequence[float]
    at: Sequence[float]


class Asking:
    """Asks one caller. Belongs to one event loop."""

    def __init__(self, target: str, database: Path) -> None:
        self._channel = grpc.aio.insecure_channel(target)
        self._ask = self._channel.unary_unary(ASK, AskRequest.SerializeToString, AskReply.FromString)
        self._database = database

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def ask(self, lane: Lane, run: str, *, takes: float = 0.0, begin: float | None = None) -> Sample:
        """Ask once."""
        called = time.monotonic()
        request = AskRequest(
            request_id=str(uuid.uuid4()), lane=lane, run=run, asked_at=time.time(), takes=duration(takes), text=TEXT
        )
        try:
            reply = await self._ask(request, timeout=PATIENCE)
            noticed, retry_after = reply.noticed, reply.retry_after
        except grpc.aio.AioRpcError as error:
            noticed, retry_after = error.code().name, 0.0
        at = called - (called if begin is None else begin)
        return Sample(at, time.monotonic() - called, noticed, retry_after)

    async def at_once(self, lane: Lane, run: str, *, in_flight: int, seconds: float) -> list[Sample]:
        """Keep so many in flight for so long."""
        samples: list[Sample] = []
        begin = time.monotonic()

        async def customer() -> None:
            while time.monotonic() - begin < seconds:
                samples.append(await self.ask(lane, run, begin=begin))

        await asyncio.gather(*(customer() for _ in range(in_flight)))
        return samples

    async def at_rate(
        self, lane: Lane, run: str, rates: Sequence[tuple[float, float]], *, takes: float = 0.0
    ) -> list[Sample]:
        """Ask at rates, each for so many seconds, whether or not those before were answered."""
        begin = due = time.monotonic()
        calls: list[asyncio.Task[Sample]] = []
        async with asyncio.TaskGroup() as group:
            for rate, seconds in rates:
                until = due + seconds
                while due < until:
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                    calls.append(group.create_task(self.ask(lane, run, takes=takes, begin=begin)))
                    due += 1 / rate
        return [call.result() for call in calls]

    def done(self, run: str) -> Done:
        """What the callee has committed of a run, by its own database."""
        with sqlite3.connect(f"file:{self._database}?mode=ro", uri=True) as database:
            rows = database.execute(
                "SELECT asked_at, done_at FROM work WHERE run = ? ORDER BY done_at", (run,)
            ).fetchall()
        database.close()
        return Done([done_at - asked_at for asked_at, done_at in rows], [done_at for _, done_at in rows])

    async def until_done(self, run: str, number: int, *, patience: float) -> Done:
        """Wait until so much of a run is done, or for so many seconds; what is done then."""
        deadline = time.monotonic() + patience
        while len((done := self.done(run)).at) < number and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_AGAIN)
        return done
