"""The operations of queued calls: who may ask, how far they are, and how they are cancelled."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from google.longrunning import operations_pb2
from google.protobuf.message import Message

from laneway.call import ANONYMOUS, Identity, Lane
from laneway.client import Lanes, Operations, Started
from laneway.contract.model import Method
from laneway.errors import Cancelled, DeadlineExceeded, FailedPrecondition, InvalidArgument, NotFound, Unavailable
from laneway.lanes.dispatch import Arrival
from laneway.lanes.everywhere import WAIT_OPERATION
from laneway.lanes.operation import Timing, as_message, queued
from laneway.lanes.retention import Retention
from laneway.lanes.system import SystemHandlers
from laneway.lanes.transport import Answer
from laneway.lanes.withdrawing import BATCH, Withdrawing
from laneway.resilience.pipeline import Pipelines
from laneway.store import idempotency, inbox, operations, outbox
from laneway.store.operations import State
from laneway.telemetry import names
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from laneway.v1 import system_pb2
from tests.fixtures.shelf import Shelf

ANN, BOB = Identity("ann", "acme"), Identity("bob", "acme")


@pytest.fixture
def shelf(stored_shelf: Shelf) -> Shelf:
    """On each database."""
    return stored_shelf


class ToTheShelf:
    """The transport: the shelf answers all calls."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def unary(
        self, method: Method, request: Message, headers: Mapping[str, str], timeout: float | None
    ) -> Answer:
        key = headers.get(names.IDEMPOTENCY_KEY)
        arrival = Arrival(lane=Lane.GRPC, headers=headers, timeout=timeout, key=key)
        return await self._shelf.dispatcher.unary(method, request, arrival)

    def stream(self, *_: object) -> AsyncIterator[Message]:
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing to close."""


@dataclass
class Tidying:
    """A handler that tests hold: it says that it was entered, and goes on when it is let go."""

    shelf: Shelf
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: bool = False
    stubborn: bool = False

    async def __call__(self, request: Any, call: Any) -> Any:
        call.progress(3, 10, "three of ten")
        self.entered.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            if not self.stubborn:
                raise
        return self.shelf.reply("tidied")


@pytest.fixture
def tidying(shelf: Shelf) -> Tidying:
    handler = Tidying(shelf)
    shelf.handle("Tidy", handler)
    return handler


@pytest.fixture
def lanes(shelf: Shelf) -> Lanes:
    tracing = Tracing("c", "c", shelf.spans)
    system = SystemHandlers("shelf", shelf.contract, shelf.store, tracing)
    shelf.contract.methods.update(system.methods)
    shelf.handlers.update(system.handlers)
    return Lanes(ToTheShelf(shelf), pipelines=Pipelines(clock=shelf.clock), tracing=tracing, metrics=Metrics(), monotonic=shelf.clock)  # fmt: skip


async def start(lanes: Lanes, shelf: Shelf, who: Identity = ANN, **fields: Any) -> Started[Any]:
    return await lanes.start(shelf.method("Tidy"), shelf.request("Tidy", **fields), identity=who)


async def start_elsewhere(
    lane: Any, lanes: Lanes, who: Identity | None, id: str = "m1", after: float = 0.0
) -> Started[Any]:
    """As another service's handler starts it: all there is, is a message on its way. None: by a schedule."""
    method, headers = lane.shelf.method("Tidy"), {names.SCHEDULED_AT: "1"} if who is None else who.headers
    message = queued(method, lane.shelf.request("Tidy"), id, headers, lane.shelf.clock(), Timing(after=after))
    await lane.shelf.store.commit([outbox.insert([message])])
    return Started(f"operations/shelf/{id}", method, Operations(lanes, who))


async def begin(lane: Any) -> "asyncio.Task[None]":
    """Take the next copy and run it; the test awaits its end."""
    lane.shelf.clock.now += 100
    await lane.relay.go_round()
    return asyncio.create_task(lane.deliveries.run(await lane.take()))


def id_of(started: Started[Any]) -> str:
    return started.name.rpartition("/")[2]


async def state_of(lane: Any, started: Started[Any]) -> State:
    found = await operations.get(lane.shelf.store, id_of(started))
    assert found is not None
    return found.state


