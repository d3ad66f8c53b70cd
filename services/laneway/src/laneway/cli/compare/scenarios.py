"""What happens while the lanes are measured: nothing, a slow callee, none, ten times the calls.

Beside them, what one change of a number costs by how it is kept.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import grpc.aio
import httpx
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from laneway.cli.compare.asking import TEXT, Asking, Done, Sample
from laneway.cli.compare.costs import Meter, broker_bytes, cpu_seconds, database_bytes
from laneway.cli.compare.figures import Figures, Kept, figures, percentile
from laneway.cli.compare.parts import Parts
from laneway.compare.callee.v1.callee_laneway import CalleeClient
from laneway.compare.callee.v1.callee_pb2 import ChangeReply, ChangeRequest, WorkRequest
from laneway.compare.caller.v1.caller_pb2 import Lane
from laneway.errors import Unavailable
from laneway.lanes.grpc.channel import GrpcTransport
from laneway.lanes.outgoing import Lanes
from laneway.resilience.pipeline import Pipelines
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing

ALONE = "(none)"
"""The caller's own work, which asks nobody."""

LANES = {"REST": Lane.REST, "gRPC": Lane.GRPC, "queue": Lane.QUEUE, "event": Lane.EVENT}
WAITED_FOR = ("REST", "gRPC")

CALM_RATE, CALM = 25.0, 3.0
"""Calls per second, and seconds, of what is told of a healthy callee."""
IN_FLIGHT, MANY = 16, 2.0
STEADY_RATE, STEADY = 10.0, 4.0
"""Calls per second and lane, and seconds, of what is told of a slow and of a missing callee."""
SLOWER = 0.5
TAKES = 0.05
BURST = ((15.0, 2.0), (150.0, 3.0))
"""Rates and seconds: what the callee can do at once takes 80 such calls a second."""
METERED = 50
CHANGES = 100
WELL_WITHIN, DONE_WITHIN = 20.0, 60.0

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Compared:
    """All that was measured."""

    lanes: list[Figures]
    kept: list[Kept]


async def compare(parts: Parts, *, scale: float, progress: Progress) -> Compared:
    """Measure everything; `scale` multiplies how long and how often."""
    asking = Asking(f"127.0.0.1:{parts.port('caller')}", parts.database("callee"))
    try:
        lanes = Comparison(parts, asking, scale, progress)
        # First: what the lanes leave is forgotten by and by, and would be missing in the bytes that a change adds.
        kept = await lanes.kept()
        measured = [*await lanes.healthy(), *await lanes.slow(), *await lanes.burst(), *await lanes.down()]
        return Compared(measured, kept)
    finally:
        await asking.close()


