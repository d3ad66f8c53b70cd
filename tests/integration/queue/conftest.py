from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from laneway.lanes.operation import queued
from laneway.lanes.queue.delivery import Deliveries
from laneway.lanes.queue.envelope import Delivery, decode
from laneway.lanes.queue.relay import Relay
from laneway.lanes.queue.valkey import ValkeyBroker
from laneway.lanes.queue.watch import Watch
from laneway.scaling.wire import lists_of
from laneway.store import outbox
from laneway.store.outbox import OutboxMessage
from laneway.telemetry.metrics import Metrics
from tests.fixtures.shelf import Shelf

WINDOW = 5


@dataclass
class Lane:
    """Producer and consumer in one: a shelf, its relay, and a broker."""

    shelf: Shelf
    broker: ValkeyBroker
    relay: Relay
    deliveries: Deliveries
    watch: Watch

    async def start(self, id: str, **fields: Any) -> OutboxMessage:
        """Commit a queued call, published by nobody yet."""
        request = self.shelf.request("Tidy", request_id=id, **fields)
        message = queued(self.shelf.method("Tidy"), request, id, {}, self.shelf.clock())
        await self.shelf.store.commit([outbox.insert([message])])
        return message

    async def take(self, queue: str = "shelf.default") -> Delivery | None:
        """Take a copy from the queue, as Celery does."""
        import base64
        import json

        for name in lists_of(queue):
            if raw := await self.broker._client.rpop(name):
                break
        else:
            return None
        message = json.loads(raw)
        [argument], _, _ = json.loads(base64.b64decode(message["body"]))
        return decode(message["headers"]["task"], argument, message["headers"])

    async def left(self) -> list[OutboxMessage]:
        """Rows that are neither confirmed nor parked."""
        store, later = self.shelf.store, self.shelf.clock() + 1e6
        return [row for queue in await outbox.queues(store) for row in await outbox.due(store, queue, later, 10_000)]

    async def settle(self) -> None:
        async with self.broker.reports("shelf", wait=0.01) as reports:
            await self.relay.settle(reports)


@pytest.fixture
async def lane(shelf: Shelf, valkey_url: str) -> AsyncIterator[Lane]:
    broker = ValkeyBroker(valkey_url, window=WINDOW)
    tracing = shelf.dispatcher._surroundings.tracing
    relay = Relay(
        shelf.store, broker, service="shelf", holder="one", tracing=tracing, metrics=Metrics(), clock=shelf.clock
    )
    methods = dict(shelf.contract.methods)
    watch = Watch(shelf.store, shelf.clock)
    deliveries = Deliveries(shelf.dispatcher, broker, methods, watch=watch, metrics=Metrics(), clock=shelf.clock)
    yield Lane(shelf, broker, relay, deliveries, watch)
    await broker.close()


Waiter = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]
