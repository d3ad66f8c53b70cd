"""The inbox forgets what its producer cannot deliver any more, and nothing else, however long ago it was processed."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from laneway.call import Lane
from laneway.contract.model import Method
from laneway.errors import InvalidArgument, Unavailable
from laneway.lanes.dispatch import Arrival
from laneway.lanes.everywhere import HOLDS
from laneway.lanes.forgetting import COPY_LIFE, Forgetting
from laneway.lanes.operation import queued
from laneway.lanes.outgoing import Lanes
from laneway.lanes.retention import Retention
from laneway.lanes.system import SystemHandlers
from laneway.lanes.transport import Answer
from laneway.resilience.pipeline import Pipelines
from laneway.store import dead_letters, inbox, outbox
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from laneway.v1 import system_pb2
from tests.fixtures.shelf import Shelf

DAY = 86_400.0
KEEP = 7 * DAY


@pytest.fixture
def shelf(stored_shelf: Shelf) -> Shelf:
    """On each database."""
    return stored_shelf


class Producer:
    """The transport to the service whose messages were processed: the shelf's own handlers, unless it is away."""

    def __init__(self, shelf: Shelf) -> None:
        self.away = False
        self.asked: list[list[str]] = []
        self._shelf = shelf

    async def unary(self, method: Method, request: Any, headers: Mapping[str, str], timeout: float | None) -> Answer:
        if self.away:
            raise Unavailable("away")
        self.asked.append(list(request.ids))
        return await self._shelf.dispatcher.unary(method, request, Arrival(lane=Lane.GRPC, headers=headers))

    def stream(self, *_: object) -> AsyncIterator[Any]:
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def producer(shelf: Shelf) -> Producer:
    return Producer(shelf)


@pytest.fixture
def calls(shelf: Shelf, producer: Producer) -> Lanes:
    tracing = Tracing("c", "c", None)
    system = SystemHandlers("shelf", shelf.contract, shelf.store, tracing)
    shelf.contract.methods.update(system.methods)
    shelf.handlers.update(system.handlers)
    pipelines = Pipelines(clock=shelf.clock)
    return Lanes(producer, pipelines=pipelines, tracing=tracing, metrics=Metrics(), monotonic=shelf.clock)


@pytest.fixture(params=["its own", "another's"])
def forgetting(request: pytest.FixtureRequest, shelf: Shelf, calls: Lanes) -> Forgetting:
    """Of a service that has processed its own messages, and of one that has processed another's."""
    name = "shelf" if request.param == "its own" else "reader"
    return Forgetting(shelf.store, calls, service=name, keep=KEEP, clock=shelf.clock)


@pytest.fixture
def tidied(shelf: Shelf) -> list[str]:
    """What the handler has done."""
    done: list[str] = []

    async def tidy(request: Any, call: Any) -> Any:
        done.append(request.name)
        return shelf.reply("tidied")

    shelf.handle("Tidy", tidy)
    return done


async def run_next(lane: Any) -> None:
    """Publish what is due, and run the next copy as a worker does."""
    lane.shelf.clock.now += 100
    await lane.relay.go_round()
    delivery = await lane.take()
    assert delivery is not None
    await lane.deliveries.run(delivery)


async def done(lane: Any, id: str) -> None:
    """A message that was processed, and confirmed."""
    await lane.start(id)
    await run_next(lane)
    await lane.settle()


async def test_what_is_confirmed_is_forgotten_after_its_time_and_not_before(lane, forgetting, tidied) -> None:
    await done(lane, "m1")
    await forgetting.sweep()
    lane.shelf.clock.now += KEEP - 1
    await forgetting.sweep()
    assert await inbox.seen(lane.shelf.store, "m1")
    lane.shelf.clock.now += 2
    await forgetting.sweep()
    assert not await inbox.seen(lane.shelf.store, "m1")


async def test_the_time_counts_from_the_producers_word_and_not_from_the_processing(lane, forgetting, tidied) -> None:
    await done(lane, "m1")
    lane.shelf.clock.now += 10 * KEEP
    await forgetting.sweep()
    assert await inbox.seen(lane.shelf.store, "m1")