async def test_what_is_cancelled_before_it_begins_never_begins(lane, lanes, tidying) -> None:
    started = await start(lanes, lane.shelf)
    await started.cancel()
    await (await begin(lane))
    await lane.settle()
    assert not tidying.entered.is_set()
    assert await lane.left() == []
    with pytest.raises(Cancelled) as cancelled:
        await started.result(timeout=5)
    assert cancelled.value.reason == "OPERATION_CANCELLED"


async def test_what_is_delayed_and_cancelled_leaves_at_once(lane, lanes, tidying) -> None:
    request = lane.shelf.request("Tidy")
    started = await lanes.start(lane.shelf.method("Tidy"), request, identity=ANN, after=86_400)
    await started.cancel()
    await (await begin(lane))
    await lane.settle()
    assert await lane.left() == []


async def test_what_its_starter_cancels_before_its_time_does_not_keep_its_key(lane, lanes) -> None:
    """It lies in the outbox of whoever started it, due in an hour, and another of its key behind it."""
    shelf, arrange, done = lane.shelf, lane.shelf.method("Arrange"), []

    async def arranged(request: Any, call: Any) -> Any:
        done.append(request.request_id)
        return shelf.reply("arranged")

    async def put(request: Any, call: Any) -> Any:
        await lanes.start(arrange, shelf.request("Arrange", request_id="later", name="key"), step="1", after=3_600)
        await lanes.start(arrange, shelf.request("Arrange", request_id="now", name="key"), step="2")
        return shelf.reply("started")

    async def store(request: Any, call: Any) -> Any:
        await handle.cancel()
        return shelf.reply("cancelled")

    shelf.handle("Arrange", arranged)
    shelf.handle("Put", put)
    shelf.handle("Store", store)
    await shelf.call("Put", request_id="p", identity=ANN)
    await lane.relay.go_round()
    [first] = await lane.left()
    handle = Started(f"operations/shelf/{first.id}", arrange, Operations(lanes, ANN))
    await shelf.call("Store", request_id="s", identity=ANN)
    for _ in range(2):
        await lane.relay.go_round()
        copy = await lane.take("shelf.ordered")
        assert copy is not None, "it holds its key until its time"
        await lane.deliveries.run(copy)
        await lane.settle()
    assert done == ["now"]
    assert await state_of(lane, handle) is State.CANCELLED


async def test_two_methods_that_are_started_under_one_key_are_two_calls(lane, lanes) -> None:
    shelf = lane.shelf
    tidy, store = shelf.method("Tidy"), shelf.method("Store")
    first = await lanes.start(tidy, shelf.request("Tidy"), key="order-1", identity=ANN)
    other = await lanes.start(store, shelf.request("Store"), key="order-1", identity=ANN)
    again = await lanes.start(tidy, shelf.request("Tidy"), key="order-1", identity=ANN)
    assert first.name != other.name
    assert first.name == again.name


@pytest.mark.parametrize("known", [True, False])
async def test_a_running_handler_is_cancelled_and_commits_nothing(lane, lanes, tidying, known: bool) -> None:
    started = await (start(lanes, lane.shelf) if known else start_elsewhere(lane, lanes, ANN))
    running = await begin(lane)
    await tidying.entered.wait()
    await started.cancel()
    await lane.watch.look()
    await running
    await lane.settle()
    assert tidying.cancelled
    assert await state_of(lane, started) is State.CANCELLED
    assert (await lane.left(), await inbox.seen(lane.shelf.store, id_of(started))) == ([], True)


async def test_a_handler_that_ends_all_the_same_commits_nothing(lane, lanes, tidying) -> None:
    """It was cancelled before it ended, whether or not it has heard of it."""
    started = await start(lanes, lane.shelf, request_id="k")
    running = await begin(lane)
    await tidying.entered.wait()
    await started.cancel()
    tidying.go_on.set()
    await running
    await lane.settle()
    assert await state_of(lane, started) is State.CANCELLED
    assert await lane.left() == []
    tidy = lane.shelf.method("Tidy").full_name
    key = idempotency.Key(ANN.tenant, "ann", tidy, "k")
    assert await idempotency.find(lane.shelf.store, key, now=0.0) is None, "its reply was committed"


