"""The contract's rules hold on every lane, before the handler."""

from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic, time
from typing import Any

import pytest

from laneway.call import Call, Surroundings
from laneway.contract.model import Contract, Method
from laneway.errors import InvalidArgument, PermissionDenied, Violation
from laneway.lanes.dispatch import Dispatcher
from laneway.lanes.queue.broker import Outcome, Report
from laneway.lanes.queue.delivery import Deliveries
from laneway.lanes.queue.envelope import Delivery
from laneway.lanes.queue.watch import Watch
from laneway.service import Service
from laneway.store import Store
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from laneway.testing import World, serve
from tests.fixtures.protos import service_of

RULED = """
import "buf/validate/validate.proto";
message Ruled {
  optional string request_id = 1;
  string name = 2 [(buf.validate.field).string.min_len = 2];
}
service Shelf {
  rpc Put(Ruled) returns (Reply) { option (laneway.v1.call) = {idempotency {key: "request_id"}}; }
  rpc Watch(Ruled) returns (stream Reply);
  rpc Sum(stream Ruled) returns (Reply);
  rpc Tidy(Ruled) returns (Reply) { option (laneway.v1.call) = {idempotency {key: "request_id"} queue {use: ONLY}}; }
  rpc Pass(Request) returns (Reply);
}
"""
LISTENING = """
import "buf/validate/validate.proto";
message Told { option (laneway.v1.event) = {published: true}; string name = 1 [(buf.validate.field).string.min_len = 2]; }
service Listener {
  rpc On(Told) returns (google.protobuf.Empty) { option (laneway.v1.call) = {subscribe {}}; }
}
"""


class Shelf:
    """Handlers that note what reached them."""

    def __init__(self, descriptor: Any) -> None:
        self.descriptor = descriptor
        self.reached: list[str] = []
        self.methods: dict[str, Method] = {method.name: method for method in Contract.of([descriptor])}
        self.refuse = False

    def service(self, lanes: Any) -> Service:
        async def run(request: Any, call: Call) -> Any:
            self.reached.append(f"{call.method.name} {request.name}")
            return call.method.output()

        async def watch(request: Any, call: Call) -> AsyncIterator[Any]:
            self.reached.append(f"Watch {request.name}")
            yield call.method.output()

        async def total(requests: AsyncIterator[Any], call: Call) -> Any:
            async for request in requests:
                self.reached.append(f"Sum {request.name}")
            return call.method.output()

        async def hand_on(request: Any, call: Call) -> Any:
            await lanes.start(self.methods["Tidy"], self.methods["Tidy"].input(name=request.name))
            return call.method.output()

        async def admit(request: Any, call: Call) -> None:
            if self.refuse:
                raise PermissionDenied("not you")

        handlers = {"Put": run, "Tidy": run, "Watch": watch, "Sum": total, "Pass": hand_on}
        return Service("shelf", authorize=admit).bind(self.descriptor, handlers)

    def request(self, name: str, text: str) -> Any:
        return self.methods[name].input(name=text)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(service_of(tmp_path, RULED))


@pytest.fixture
async def world(shelf: Shelf) -> AsyncIterator[World]:
    async with serve(shelf.service) as world:
        yield world


async def test_a_call_that_breaks_a_rule_never_reaches_its_handler(world: World, shelf: Shelf) -> None:
    with pytest.raises(InvalidArgument, match="`name`") as raised:
        await world.lanes.call(shelf.methods["Put"], shelf.request("Put", "x"))
    assert raised.value.violations == (Violation("name", "must be at least 2 characters"),)
    assert shelf.reached == []


async def test_what_was_refused_is_not_kept_under_its_key(world: World, shelf: Shelf) -> None:
    method = shelf.methods["Put"]
    with pytest.raises(InvalidArgument):
        await world.lanes.call(method, method.input(request_id="k", name="x"))
    await world.lanes.call(method, method.input(request_id="k", name="book"))
    assert shelf.reached == ["Put book"]


async def test_who_may_not_call_is_not_told_what_is_wrong(world: World, shelf: Shelf) -> None:
    shelf.refuse = True
    with pytest.raises(PermissionDenied):
        await world.lanes.call(shelf.methods["Put"], shelf.request("Put", "x"))


async def test_the_request_of_a_stream_is_held_to_the_rules(world: World, shelf: Shelf) -> None:
    with pytest.raises(InvalidArgument):
        await anext(world.lanes.stream(shelf.methods["Watch"], shelf.request("Watch", "x")))
    assert shelf.reached == []


async def test_each_request_of_a_stream_is_held_to_the_rules_as_it_comes(world: World, shelf: Shelf) -> None:
    async def sent() -> AsyncIterator[Any]:
        for name in ("book", "x", "lamp"):
            yield shelf.request("Sum", name)

    with pytest.raises(InvalidArgument):
        await anext(world.lanes.stream(shelf.methods["Sum"], sent()))
    assert shelf.reached == ["Sum book"]


async def test_a_queued_call_is_refused_by_the_owner_that_is_to_accept_it(world: World, shelf: Shelf) -> None:
    with pytest.raises(InvalidArgument, match="`name`"):
        await world.lanes.start(shelf.methods["Tidy"], shelf.request("Tidy", "x"))


async def test_a_queued_call_is_refused_before_it_is_written_in_its_callers_transaction(
    world: World, shelf: Shelf
) -> None:
    with pytest.raises(InvalidArgument, match="`name`"):
        await world.lanes.call(shelf.methods["Pass"], shelf.methods["Pass"].input(name="x"))
    await world.settle()
    assert shelf.reached == []


class Reports:
    """A broker that notes how deliveries end."""

    copy_ttl = 60.0

    def __init__(self) -> None:
        self.told: list[Report] = []

    async def started(self, id: str, attempt: int, enqueued_at: float) -> int:
        return 1

    async def report(self, producer: str, report: Report, *, enqueued_at: float) -> None:
        self.told.append(report)


async def test_an_event_that_breaks_a_rule_is_parked_with_that_reason(tmp_path: Path) -> None:
    [method] = (contract := Contract.of([service_of(tmp_path, LISTENING)]))
    reached = []

    async def on(event: Any, call: Call) -> Any:
        reached.append(event.name)
        return method.output()

    store, broker = await Store.open("sqlite://", pool=1), Reports()
    surroundings = Surroundings(store=store, tracing=Tracing("s", "s", None), wall_clock=time, monotonic=monotonic)
    dispatcher = Dispatcher(contract, {method.full_name: on}, surroundings=surroundings, metrics=Metrics())
    watch = Watch(store, time)
    deliveries = Deliveries(dispatcher, broker, contract.methods, watch=watch, metrics=Metrics(), clock=time)  # type: ignore[arg-type]
    for number, name in enumerate(("x", "book")):
        payload = method.input(name=name).SerializeToString()
        await deliveries.run(
            Delivery(
                id=f"m{number}", method=method.full_name, payload=payload, producer="shelf", attempt=1,
                enqueued_at=time(), start_by=None, headers={},
            )
        )  # fmt: skip
    await store.close()
    parked, done = broker.told
    assert (parked.outcome, done.outcome) == (Outcome.PARK, Outcome.DONE)
    assert parked.error == "INVALID_ARGUMENT: The request is not valid: `name`: must be at least 2 characters."
    assert reached == ["book"]
