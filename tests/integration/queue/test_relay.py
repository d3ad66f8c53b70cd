"""The relay as it runs: one at a time, whatever there is to do, on a real Valkey."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from laneway.contract.policy import Priority
from laneway.domain.upcasting import VERSION, Upcaster, Upcasters
from laneway.errors import Unavailable
from laneway.lanes.operation import PUBLISH_GRACE, Timing, queued
from laneway.lanes.queue.broker import Outcome, Report
from laneway.lanes.queue.relay import BATCH, LEASE, Relay
from laneway.lanes.queue.valkey import ValkeyBroker
from laneway.store import Write, dead_letters, outbox, subscriptions
from laneway.store.dead_letters import Selection
from laneway.store.events import NewEvent, append
from laneway.telemetry.metrics import Metrics
from tests.integration.queue.conftest import WINDOW, Lane


async def until(fact: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await fact():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(relay.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def other(lane: Lane) -> Relay:
    """The relay of another replica, on the same database."""
    tracing = lane.shelf.dispatcher._surroundings.tracing
    return Relay(
        lane.shelf.store,
        lane.broker,
        service="shelf",
        holder="two",
        tracing=tracing,
        metrics=Metrics(),
        clock=lane.shelf.clock,
    )


class Away:
    """A broker that goes away while the relay talks with it about two things, of which one takes long to end."""

    def __init__(self, broker: ValkeyBroker) -> None:
        self._broker = broker
        self.talking, self.ending, self.let_go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    @asynccontextmanager
    async def reports(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        await self.talking.wait()
        raise Unavailable("away")
        yield

    async def tell(self, *_: Any) -> None:
        self.talking.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ending.set()
            await self.let_go.wait()


async def backlog(lane: Lane, count: int, queue: str = "default") -> None:
    method = lane.shelf.method("Tidy")
    rows = [queued(method, lane.shelf.request("Tidy"), f"{queue}-{n:05}", {}, lane.shelf.clock()) for n in range(count)]
    for row in rows:
        object.__setattr__(row, "queue", queue)
    await lane.shelf.store.commit([outbox.insert(rows)])


def listening(lane: Lane) -> Write:
    """The shelf subscribes to its own events, from the first."""
    on = lane.shelf.method("On")
    event = on.input.DESCRIPTOR.full_name
    return subscriptions.register(
        on.full_name, service="shelf", queue="default", event_type=event, from_start=True, now=0.0
    )


async def published(lane: Lane, queue: str = "default") -> bool:
    return await lane.broker.room([f"shelf.{queue}"]) < [WINDOW]


async def test_what_has_ended_is_settled_while_a_backlog_waits(lane: Lane) -> None:
    await backlog(lane, 40 * BATCH)
    lane.shelf.clock.now += PUBLISH_GRACE
    async with running(lane.relay):
        await until(lambda: published(lane))
        taken = [await lane.take() for _ in range(WINDOW)]
        for copy in taken:
            await lane.broker.report("shelf", Report(id=copy.id, outcome=Outcome.DONE), enqueued_at=0.0)

        async def gone() -> bool:
            return [await outbox.get(lane.shelf.store, copy.id) for copy in taken] == [None] * WINDOW

        await until(gone)


async def test_what_is_no_report_is_dropped_and_those_beside_it_count(lane: Lane) -> None:
    await lane.start("m1")
    told = [b"garbage", b"\xff", b"[]", Report(id="m1", outcome=Outcome.DONE).encode()]
    async with running(lane.relay) as relay:
        await lane.broker._client.rpush("laneway:reports:shelf", *told)
        await until(lambda: gone(lane, "m1"))
        assert not relay.done()


class Killed(BaseException):
    """As no code of a process that is killed sees it."""


@pytest.mark.parametrize("moment", ["before it is committed", "after it is committed"])
async def test_what_a_relay_has_read_and_dies_with_is_settled_by_the_next(
    lane: Lane, other: Relay, moment: str
) -> None:
    store, clock = lane.shelf.store, lane.shelf.clock
    for id in ("again", "done", "dead"):
        await lane.start(id)
    told = [
        Report(id="again", outcome=Outcome.RETRY, attempt=1, delay=5, error="busy"),
        Report(id="done", outcome=Outcome.DONE),
        Report(id="dead", outcome=Outcome.PARK, attempt=3, error="broken"),
    ]
    for report in told:
        await lane.broker.report("shelf", report, enqueued_at=0.0)
    with pytest.raises(Killed):
        async with lane.broker.reports("shelf", wait=1) as reports:
            if moment == "after it is committed":
                await lane.relay.settle(reports)
            raise Killed

    await other.go_round()

    row, dead = await outbox.get(store, "again"), await outbox.get(store, "dead")
    assert row is not None
    assert (row.attempts, row.due_at, row.error) == (1, clock() + 5, "busy")
    assert dead is not None
    assert (dead.attempts, dead.parked_at, dead.error) == (3, clock(), "broken")
    assert await gone(lane, "done")
    clock.now += 5
    await other.go_round()
    assert (copy := await lane.take()) is not None
    assert copy.id == "again"
    assert await lane.broker.started(copy.id, copy.attempt, copy.enqueued_at) == 1, "and it may run"


async def test_what_is_reported_while_others_are_settled_is_settled_next(lane: Lane) -> None:
    for id in ("m1", "m2"):
        await lane.start(id)
    await lane.broker.report("shelf", Report(id="m1", outcome=Outcome.DONE), enqueued_at=0.0)
    async with lane.broker.reports("shelf", wait=1) as reports:
        await lane.broker.report("shelf", Report(id="m2", outcome=Outcome.DONE), enqueued_at=0.0)
        await lane.relay.settle(reports)
    assert [await gone(lane, id) for id in ("m1", "m2")] == [True, False]
    await lane.settle()
    assert await gone(lane, "m2")
    async with lane.broker.reports("shelf", wait=0.01) as reports:
        assert reports == []


async def test_a_relay_that_stops_while_it_waits_takes_no_report_with_it(lane: Lane) -> None:
    """What waits for a list and is cut off may have been answered already."""
    await lane.start("m1")
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            waiting = group.create_task(_read(lane))
            await asyncio.sleep(0)
            await lane.broker.report("shelf", Report(id="m1", outcome=Outcome.DONE), enqueued_at=0.0)
            waiting.cancel()
    assert await lane.broker._client.llen("laneway:reports:shelf") == 20


async def _read(lane: Lane) -> None:
    async with lane.broker.reports("shelf", wait=5):
        await asyncio.Event().wait()


async def gone(lane: Lane, id: str) -> bool:
    return await outbox.get(lane.shelf.store, id) is None


async def test_an_error_that_no_database_takes_as_it_is_is_kept(lane: Lane) -> None:
    await lane.start("m1")
    report = b'{"id": "m1", "outcome": "retry", "attempt": 1, "delay": 1, "error": "a\\u0000b\\ud800c", "new": 1}'
    await lane.broker._client.rpush("laneway:reports:shelf", report)
    await lane.settle()
    row = await outbox.get(lane.shelf.store, "m1")
    assert row is not None
    assert (row.attempts, row.error) == (1, "a\N{REPLACEMENT CHARACTER}b?c")


async def test_rows_that_do_not_fit_the_window_are_left_alone(lane: Lane) -> None:
    await backlog(lane, 3 * WINDOW)
    before = lane.shelf.clock.now + PUBLISH_GRACE
    lane.shelf.clock.now = before
    await lane.relay.go_round()
    waiting = await outbox.due(lane.shelf.store, ("shelf", "default"), before, 100)
    assert len(waiting) == 2 * WINDOW


async def test_a_queue_whose_window_is_full_does_not_hide_another(lane: Lane) -> None:
    await backlog(lane, 2 * BATCH)
    await backlog(lane, 1, "other")
    lane.shelf.clock.now += PUBLISH_GRACE
    await lane.relay.go_round()
    assert (await lane.take("shelf.other")).id == "other-00000"


async def test_one_relay_at_a_time_and_the_next_when_it_has_died(lane: Lane, other: Relay) -> None:
    assert await lane.relay._acquire()  # and never again: it has died
    await backlog(lane, 1)
    lane.shelf.clock.now += PUBLISH_GRACE
    await other._hold_and_go_round()
    assert not await published(lane)
    lane.shelf.clock.now += LEASE
    async with running(other):
        await until(lambda: published(lane))


async def test_a_relay_that_is_stopped_while_an_outage_ends_its_round_stops(lane: Lane) -> None:
    broker = Away(lane.broker)
    tracing = lane.shelf.dispatcher._surroundings.tracing
    relay = Relay(
        lane.shelf.store, broker, service="shelf", holder="one", tracing=tracing, metrics=Metrics(), queues=["q"]
    )
    task = asyncio.create_task(relay.run())
    await broker.ending.wait()
    task.cancel()
    broker.let_go.set()
    await asyncio.wait([task], timeout=20)
    assert task.cancelled()


async def test_a_relay_that_has_lost_its_lease_ends_its_rounds(lane: Lane, other: Relay) -> None:
    assert await lane.relay._acquire()
    rounds = asyncio.create_task(lane.relay._hold_and_go_round())
    lane.shelf.clock.now += LEASE
    assert await other._acquire()
    async with asyncio.timeout(3 * LEASE):
        await rounds


async def test_a_subscriber_gets_old_events_in_todays_shape_and_a_mistake_is_a_dead_letter(lane: Lane) -> None:
    happened = lane.shelf.method("On").input

    def lift(event: Any) -> Any:
        if event.name == "broken":
            raise ValueError("nobody knows what it meant")
        event.name = event.name.upper()
        return event

    tracing = lane.shelf.dispatcher._surroundings.tracing
    relay = Relay(
        lane.shelf.store, lane.broker, service="shelf", holder="three", tracing=tracing, metrics=Metrics(),
        clock=lane.shelf.clock, upcasters=Upcasters([Upcaster(happened, 1, lift)]),
    )  # fmt: skip
    told = [("old", {}), ("broken", {}), ("new", {VERSION: "2"})]
    new = [
        NewEvent(word, happened.DESCRIPTOR.full_name, happened(name=word).SerializeToString(), 0.0, metadata)
        for word, metadata in told
    ]
    await lane.shelf.store.commit([listening(lane), *append("s", 0, new)])

    await relay.fan_out()

    rows = sorted(await lane.left(), key=lambda row: row.id, reverse=True)
    assert [happened.FromString(row.payload).name for row in rows] == ["OLD", "new"]
    [dead] = await dead_letters.find(lane.shelf.store, Selection(), 2)
    assert dead.error is not None and "cannot be upcast: nobody knows what it meant" in dead.error
    assert happened.FromString(dead.payload).name == "broken", "it can be redriven when the upcaster is mended"
    assert {copy.id for copy in [await lane.take(), await lane.take()]} == {row.id for row in rows}
    assert await lane.take() is None, "a dead letter was published"


async def test_a_subscriber_hears_of_what_became_its_event(lane: Lane) -> None:
    happened, reply = lane.shelf.method("On").input, lane.shelf.method("Put").output
    became = Upcaster(reply, 1, lambda old: happened(name=old.text), becomes=happened)
    relay = Relay(
        lane.shelf.store, lane.broker, service="shelf", holder="three", metrics=Metrics(), clock=lane.shelf.clock,
        tracing=lane.shelf.dispatcher._surroundings.tracing, upcasters=Upcasters([became]),
    )  # fmt: skip
    old = NewEvent("old", reply.DESCRIPTOR.full_name, reply(text="what it was called").SerializeToString(), 0.0)
    await lane.shelf.store.commit([listening(lane), *append("s", 0, [old])])

    await relay.fan_out()

    assert (copy := await lane.take()) is not None
    assert happened.FromString(copy.payload).name == "what it was called"


async def test_an_event_that_the_window_refuses_is_demand_at_once(lane: Lane) -> None:
    await backlog(lane, WINDOW)
    lane.shelf.clock.now += PUBLISH_GRACE
    await lane.relay.publish_due()
    happened = lane.shelf.method("On").input
    event = NewEvent("e", happened.DESCRIPTOR.full_name, happened(name="x").SerializeToString(), 0.0)
    await lane.shelf.store.commit([listening(lane), *append("s", 0, [event])])

    await lane.relay.fan_out()

    [due] = await outbox.due(lane.shelf.store, ("shelf", "default"), lane.shelf.clock(), 9)
    assert due.subscription is not None


async def test_a_full_window_lets_the_most_urgent_in_first(lane: Lane) -> None:
    method = lane.shelf.method("Tidy")
    for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH):
        for n in range(WINDOW):
            id, timing = f"{priority.name}-{n}", Timing(priority=priority)
            row = queued(method, lane.shelf.request("Tidy"), id, {}, lane.shelf.clock(), timing)
            await lane.shelf.store.commit([outbox.insert([row])])
    taken = []
    for _ in range(3):
        lane.shelf.clock.now += PUBLISH_GRACE
        await lane.relay.go_round()
        assert await lane.broker.room(["shelf.default"]) == [0]
        while copy := await lane.take():
            taken.append(copy.id.partition("-")[0])
    assert taken == [name for name in ("HIGH", "NORMAL", "LOW") for _ in range(WINDOW)]