async def test_a_handler_that_swallows_its_cancellation_is_cancelled_all_the_same(lane, lanes, tidying) -> None:
    tidying.stubborn = True
    started = await start(lanes, lane.shelf)
    running = await begin(lane)
    await tidying.entered.wait()
    await started.cancel()
    await lane.watch.look()
    await running
    assert tidying.cancelled
    assert await state_of(lane, started) is State.CANCELLED


async def test_a_handler_that_makes_an_error_of_its_cancellation_is_not_tried_again(lane, lanes) -> None:
    entered = asyncio.Event()

    async def tidy(request: Any, call: Any) -> Any:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise Unavailable("it did not work") from None

    lane.shelf.handle("Tidy", tidy)
    started = await start(lanes, lane.shelf)
    running = await begin(lane)
    await entered.wait()
    await started.cancel()
    await lane.watch.look()
    await running
    await lane.settle()
    assert await lane.left() == []


async def test_cancelling_what_has_ended_changes_nothing(lane, lanes, tidying) -> None:
    tidying.go_on.set()
    started = await start(lanes, lane.shelf)
    await (await begin(lane))
    await started.cancel()
    assert (await started.result(timeout=5)).text == "tidied"


async def test_another_who_cancels_what_is_on_its_way_changes_nothing(lane, lanes, tidying) -> None:
    tidying.go_on.set()
    await Operations(lanes, BOB).cancel("operations/shelf/m1")
    started = await start_elsewhere(lane, lanes, ANN)
    await (await begin(lane))
    assert (await started.result(timeout=5)).text == "tidied"
    with pytest.raises(NotFound):
        await Operations(lanes, BOB).get(started.name)


async def test_another_who_cancels_what_runs_changes_nothing(lane, lanes, tidying) -> None:
    started = await start_elsewhere(lane, lanes, ANN)
    running = await begin(lane)
    await tidying.entered.wait()
    await Operations(lanes, BOB).cancel(started.name)
    await lane.watch.look()
    tidying.go_on.set()
    await running
    assert not tidying.cancelled
    assert (await started.result(timeout=5)).text == "tidied"


async def test_who_cancels_what_is_on_its_way_has_it_never_begin(lane, lanes, tidying) -> None:
    await Operations(lanes, ANN).cancel("operations/shelf/m1")
    started = await start_elsewhere(lane, lanes, ANN)
    await (await begin(lane))
    assert not tidying.entered.is_set()
    assert await state_of(lane, started) is State.CANCELLED


async def test_what_waits_elsewhere_and_is_cancelled_at_its_owner_leaves_when_its_outbox_asks(
    lane, lanes, tidying
) -> None:
    started = await start_elsewhere(lane, lanes, ANN, after=86_400)
    for number in range(BATCH + 1):
        await start_elsewhere(lane, lanes, ANN, id=f"before-{number:03}", after=3_600)
    await Operations(lanes, ANN).cancel(started.name)
    await Withdrawing(lane.shelf.store, lanes, service="starter", clock=lane.shelf.clock).sweep()
    await (await begin(lane))
    await lane.settle()
    assert not tidying.entered.is_set()
    assert "m1" not in [each.id for each in await lane.left()]
    assert len(await lane.left()) == BATCH + 1
    assert await state_of(lane, started) is State.CANCELLED


@pytest.mark.parametrize("starter", [ANN, None])
async def test_what_another_wishes_cancelled_waits_for_its_moment(lane, lanes, tidying, starter) -> None:
    await start_elsewhere(lane, lanes, starter, after=86_400)
    await Operations(lanes, BOB).cancel("operations/shelf/m1")
    [before] = await lane.left()
    await Withdrawing(lane.shelf.store, lanes, service="starter", clock=lane.shelf.clock).sweep()
    assert await lane.left() == [before]


@pytest.mark.parametrize("other", [BOB, ANONYMOUS, Identity("ann", "other"), Identity(None, "acme")])
async def test_others_hear_of_nothing(lane, lanes, tidying, other: Identity) -> None:
    started = await start(lanes, lane.shelf)
    asks = Operations(lanes, other)
    for ask in (asks.get, asks.wait, asks.cancel, asks.delete):
        with pytest.raises(NotFound) as unknown:
            await ask(started.name)
        assert unknown.value.reason == "OPERATION_UNKNOWN"
    assert list((await asks.list("shelf")).operations) == []
    assert await state_of(lane, started) is State.PENDING