class Comparison:
    """The scenarios, one after the other, on the same processes."""

    def __init__(self, parts: Parts, asking: Asking, scale: float, progress: Progress) -> None:
        self._parts = parts
        self._asking = asking
        self._scale = scale
        self._progress = progress

    async def healthy(self) -> list[Figures]:
        """Each lane alone: at a calm rate for the times, many calls at once for the rest."""
        await self._well()
        sizes = await self._bytes_waited_for()
        idle = await self._idle_bytes()
        found = []
        for name, lane in {ALONE: Lane.LANE_UNSPECIFIED, **LANES}.items():
            self._progress(f"healthy, {name}")
            calm = await self._asking.at_rate(lane, f"calm {name}", [(CALM_RATE, CALM * self._scale)])
            done = await self._all_done(f"calm {name}", lane, calm)
            costs = await self._many(name, lane, idle)
            found.append(figures("healthy", name, calm, done, **{**costs, **sizes.get(name, {})}))
        return found

    async def slow(self) -> list[Figures]:
        """The callee takes half a second longer; all lanes at a calm rate, at the same time."""
        self._progress("callee slow")
        self._parts.slow(SLOWER)
        await self._until_slow()
        samples = await self._all_lanes("slow")
        found = await self._figures("callee slow", "slow", samples)
        self._parts.slow(0)
        await self._well()
        return found

    async def down(self) -> list[Figures]:
        """The callee's server and worker are killed, and come back when all have asked."""
        self._progress("callee down")
        await self._parts.kill()
        samples = await self._all_lanes("down")
        self._progress("callee back")
        await self._parts.revive()
        return await self._figures("callee down", "down", samples)

    async def burst(self) -> list[Figures]:
        """Ten times the calls for a while, each lane alone."""
        found = []
        for name, lane in LANES.items():
            self._progress(f"10x burst, {name}")
            rates = [(rate, seconds * self._scale) for rate, seconds in BURST]
            samples = await self._asking.at_rate(lane, f"burst {name}", rates, takes=TAKES)
            found += await self._figures("10x burst", "burst", {name: samples})
            await self._well()
        return found

    async def kept(self) -> list[Kept]:
        """One change: of a row, and of an aggregate whose log is short, long, or long with snapshots."""
        self._progress("a row, and an event-sourced aggregate")
        ways = (
            ("a row", "ChangeRow", 1),
            ("events, 10 before", "ChangeAggregate", 10),
            ("events, 1,000 before", "ChangeAggregate", 1_000),
            ("events, 1,000 before, snapshots", "ChangeSnapshotted", 1_000),
        )
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self._parts.port('callee')}") as channel:
            return [await self._changes(channel, how, method, before) for how, method, before in ways]

    # What they are made of

    async def _many(self, name: str, lane: Lane, idle: float) -> dict[str, float | None]:
        """Calls that are done in a second; CPU milliseconds, and bytes through the broker, of one."""
        run, seconds = f"many {name}", MANY * self._scale
        pids, url = list(self._parts.supervisor.pids.values()), self._parts.plan.broker_url
        cpu, through, begin = cpu_seconds(pids), broker_bytes(url), time.time()
        samples = await self._asking.at_once(lane, run, in_flight=IN_FLIGHT, seconds=seconds)
        done = await self._all_done(run, lane, samples)
        moved = broker_bytes(url) - through - idle * (time.time() - begin)
        took = max([begin + seconds, *done.at]) - begin
        return {
            "per_second": round(len(samples) / took, 1),
            "cpu": _milliseconds(cpu, cpu_seconds(pids), len(samples)),
            "bytes": max(0, round(moved / len(samples))),
        }

    async def _bytes_waited_for(self) -> dict[str, dict[str, float]]:
        """Bytes a call over REST, with the call behind the edge, and over gRPC, on connections that are open."""
        grpc_meter, rest_meter = Meter(self._parts.port("callee")), Meter(self._parts.port("edge-rest"))
        async with grpc_meter.open(), rest_meter.open():
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{rest_meter.port}") as client:
                rest = await _metered(rest_meter, lambda: _post(client))
            transport = GrpcTransport(lambda _: f"127.0.0.1:{grpc_meter.port}")
            tracing = Tracing("compare", "compare", None)
            callee = CalleeClient(Lanes(transport, pipelines=Pipelines(), tracing=tracing, metrics=Metrics()))
            try:
                over_grpc = await _metered(grpc_meter, lambda: callee.work(_request()))
            finally:
                await transport.close()
        return {ALONE: {"bytes": 0}, "REST": {"bytes": round(rest + over_grpc)}, "gRPC": {"bytes": round(over_grpc)}}

    async def _idle_bytes(self) -> float:
        """What goes through the broker in a second in which nobody asks."""
        before = broker_bytes(self._parts.plan.broker_url)
        await asyncio.sleep(1.0)
        return broker_bytes(self._parts.plan.broker_url) - before

    async def _all_lanes(self, run: str) -> dict[str, list[Sample]]:
        rates = [(STEADY_RATE, STEADY * self._scale)]
        asked = (self._asking.at_rate(lane, f"{run} {name}", rates) for name, lane in LANES.items())
        return dict(zip(LANES, await asyncio.gather(*asked), strict=True))

    async def _figures(self, scenario: str, run: str, samples: dict[str, list[Sample]]) -> list[Figures]:
        return [
            figures(scenario, name, of_lane, await self._all_done(f"{run} {name}", LANES[name], of_lane))
            for name, of_lane in samples.items()
        ]

    async def _all_done(self, run: str, lane: Lane, samples: list[Sample]) -> Done:
        accepted = sum(sample.ok for sample in samples) if lane else 0
        return await self._asking.until_done(run, accepted, patience=DONE_WITHIN)

    async def _well(self) -> None:
        """Return when every lane carries again: what breakers have seen is over."""
        for name, lane in LANES.items():
            await self._until(lambda sample: sample.ok and sample.took < SLOWER / 2, lane, f"{name} to carry again")

    async def _until_slow(self) -> None:
        await self._until(lambda sample: sample.took > SLOWER, Lane.GRPC, "the callee to be slow")

    async def _until(self, fact: Callable[[Sample], bool], lane: Lane, what: str) -> None:
        deadline = time.monotonic() + WELL_WITHIN
        while not fact(await self._asking.ask(lane, "probe")):
            if time.monotonic() > deadline:
                raise Unavailable(f"Waited {WELL_WITHIN:g} s for {what}.")
            await asyncio.sleep(0.1)

    async def _changes(self, channel: grpc.aio.Channel, how: str, method: str, before: int) -> Kept:
        path = f"/{CalleeClient.DESCRIPTOR.full_name}/{method}"
        call = channel.unary_unary(path, ChangeRequest.SerializeToString, ChangeReply.FromString)
        file, pids = self._parts.database("callee"), [self._parts.supervisor.pids["callee"]]
        await call(_change(how, before), timeout=30)
        cpu, stored, times = cpu_seconds(pids), database_bytes(file), []
        for _ in range(number := self._number(CHANGES)):
            begin = time.monotonic()
            await call(_change(how, 1), timeout=30)
            times.append(time.monotonic() - begin)
        return Kept(
            how=how,
            answer_p50=percentile(times, 0.5),
            answer_p99=percentile(times, 0.99),
            cpu=_milliseconds(cpu, cpu_seconds(pids), number),
            stored=round((database_bytes(file) - stored) / number),
        )

    def _number(self, calls: int) -> int:
        return max(1, round(calls * self._scale))


def _milliseconds(before: float | None, after: float | None, calls: int) -> float | None:
    return None if before is None or after is None else round((after - before) / calls * 1000, 2)


def _request() -> WorkRequest:
    return WorkRequest(run="metered", asked_at=time.time(), text=TEXT)


def _change(id: str, times: int) -> ChangeRequest:
    return ChangeRequest(request_id=str(uuid.uuid4()), id=id, add=1, times=times)


async def _post(client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    (await client.post("/v1/work", json=MessageToDict(_request()), headers=headers)).raise_for_status()


async def _metered(meter: Meter, call: Callable[[], Awaitable[Message | None]]) -> float:
    await call()  # opens the connection
    before = meter.bytes
    for _ in range(METERED):
        await call()
    return (meter.bytes - before) / METERED
