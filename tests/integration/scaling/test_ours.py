"""Signals of our own services: a real relay, a real worker process, and the access list of the chart."""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError

from laneway.lanes.queue.demand import DemandTeller
from laneway.lanes.queue.outages import Outages
from laneway.lanes.queue.publisher import Publisher
from laneway.lanes.queue.relay import Relay
from laneway.lanes.queue.valkey import ValkeyBroker
from laneway.lanes.queue.worker import celery_app
from laneway.scaling.model import Reading, Unknown
from laneway.scaling.signals import Source, Workers
from laneway.scaling.signals.valkey import ValkeySignals
from laneway.scaling.wire import DEMAND_GONE, DEMAND_STALE, Demand
from laneway.scaling.worker import Reporting
from laneway.store import outbox
from laneway.telemetry.metrics import Metrics
from tests.fixtures.shelf import Shelf
from tests.integration.queue.conftest import WINDOW
from tests.integration.queue.conftest import Lane as QueueLane

CHART = Path(__file__).parents[3] / "charts/laneway/templates/backends/valkey.yaml"
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


def as_service(url: str, service: str) -> str:
    """Log in as the chart lets a service do; the rule is read from the chart."""
    [rule] = re.findall(r"^user \{\{ \$service \}\} on (.*)$", CHART.read_text(), re.MULTILINE)
    rule = re.sub(r"#\{\{[^}]*\}\}", ">secret", rule).replace("{{ $service }}", service)
    rule = re.sub(
        r"\{\{- range.*?\}\}(.*)\{\{- end \}\}", lambda each: each[1].replace("{{ $other }}", "fulfilment"), rule
    )
    with Redis.from_url(url) as admin:
        admin.execute_command("ACL", "SETUSER", service, "reset", "on", *rule.split())
    return url.replace("redis://", f"redis://{service}:secret@")


async def test_the_chart_lets_a_service_report_and_be_scaled_and_nothing_of_others(
    lane: QueueLane,
    valkey_url: str,
    now: float,
    shelf: Shelf,
) -> None:
    url = as_service(valkey_url, "shelf")
    broker = ValkeyBroker(url, window=1)
    await broker.tell("shelf", {"shelf.default": Demand(at=now), "fulfilment.bulk": Demand(at=now)})
    await broker.close()

    methods = [method for method in shelf.contract.methods.values() if method.work is not None]
    app = celery_app(
        "shelf", methods, broker_url=url, deliver=lambda _: None, outages=Outages(logging.getLogger("shelf"))
    )
    worker = SimpleNamespace(app=app, concurrency=3, consumer=None)
    reporting = Reporting(worker, app.connection_for_write(), pod="w", breakers_open=lambda: 2)
    reporting._exchange()
    assert reporting._answers, "the worker may say what it does"

    signals = ValkeySignals(url)
    await signals.drain(SOURCE, ["w"])
    await signals.pause(SOURCE)
    reading = await read(signals)
    assert reading.drained == {"w"}
    assert reading.queues[0].paused
    [it] = reading.workers
    assert (it.pod, it.slots, it.breakers_open) == ("w", 3, 2)
    await signals.undrain(SOURCE, ["w"])
    await signals.resume(SOURCE)
    foreign = replace(SOURCE, queues=("fulfilment.bulk",))
    assert isinstance((await signals.read([foreign]))["p"], Unknown)
    await signals.close()
    with Redis.from_url(url) as client, pytest.raises(NoPermissionError):
        client.sadd("laneway:drain:fulfilment.bulk", "w")
    app.close()
