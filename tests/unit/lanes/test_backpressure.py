"""Nobody may fill the disk with what is to be done later."""

from dataclasses import replace
from typing import Any

import pytest

from laneway.call import Lane
from laneway.errors import Code, ResourceExhausted
from laneway.lanes.backpressure import RETRY_AFTER, Backpressure, Limits
from laneway.lanes.dispatch import Arrival, Dispatcher
from laneway.lanes.operation import queued
from laneway.lanes.outgoing import Lanes
from laneway.lanes.queue.relay import Relay
from laneway.resilience.pipeline import Pipelines
from laneway.store import dead_letters, outbox, subscriptions
from laneway.store.dead_letters import Selection
from laneway.telemetry.metrics import Metrics
from laneway.testing import _MemoryBroker
from tests.fixtures.shelf import Shelf

ROWS, AGE = 3, 600.0


@pytest.fixture
def pressure(shelf: Shelf) -> Backpressure:
    return Backpressure(shelf.store, Limits(rows=ROWS, age=AGE), clock=shelf.clock)


@pytest.fixture
def pressed(shelf: Shelf, pressure: Backpressure) -> Dispatcher:
    """The shelf's dispatcher, under pressure; `Put` starts what its tags name."""
    tracing = shelf.dispatcher._surroundings.tracing
    lanes = Lanes(None, pipelines=Pipelines(), tracing=tracing, metrics=Metrics(), monotonic=shelf.clock)  # type: ignore[arg-type]

    async def put(request: Any, call: Any) -> Any:
        for name in request.tags:
            await lanes.start(shelf.method(name), shelf.request(name, name="book"), step=name)
        return shelf.reply("put")

    for name in ("Put", "Store"):
        shelf.handle(name, put)
    return Dispatcher(
        shelf.contract, shelf.handlers, surroundings=shelf.dispatcher._surroundings, metrics=Metrics(),
        publishing=shelf.published, pressure=pressure,
    )  # fmt: skip


async def put(shelf: Shelf, pressed: Dispatcher, *started: str) -> None:
    await pressed.unary(shelf.method("Put"), shelf.request("Put", tags=started), Arrival(lane=Lane.GRPC))


async def fill(shelf: Shelf, rows: int) -> None:
    method = shelf.method("Tidy")
    now = shelf.clock()
    await shelf.store.commit(
        [outbox.insert([queued(method, shelf.request("Tidy"), f"m{n}", {}, now) for n in range(rows)])]
    )


async def ids(shelf: Shelf) -> list[str]:
    return [each.id for each in await outbox.due(shelf.store, ("shelf", "default"), 1e12, 100)]


async def test_below_the_limits_everything_is_taken(shelf: Shelf, pressure: Backpressure, pressed: Dispatcher) -> None:
    await fill(shelf, ROWS - 1)
    shelf.clock.now += AGE
    await pressure.look()
    await put(shelf, pressed, "Tidy")


async def test_a_full_queue_refuses_with_when_to_come_back_and_nothing_is_written(
    shelf: Shelf, pressure: Backpressure, pressed: Dispatcher
) -> None:
    await fill(shelf, ROWS)
    await pressure.look()
    with pytest.raises(ResourceExhausted) as refused:
        await put(shelf, pressed, "Tidy")
    error = refused.value
    assert (error.code, error.reason, error.retry_after) == (Code.RESOURCE_EXHAUSTED, "OUTBOX_FULL", RETRY_AFTER)
    assert error.metadata == {"queue": "shelf.default"}
    assert "3 messages wait in the outbox" in error.message
    assert len(await ids(shelf)) == ROWS
    assert shelf.published.messages == []


async def test_so_does_one_whose_oldest_message_has_waited_for_too_long(
    shelf: Shelf, pressure: Backpressure, pressed: Dispatcher
) -> None:
    await fill(shelf, 1)
    shelf.clock.now += AGE + 1
    await pressure.look()
    with pytest.raises(ResourceExhausted, match="has waited for 601 s"):
        await put(shelf, pressed, "Tidy")