async def test_a_redrive_after_weeks_is_still_one_effect(lane, forgetting, tidied) -> None:
    """The word that it was done is lost, and its producer parks it."""
    await lane.start("m1", name="one")
    await run_next(lane)
    await lane.shelf.store.commit([outbox.park("m1", 1, "so somebody thought", lane.shelf.clock())])
    assert await lane.broker._client.delete("laneway:reports:shelf") == 1
    for _ in range(8):
        lane.shelf.clock.now += KEEP
        await forgetting.sweep()
    await lane.shelf.store.commit([dead_letters.redrive({"m1": lane.shelf.clock()})])
    await run_next(lane)
    await lane.settle()
    assert tidied == ["one"]
    assert await lane.left() == []
    await forgetting.sweep()
    lane.shelf.clock.now += KEEP + 1
    await forgetting.sweep()
    assert not await inbox.seen(lane.shelf.store, "m1"), "what was confirmed at last is forgotten at last"


async def test_of_a_producer_that_does_not_answer_nothing_is_forgotten(lane, shelf, calls, producer, tidied) -> None:
    forgetting = Forgetting(shelf.store, calls, service="reader", keep=KEEP, clock=shelf.clock)
    await done(lane, "m1")
    producer.away = True
    for _ in range(2):
        await forgetting.sweep()
        shelf.clock.now += 2 * KEEP
    assert await inbox.seen(shelf.store, "m1")
    producer.away = False
    await forgetting.sweep()
    shelf.clock.now += KEEP + 1
    await forgetting.sweep()
    assert not await inbox.seen(shelf.store, "m1")


async def test_nobody_is_asked_whom_no_service_is_called(lane, shelf, calls, producer) -> None:
    await shelf.store.commit([inbox.record("m1", "x", shelf.clock(), "somewhere.else:80/x")])
    await Forgetting(shelf.store, calls, service="reader", keep=KEEP, clock=shelf.clock).sweep()
    shelf.clock.now += 2 * KEEP
    assert producer.asked == []
    assert await inbox.seen(shelf.store, "m1")


async def test_a_copy_that_is_older_than_the_memory_is_not_run(lane, forgetting, tidied) -> None:
    """A twin that lay in a paused queue while its message was done, confirmed and forgotten."""
    await lane.start("m1", name="one")
    lane.shelf.clock.now += 100
    await lane.relay.go_round()
    twin = await lane.take()
    lane.shelf.clock.now += COPY_LIFE + 1
    await lane.broker.forget("m1")  # the broker's marker of it is of half a minute
    await lane.deliveries.run(twin)
    assert tidied == []
    await run_next(lane)
    assert tidied == ["one"], "its row brings another"


async def test_whose_message_it_was_is_learned_when_it_comes_again(lane, shelf, forgetting, tidied) -> None:
    """What code of the revision before has recorded is kept, until it is known whom to ask."""
    await shelf.store.commit([inbox.record("m1", "x", shelf.clock())])
    shelf.clock.now += 100 * DAY
    await forgetting.sweep()
    assert await inbox.producers(shelf.store) == []
    await done(lane, "m1")
    assert tidied == []
    assert await inbox.producers(shelf.store) == ["shelf"]


async def test_many_messages_are_asked_about_in_batches_and_each_once(lane, shelf, calls, producer) -> None:
    ids = [f"m{number:04}" for number in range(1_200)]
    await shelf.store.commit([inbox.record(id, "x", shelf.clock(), "shelf") for id in ids])
    held = queued(shelf.method("Tidy"), shelf.request("Tidy"), "m0600", {}, shelf.clock())
    await shelf.store.commit([outbox.insert([held])])
    await Forgetting(shelf.store, calls, service="reader", keep=KEEP, clock=shelf.clock).sweep()
    assert [len(each) for each in producer.asked] == [500, 500, 200]
    assert [each.message_id for each in await inbox.unconfirmed(shelf.store, "shelf", inbox.FIRST, 10)] == ["m0600"]


async def test_too_many_at_once_are_refused(calls) -> None:
    with pytest.raises(InvalidArgument, match="1000 at most"):
        await calls.call(HOLDS.at("shelf"), system_pb2.HoldsRequest(ids=["m"] * 1_001))


async def test_the_sweeper_prunes_the_inbox(lane, shelf, forgetting, tidied) -> None:
    retention = Retention(shelf.store, holder="one", keep_operations=60, inbox=forgetting, clock=shelf.clock)
    await done(lane, "m1")
    await retention.sweep()
    shelf.clock.now += KEEP + 1
    await retention.sweep()
    assert not await inbox.seen(shelf.store, "m1")
