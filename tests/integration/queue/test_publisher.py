"""Publishing right after the commit, on a real Valkey."""

import asyncio
from collections.abc import Awaitable, Callable

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from laneway.lanes.queue.publisher import Publisher
from laneway.lanes.queue.valkey import ValkeyBroker
from laneway.telemetry.tracing import Tracing
from tests.fixtures.valkey import free_port
from tests.integration.queue.conftest import WINDOW, Lane


async def until(fact: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(5):
        while not await fact():
            await asyncio.sleep(0.005)


async def test_what_is_offered_is_published_at_once_and_its_span_ends(lane: Lane) -> None:
    spans = InMemorySpanExporter()
    span = Tracing("p", "p", spans).start_span("publish")
    message = await lane.start("m1")
    async with Publisher(lane.broker, service="shelf", clock=lane.shelf.clock) as publisher:
        publisher.offer([message], [span])

        async def there() -> bool:
            return await lane.broker.room(["shelf.default"]) == [WINDOW - 1]

        await until(there)
    assert [ended.name for ended in spans.get_finished_spans()] == ["publish"]


async def test_a_stop_publishes_what_was_offered(lane: Lane) -> None:
    messages = [await lane.start(f"m{number}") for number in range(WINDOW)]
    spans = [Tracing("p", "p", None).start_span("publish") for _ in messages]
    async with Publisher(lane.broker, service="shelf", clock=lane.shelf.clock) as publisher:
        publisher.offer(messages, spans)
    assert await lane.broker.room(["shelf.default"]) == [0]


async def test_no_more_is_published_than_the_window_holds_however_much_is_offered(lane: Lane) -> None:
    messages = [await lane.start(f"m{number}") for number in range(2 * WINDOW + 1)]
    spans = [Tracing("p", "p", None).start_span("publish") for _ in messages]
    async with Publisher(lane.broker, service="shelf", clock=lane.shelf.clock) as publisher:
        publisher.offer(messages[:1], spans[:1])
        publisher.offer(messages[1:], spans[1:])
    taken = []
    while copy := await lane.take():
        taken.append(copy.id)
    assert taken == [f"m{number}" for number in range(WINDOW)]


async def test_a_wake_reaches_the_relay(lane: Lane) -> None:
    async with Publisher(lane.broker, service="shelf", clock=lane.shelf.clock) as publisher:
        publisher.wake()
        async with asyncio.timeout(5), lane.broker.reports("shelf", wait=5) as reports:
            assert reports == []


async def test_a_broker_that_is_away_fails_no_call_and_blocks_no_stop(lane: Lane) -> None:
    spans = InMemorySpanExporter()
    broker = ValkeyBroker(f"redis://127.0.0.1:{free_port()}", window=1)
    message = await lane.start("m1")
    async with Publisher(broker, service="shelf", clock=lane.shelf.clock) as publisher:
        publisher.offer([message], [Tracing("p", "p", spans).start_span("publish")])
        publisher.wake()
    await broker.close()
    [span] = spans.get_finished_spans()
    assert (span.attributes or {})["error.type"] == "Unavailable"
    assert not span.status.is_ok
    assert [row.id for row in await lane.left()] == ["m1"]