async def test_what_was_to_wait_is_as_old_as_its_moment(
    shelf: Shelf, pressure: Backpressure, pressed: Dispatcher
) -> None:
    row = queued(shelf.method("Tidy"), shelf.request("Tidy"), "m", {}, shelf.clock())
    later = shelf.clock() + 10 * AGE
    await shelf.store.commit([outbox.insert([replace(row, due_at=later, created_at=later)])])
    shelf.clock.now = later + 1
    await pressure.look()
    await put(shelf, pressed, "Tidy")


async def test_other_queues_and_calls_that_start_nothing_go_on(
    shelf: Shelf, pressure: Backpressure, pressed: Dispatcher
) -> None:
    await fill(shelf, ROWS)
    await pressure.look()
    await put(shelf, pressed)
    await put(shelf, pressed, "Arrange")


async def test_what_a_worker_starts_goes_through(shelf: Shelf, pressure: Backpressure, pressed: Dispatcher) -> None:
    await fill(shelf, ROWS)
    await pressure.look()
    request = shelf.request("Store", tags=["Tidy"])
    await pressed.deliver(shelf.method("Store"), request, Arrival(lane=Lane.QUEUE, message_id="w"))
    assert len(await ids(shelf)) == ROWS + 1


async def test_dead_letters_fill_it_too_until_somebody_decides(
    shelf: Shelf, pressure: Backpressure, pressed: Dispatcher
) -> None:
    await fill(shelf, ROWS)
    await shelf.store.commit([outbox.park(f"m{n}", 8, "no", shelf.clock()) for n in range(ROWS)])
    await pressure.look()
    with pytest.raises(ResourceExhausted):
        await put(shelf, pressed, "Tidy")
    await shelf.store.commit(dead_letters.drop(await dead_letters.find(shelf.store, Selection(), ROWS)))
    await pressure.look()
    await put(shelf, pressed, "Tidy")


async def test_events_for_a_full_queue_stay_in_the_log_until_it_takes_again(
    shelf: Shelf, pressure: Backpressure
) -> None:
    relay = Relay(
        shelf.store, _MemoryBroker(), service="shelf", holder="one", metrics=Metrics(), clock=shelf.clock,
        tracing=shelf.dispatcher._surroundings.tracing, pressure=pressure,
    )  # fmt: skip
    method = shelf.method("On")
    event = method.input.DESCRIPTOR.full_name
    await shelf.store.commit(
        [
            subscriptions.register(
                method.full_name, service="shelf", queue="default", event_type=event, from_start=False, now=0.0
            )
        ]
    )

    async def emit(request: Any, call: Any) -> Any:
        call.emit(method.input(name=request.name))
        return shelf.reply("put")

    shelf.handle("Put", emit)
    await fill(shelf, ROWS)
    await pressure.look()
    await shelf.call("Put", name="book")
    await relay.fan_out()
    assert len(await ids(shelf)) == ROWS
    await shelf.store.commit([outbox.confirm(["m0"])])
    await pressure.look()
    await relay.fan_out()
    assert len(await ids(shelf)) == ROWS


async def test_what_a_look_has_found_can_be_told(shelf: Shelf, pressure: Backpressure) -> None:
    await fill(shelf, ROWS)
    await shelf.store.commit([outbox.park("m0", 1, "no", shelf.clock())])
    shelf.clock.now += 20
    await pressure.look()
    shelf.clock.now += 5

    [queue] = {labels[0] for labels, _ in pressure.messages()}
    assert dict(pressure.messages()) == {(queue, "due"): 2, (queue, "waiting"): 0, (queue, "parked"): 1}
    assert dict(pressure.oldest()) == {(queue,): 25.0}
    assert dict(pressure.full()) == {(queue,): 1.0}