@pytest.mark.parametrize("name", ["", "m1", "operations/", "jobs/shelf/m1"])
async def test_what_is_no_name_of_an_operation_is_said_to_be_none(lanes, name: str) -> None:
    asks = Operations(lanes, ANN)
    for ask in (asks.get, asks.wait, asks.cancel, asks.delete):
        with pytest.raises(InvalidArgument, match="operations/<service>/<id>"):
            await ask(name)


async def test_what_a_schedule_starts_is_nobodys(lane, lanes, tidying) -> None:
    tidying.go_on.set()
    await Operations(lanes, ANONYMOUS).cancel("operations/shelf/m1")
    started = await start_elsewhere(lane, lanes, None)
    await (await begin(lane))
    assert await state_of(lane, started) is State.SUCCEEDED
    with pytest.raises(NotFound):
        await Operations(lanes, ANONYMOUS).get(started.name)


@pytest.mark.parametrize("known", [True, False])
async def test_what_a_handler_says_of_its_progress_can_be_asked_for(lane, lanes, tidying, known: bool) -> None:
    started = await (start(lanes, lane.shelf) if known else start_elsewhere(lane, lanes, ANN))
    assert await started.progress() is None
    running = await begin(lane)
    await tidying.entered.wait()
    await lane.watch.look()
    told = await started.progress()
    tidying.go_on.set()
    await running
    assert told is not None
    assert (told.done, told.total, told.note) == (3, 10, "three of ten")
    assert told.at.timestamp() == lane.shelf.clock.now
    assert (await started.result(timeout=5)).text == "tidied"


async def test_the_metadata_tells_of_the_call(lane, lanes, tidying) -> None:
    started = await start(lanes, lane.shelf)
    told = system_pb2.OperationMetadata()
    assert (await Operations(lanes, ANN).get(started.name)).metadata.Unpack(told)
    assert (told.method, told.state) == (lane.shelf.method("Tidy").full_name, system_pb2.OperationMetadata.PENDING)
    assert (told.create_time.seconds, told.update_time.seconds) == (lane.shelf.clock.now, lane.shelf.clock.now)


async def test_a_wait_ends_with_the_call(lane, lanes, tidying) -> None:
    started = await start(lanes, lane.shelf)
    running = await begin(lane)
    await tidying.entered.wait()
    waiting = asyncio.create_task(Operations(lanes, ANN).wait(started.name))
    tidying.go_on.set()
    await running
    assert (await waiting).done


async def test_a_wait_that_is_over_tells_how_it_stands(lane, lanes, tidying) -> None:
    started = await start(lanes, lane.shelf)
    assert not (await Operations(lanes, ANN).wait(started.name, 0.05)).done


async def test_only_what_has_ended_is_deleted(lane, lanes, tidying) -> None:
    started, asks = await start(lanes, lane.shelf), Operations(lanes, ANN)
    with pytest.raises(FailedPrecondition, match="cancel it first"):
        await asks.delete(started.name)
    await started.cancel()
    await asks.delete(started.name)
    with pytest.raises(NotFound):
        await asks.get(started.name)


async def test_a_list_has_the_callers_operations_page_by_page_the_newest_first(lane, lanes, tidying) -> None:
    mine = []
    for _ in range(5):
        lane.shelf.clock.now += 1
        mine.append((await start(lanes, lane.shelf)).name)
    await start(lanes, lane.shelf, BOB)
    asks, found, token = Operations(lanes, ANN), [], ""
    while True:
        page = await asks.list("shelf", page_size=2, page_token=token)
        found.append([each.name for each in page.operations])
        token = page.next_page_token
        if not token:
            break
    assert found == [[mine[4], mine[3]], [mine[2], mine[1]], [mine[0]]]


async def test_a_result_is_waited_for_while_its_owner_has_not_heard_of_the_call(lane, lanes, tidying) -> None:
    started = await start_elsewhere(lane, lanes, ANN)
    with pytest.raises(DeadlineExceeded, match="has not ended"):
        await started.result(timeout=0.05)


async def test_a_list_has_no_wishes_and_is_of_a_bounded_size(lane, lanes, tidying, monkeypatch) -> None:
    monkeypatch.setattr("laneway.lanes.operations.LONGEST_PAGE", 2)
    asks = Operations(lanes, ANN)
    await asks.cancel("operations/shelf/never-heard-of")
    assert list((await asks.list("shelf")).operations) == []
    for _ in range(3):
        await start(lanes, lane.shelf)
    page = await asks.list("shelf", page_size=1_000_000)
    assert (len(page.operations), bool(page.next_page_token)) == (2, True)
    with pytest.raises(InvalidArgument, match="page_size is -1"):
        await asks.list("shelf", page_size=-1)


