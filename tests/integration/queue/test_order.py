"""`order_by`: one message of a key in flight, in order, across retries, redeliveries and kills, on a real Valkey."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from laneway.errors import InvalidArgument, Unavailable
from laneway.lanes.operation import queued
from laneway.lanes.outgoing import Lanes
from laneway.lanes.queue.relay import MEND
from laneway.resilience.pipeline import Pipelines
from laneway.store import dead_letters, events, outbox, subscriptions
from laneway.store.dead_letters import Selection
from laneway.telemetry.metrics import Metrics
from shop.orders.v1.events_pb2 import OrderPlaced
from tests.integration.queue.conftest import Lane

ORDERED = "shelf.ordered"


async def start(lane: Lane, id: str, key: str) -> None:
    method = lane.shelf.method("Arrange")
    message = queued(method, lane.shelf.request("Arrange", request_id=id, name=key), id, {}, lane.shelf.clock())
    await lane.shelf.store.commit([outbox.insert([message])])


async def run_all(lane: Lane) -> None:
    """Run what the relay publishes, until it publishes nothing more."""
    await lane.relay.go_round()
    while delivery := await lane.take(ORDERED):
        await lane.deliveries.run(delivery)
        await lane.settle()
        await lane.relay.go_round()


def arrange(lane: Lane, fail: Callable[[str, int], Exception | None] = lambda id, attempt: None) -> list[str]:
    """Handle `Arrange`; the ids of what succeeded, in order."""
    done: list[str] = []

    async def handler(request: Any, call: Any) -> Any:
        if error := fail(request.request_id, call.attempt):
            raise error
        done.append(request.request_id)
        return lane.shelf.reply(request.name)

    lane.shelf.handle("Arrange", handler)
    return done


async def test_messages_of_a_key_come_in_order_and_one_at_a_time(lane: Lane) -> None:
    done = arrange(lane)
    for id in ("c", "a", "b"):
        await start(lane, id, "book")
    await lane.relay.go_round()
    taken = [await lane.take(ORDERED), await lane.take(ORDERED)]
    assert [each and each.id for each in taken] == ["c", None]
    await lane.deliveries.run(taken[0])
    await lane.settle()
    await run_all(lane)
    assert done == ["c", "a", "b"]
    assert await lane.left() == []


async def test_one_that_fails_is_not_overtaken_and_other_keys_go_on(lane: Lane) -> None:
    done = arrange(lane, lambda id, attempt: Unavailable("busy") if (id, attempt) == ("a1", 1) else None)
    for id, key in (("a1", "a"), ("a2", "a"), ("b1", "b")):
        await start(lane, id, key)
    await run_all(lane)
    assert done == ["b1"]
    lane.shelf.clock.now += 300
    await run_all(lane)
    assert done == ["b1", "a1", "a2"]


async def test_copies_that_come_twice_change_no_order(lane: Lane, valkey_url: str) -> None:
    done = arrange(lane)
    for id in ("a1", "a2"):
        await start(lane, id, "a")
    await lane.relay.go_round()
    late = await lane.take(ORDERED)
    async with Redis.from_url(valkey_url) as client:
        await client.flushall()  # the copy is out there, and nobody knows of it any more
    lane.shelf.clock.now += lane.broker.copy_ttl
    await run_all(lane)
    await lane.deliveries.run(late)
    assert done == ["a1", "a2"]


@pytest.mark.parametrize("act", ["redrive", "skip"])
async def test_a_parked_one_holds_its_key_until_somebody_decides(lane: Lane, act: str) -> None:
    broken = True
    done = arrange(lane, lambda id, attempt: Unavailable("no") if id == "a1" and broken else None)
    for id, key in (("a1", "a"), ("a2", "a"), ("b1", "b")):
        await start(lane, id, key)
    for _ in range(5):
        await run_all(lane)
        lane.shelf.clock.now += 1000
    [dead] = await dead_letters.find(lane.shelf.store, Selection(), 9)
    assert (dead.id, done) == ("a1", ["b1"])
    broken = False
    now = lane.shelf.clock()
    await lane.shelf.store.commit(
        [dead_letters.redrive({"a1": now})] if act == "redrive" else dead_letters.skip([dead], now)
    )
    await run_all(lane)
    assert done == (["b1", "a1", "a2"] if act == "redrive" else ["b1", "a2"])


async def test_a_relay_that_dies_before_it_passes_the_turn_on_holds_up_nothing(lane: Lane) -> None:
    done = arrange(lane)
    for id in ("a1", "a2"):
        await start(lane, id, "a")
    await lane.relay.go_round()
    await lane.deliveries.run(await lane.take(ORDERED))
    await lane.shelf.store.commit([outbox.confirm(["a1"])])  # and died
    lane.shelf.clock.now += MEND
    await run_all(lane)
    assert done == ["a1", "a2"]


async def test_whatever_fails_and_is_delivered_again_each_key_is_in_order(lane: Lane, valkey_url: str) -> None:
    seed = 20261125
    print("seed", seed)
    rng = random.Random(seed)
    done = arrange(lane, lambda id, attempt: Unavailable("busy") if attempt < 3 and rng.random() < 0.3 else None)
    wanted: dict[str, list[str]] = {}
    for n in range(60):
        key = rng.choice("abcd")
        wanted.setdefault(key, []).append(f"{key}{n}")
        await start(lane, f"{key}{n}", key)
    copies: list[Any] = []
    async with Redis.from_url(valkey_url) as client:
        while await lane.left() or await outbox.counts(lane.shelf.store, lane.shelf.clock()):
            await lane.relay.go_round()
            while copy := await lane.take(ORDERED):
                copies.append(copy)
            rng.shuffle(copies)
            for copy in copies[: rng.randint(1, 4)]:
                await lane.deliveries.run(copy)
                if rng.random() < 0.7:
                    copies.remove(copy)  # the others are delivered again
            if rng.random() < 0.1:
                await client.flushall()
            await lane.settle()
            lane.shelf.clock.now += rng.choice([1, 31, 400])
    assert {key: [id for id in done if id.startswith(key)] for key in wanted} == wanted


async def test_events_of_a_key_are_handled_in_the_order_of_the_log(lane: Lane) -> None:
    heard, failed = [], []

    async def on(request: Any, call: Any) -> Any:
        if request.name == "x" and not failed:
            failed.append(call.facts.message_id)
            raise Unavailable("not now")
        heard.append(call.facts.message_id.partition(":")[0])
        return lane.shelf.method("On").output()

    async def put(request: Any, call: Any) -> Any:
        call.emit(OrderPlaced(order=request.name))
        return lane.shelf.reply("put")

    lane.shelf.handle("On", on)
    lane.shelf.handle("Put", put)
    method = lane.shelf.method("On")
    event = OrderPlaced.DESCRIPTOR.full_name  # as bytes, what the shelf calls `Happened`
    register = subscriptions.register(
        method.full_name, service="shelf", queue="events", event_type=event, from_start=False, now=0.0, order_by="order"
    )
    await lane.shelf.store.commit([register])
    for name in ("x", "y", "x"):
        await lane.shelf.call("Put", name=name)
    for _ in range(3):
        await lane.relay.go_round()
        while delivery := await lane.take("shelf.events"):
            await lane.deliveries.run(delivery)
            await lane.settle()
            await lane.relay.go_round()
        lane.shelf.clock.now += 400
    first, other, second = [each.event_id for each in await events.read_after(lane.shelf.store, events.START)]
    assert heard == [other, first, second]


async def test_events_whose_key_the_contract_has_no_more_are_of_one_key(lane: Lane) -> None:
    method, event = lane.shelf.method("On"), OrderPlaced.DESCRIPTOR.full_name
    register = subscriptions.register(
        method.full_name, service="shelf", queue="events", event_type=event, from_start=True, now=0.0, order_by="gone"
    )
    new = [events.NewEvent(name, event, OrderPlaced(order=name).SerializeToString(), 0.0) for name in "xy"]
    await lane.shelf.store.commit([register, *events.append("s", 0, new)])
    for _ in range(2):
        await lane.relay.go_round()
    assert [copy and copy.id[0] for copy in [await lane.take("shelf.events"), await lane.take("shelf.events")]] == [
        "x",
        None,
    ]


async def test_a_start_leaves_it_to_the_relay_and_wakes_it(lane: Lane) -> None:
    lanes = Lanes(None, pipelines=Pipelines(), tracing=lane.shelf.dispatcher._surroundings.tracing, metrics=Metrics())  # type: ignore[arg-type]

    async def put(request: Any, call: Any) -> Any:
        await lanes.start(lane.shelf.method("Arrange"), lane.shelf.request("Arrange", name=request.name))
        return lane.shelf.reply("put")

    lane.shelf.handle("Put", put)
    done = arrange(lane)
    await lane.shelf.call("Put", name="book")
    assert (lane.shelf.published.messages, lane.shelf.published.wakes) == ([], 1)
    await run_all(lane)
    assert len(done) == 1
    with pytest.raises(InvalidArgument, match="is ordered by `name`, which is empty"):
        await lane.shelf.call("Put")
