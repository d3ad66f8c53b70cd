from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from laneway.call import Lane, Surroundings
from laneway.contract.model import Contract, Method
from laneway.lanes.dispatch import Arrival, Dispatcher
from laneway.store import Store
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from tests.fixtures.protos import service_of

BODY = """
service Shelf {
  rpc Put(Request) returns (Reply) {
    option (laneway.v1.call) = {idempotency {key: "request_id"} errors: "SHELF_FULL"};
  }
  rpc Charge(Request) returns (Reply) {
    option (laneway.v1.call) = {idempotency {key: "request_id" required: true exclusive: true lease {seconds: 30}}};
  }
  rpc Peek(Request) returns (Reply) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc Slow(Request) returns (Reply) { option (laneway.v1.call) = {deadline {nanos: 20000000}}; }
  rpc Tidy(Request) returns (Reply) {
    option (laneway.v1.call) = {idempotency {key: "request_id"} queue {use: ONLY}};
  }
  rpc On(Happened) returns (google.protobuf.Empty) { option (laneway.v1.call) = {subscribe {}}; }
}
"""


@dataclass
class Clock:
    """A clock that stands still."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Published:
    """What was handed on after commits."""

    messages: list[Any] = field(default_factory=list)
    wakes: int = 0

    def offer(self, messages: Any, spans: Any) -> None:
        self.messages += messages
        for span in spans:
            span.end()

    def wake(self) -> None:
        self.wakes += 1


@dataclass
class Shelf:
    """A service under test: handlers are set by the test."""

    contract: Contract
    handlers: dict[str, Callable[..., Any]]
    dispatcher: Dispatcher
    store: Store
    published: Published
    clock: Clock
    spans: InMemorySpanExporter

    def method(self, name: str) -> Method:
        return self.contract.methods[f"test.shelf.v1.Shelf.{name}"]

    def handle(self, name: str, handler: Callable[..., Any]) -> None:
        self.handlers[f"test.shelf.v1.Shelf.{name}"] = handler

    def request(self, name: str, /, **fields: Any) -> Any:
        return self.method(name).input(**fields)

    def reply(self, text: str) -> Any:
        return self.method("Put").output(text=text)

    async def call(self, name: str, /, *, timeout: float | None = None, key: str | None = None, **fields: Any) -> Any:
        arrival = Arrival(lane=Lane.GRPC, timeout=timeout, key=key)
        return await self.dispatcher.unary(self.method(name), self.request(name, **fields), arrival)

    async def deliver(self, name: str, message_id: str, /, **fields: Any) -> None:
        arrival = Arrival(lane=Lane.QUEUE, message_id=message_id)
        await self.dispatcher.deliver(self.method(name), self.request(name, **fields), arrival)


@pytest.fixture(params=["sqlite"])
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    contract = Contract.of([service_of(tmp_path, BODY)])
    handlers: dict[str, Callable[..., Any]] = {}
    store = await Store.open("sqlite://", pool=1)
    spans, published, clock = InMemorySpanExporter(), Published(), Clock()
    tracing = Tracing("shelf", "shelf-1", spans)
    dispatcher = Dispatcher(
        contract,
        handlers,
        surroundings=Surroundings(store=store, tracing=tracing, wall_clock=clock, monotonic=clock),
        metrics=Metrics(),
        publishing=published,
    )
    yield Shelf(contract, handlers, dispatcher, store, published, clock, spans)
    await dispatcher.close()
    await store.close()
    tracing.shutdown()