async def test_a_wait_is_answered_before_its_callers_deadline(lane, lanes, tidying) -> None:
    started = await start(lanes, lane.shelf, ANONYMOUS)
    request = operations_pb2.WaitOperationRequest(name=started.name)
    request.timeout.seconds = 60
    async with asyncio.timeout(20):
        answer = await lanes.call(WAIT_OPERATION.at("shelf"), request, timeout=0.4)
    assert not answer.message.done


async def test_what_is_wished_cancelled_and_has_not_ended_says_so(lane) -> None:
    caller, tidy = operations.Caller("acme", "ann"), lane.shelf.method("Tidy").full_name
    await lane.shelf.store.commit([operations.wish_cancelled("m1", caller, 1.0)])
    await lane.shelf.store.commit([operations.create("m1", tidy, now=2.0, caller=caller)])
    found, told = await operations.get(lane.shelf.store, "m1"), system_pb2.OperationMetadata()
    assert found is not None
    assert as_message("shelf", found).metadata.Unpack(told)
    assert (told.state, told.cancelling) == (system_pb2.OperationMetadata.PENDING, True)


async def test_who_watches_goes_on_when_the_database_was_away(lane, monkeypatch) -> None:
    monkeypatch.setattr("laneway.lanes.queue.watch.EVERY", 0.001)
    looked = asyncio.Event()

    async def look() -> None:
        if not away.pop():
            looked.set()
            away.append(False)
        else:
            raise Unavailable("away")

    away = [False, True]
    monkeypatch.setattr(lane.watch, "look", look)
    watching = asyncio.create_task(lane.watch.keep())
    async with asyncio.timeout(20):
        await looked.wait()
    watching.cancel()


async def test_a_list_may_be_filtered(lane, lanes, tidying) -> None:
    ended, open = await start(lanes, lane.shelf), await start(lanes, lane.shelf)
    await ended.cancel()
    asks = Operations(lanes, ANN)
    for filter, expected in [
        ("done = true", [ended]), ("done = false", [open]), ("state = CANCELLED", [ended]), ("state = FAILED", []),
        ('method = "test.shelf.v1.Shelf.Put"', []), ("create_time > 1971-01-01T00:00:00Z", []),
    ]:  # fmt: skip
        assert [each.name for each in (await asks.list("shelf", filter)).operations] == [each.name for each in expected]
    with pytest.raises(InvalidArgument, match="page_token"):
        await asks.list("shelf", page_token="next")


async def test_operations_are_swept_when_their_time_is_over(lane, lanes, tidying, monkeypatch) -> None:
    monkeypatch.setattr("laneway.lanes.retention.BATCH", 2)
    ended = [await start(lanes, lane.shelf) for _ in range(5)]
    for each in ended:
        await each.cancel()
    await Operations(lanes, ANN).cancel("operations/shelf/never-heard-of")
    open = await start(lanes, lane.shelf)
    lane.shelf.clock.now += 61
    late = await start(lanes, lane.shelf)
    await late.cancel()
    await Retention(lane.shelf.store, holder="one", keep_operations=60, clock=lane.shelf.clock).sweep()
    left = [await operations.get(lane.shelf.store, id_of(each)) is not None for each in (*ended, open, late)]
    assert left == [False] * 5 + [True, True]
    assert await operations.get(lane.shelf.store, "never-heard-of") is None


async def test_a_message_that_comes_again_after_its_cancellation_is_done_with(lane, lanes, tidying) -> None:
    """Whatever else would be said of it: that it is late, or has begun too often."""
    started = await start(lanes, lane.shelf)
    lane.shelf.clock.now += 100
    await lane.relay.go_round()
    copy = await lane.take()
    await started.cancel()
    await lane.deliveries.run(replace(copy, start_by=1.0))
    await lane.settle()
    assert await lane.left() == []
    assert await outbox.get(lane.shelf.store, id_of(started)) is None, "it was parked"
    assert await state_of(lane, started) is State.CANCELLED
