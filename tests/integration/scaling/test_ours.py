"""Signals of our own services: a real relay, a real worker process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from redis import Redis

from laneway.lanes.queue.demand import DemandTeller
from laneway.lanes.queue.publisher import Publisher
from laneway.lanes.queue.relay import Relay
from laneway.scaling.model import Reading, Unknown
from laneway.scaling.signals import Source, Workers
from laneway.scaling.signals.valkey import ValkeySignals
from laneway.scaling.wire import DEMAND_GONE, DEMAND_STALE, Demand
from laneway.store import outbox
from laneway.telemetry.metrics import Metrics
from tests.integration.queue.conftest import WINDOW
from tests.integration.queue.conftest import Lane as QueueLane

SOURCE = Source(pool="p", queues=("shelf.default",), pods=("w",), workers=Workers.LANEWAY)


@pytest.fixture
async def signals(valkey_url: str) -> AsyncIterator[ValkeySignals]:
    signals = ValkeySignals(valkey_url)
    yield signals
    await signals.close()


def teller(lane: QueueLane) -> DemandTeller:
    return DemandTeller(
        lane.shelf.store, lane.broker, service="shelf", queues=["shelf.default"], clock=lane.shelf.clock
    )


async def read(signals: ValkeySignals, source: Source = SOURCE) -> Reading:
    reading = (await signals.read([source]))["p"]
    assert isinstance(reading, Reading), reading
    return reading


@pytest.fixture
def now(lane: QueueLane, valkey_url: str) -> float:
    """The shelf's clock stands at the broker's moment."""
    with Redis.from_url(valkey_url) as client:
        seconds, micro = client.time()  # type: ignore[misc]
    moment = float(seconds + micro / 1e6)
    lane.shelf.clock.now = moment
    return moment


async def test_what_waits_is_what_is_due_and_the_copies_in_the_list(
    lane: QueueLane,
    signals: ValkeySignals,
    now: float,
) -> None:
    for number in range(WINDOW + 3):
        await lane.start(str(number))
    lane.shelf.clock.now += 2.5
    await lane.relay.publish_due()
    await teller(lane).tell()

    reading = await read(signals)
    assert reading.waiting == WINDOW + 3, "the window is full: the others are due again in a moment"
    assert reading.oldest_seconds is not None


async def test_the_relay_says_it_while_it_runs_and_silence_is_unknown(
    lane: QueueLane,
    signals: ValkeySignals,
    now: float,
) -> None:
    silent = (await signals.read([SOURCE]))["p"]
    assert isinstance(silent, Unknown)
    assert "The relay of shelf has not said anything of shelf.default" in silent.reason
    tracing = lane.shelf.dispatcher._surroundings.tracing
    relay = Relay(lane.shelf.store, lane.broker, service="shelf", holder="two", tracing=tracing, metrics=Metrics(),
                  queues=["shelf.default"], clock=lane.shelf.clock)  # fmt: skip
    running = asyncio.create_task(relay.run())
    try:
        async with asyncio.timeout(10):
            while not isinstance((await signals.read([SOURCE]))["p"], Reading):
                await asyncio.sleep(0.02)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


@pytest.mark.parametrize(
    ("producer", "age", "known"),
    [("shelf", DEMAND_STALE - 5, True), ("shelf", DEMAND_STALE + 2, False), ("shelf", DEMAND_GONE + 60, False),
     ("orders", DEMAND_STALE + 2, False), ("orders", DEMAND_GONE + 60, True)],
)  # fmt: skip
async def test_a_relay_that_fell_silent_is_unknown_and_a_foreign_one_is_forgotten_some_day(
    lane: QueueLane,
    signals: ValkeySignals,
    now: float,
    producer: str,
    age: float,
    known: bool,
) -> None:
    await lane.broker.tell("shelf", {"shelf.default": Demand(at=now)})
    await lane.broker.tell(producer, {"shelf.default": Demand(at=now - age, due=1, oldest_at=now - age)})
    assert isinstance((await signals.read([SOURCE]))["p"], Reading) is known


async def test_parked_messages_and_their_age_are_told(
    lane: QueueLane,
    signals: ValkeySignals,
    now: float,
) -> None:
    message = await lane.start("dead")
    await lane.shelf.store.commit([outbox.park(message.id, 8, "SMTP 550", now - 100)])
    await teller(lane).tell()

    [queue] = (await read(signals)).queues
    assert (queue.waiting, queue.parked) == (0, 1)
    assert queue.oldest_parked_seconds == pytest.approx(100, abs=5)


async def test_what_the_window_refused_a_publisher_is_demand_at_once(
    lane: QueueLane,
    signals: ValkeySignals,
    now: float,
) -> None:
    async def refused(ids: object) -> None:
        await lane.shelf.store.commit([outbox.hasten(list(ids), lane.shelf.clock())])  # type: ignore[call-overload]

    messages = [await lane.start(str(number)) for number in range(WINDOW + 4)]
    async with Publisher(lane.broker, service="shelf", refused=refused, clock=lane.shelf.clock) as publisher:
        tracing = lane.shelf.dispatcher._surroundings.tracing
        from opentelemetry.trace import SpanKind

        publisher.offer(messages, [tracing.start_span("publish", SpanKind.PRODUCER, {}) for _ in messages])
    await teller(lane).tell()
    assert (await read(signals)).waiting == WINDOW + 4
