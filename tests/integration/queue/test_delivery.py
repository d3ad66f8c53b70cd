"""From row to copy to effect to confirmation, on a real Valkey."""

import asyncio

import redis.asyncio as valkey_client

from laneway.contract.policy import Queue, QueueUse
from laneway.errors import NotFound, Unavailable
from laneway.lanes.operation import PUBLISH_GRACE
from laneway.lanes.queue.broker import Outcome, Published, Report
from laneway.lanes.queue.delivery import backoff
from laneway.lanes.queue.valkey import CONNECTIONS, ValkeyBroker
from laneway.store import dead_letters, operations, outbox
from laneway.store.dead_letters import Selection
from laneway.store.operations import State
from tests.integration.queue.conftest import WINDOW


async def run_next(lane) -> None:
    """Let time pass, run the one copy that is due then, and settle its report."""
    lane.shelf.clock.now += 1e4
    await lane.relay.go_round()
    await lane.deliveries.run(await lane.take())
    await lane.settle()


async def test_a_due_row_is_published_run_confirmed_and_gone(lane) -> None:
    async def tidy(request, call):
        return lane.shelf.reply(request.name)

    lane.shelf.handle("Tidy", tidy)
    await lane.start("m1", name="book")
    lane.shelf.clock.now += PUBLISH_GRACE
    await lane.relay.go_round()
    await lane.deliveries.run(await lane.take())
    await lane.settle()
    assert await lane.left() == []
    assert (await operations.get(lane.shelf.store, "m1")).done


async def test_a_row_is_left_to_its_committer_for_its_grace(lane) -> None:
    await lane.start("m1")
    await lane.relay.go_round()
    assert await lane.take() is None


async def test_a_copy_on_its_way_is_not_pushed_again(lane) -> None:
    message = await lane.start("m1")
    answers = [await lane.broker.publish([message], producer="shelf", now=lane.shelf.clock()) for _ in range(2)]
    assert answers == [[Published.SENT], [Published.KNOWN]]


async def test_the_broker_never_holds_more_than_the_window(lane) -> None:
    messages = [await lane.start(f"m{n}") for n in range(3 * WINDOW)]
    await asyncio.gather(*(lane.broker.publish([m], producer="shelf", now=lane.shelf.clock()) for m in messages))
    assert await lane.broker.room(["shelf.default"]) == [0]
    held = 0
    while await lane.take():
        held += 1
    assert held == WINDOW


async def test_what_the_window_refused_is_published_when_there_is_room(lane) -> None:
    async def tidy(request, call):
        return lane.shelf.reply("done")

    lane.shelf.handle("Tidy", tidy)
    for n in range(2 * WINDOW):
        await lane.start(f"m{n}")
    for _ in range(2):
        lane.shelf.clock.now += PUBLISH_GRACE
        await lane.relay.go_round()
        while delivery := await lane.take():
            await lane.deliveries.run(delivery)
        await lane.settle()
    assert await lane.left() == []


async def test_flushall_loses_nothing(lane, valkey_url) -> None:
    await lane.start("m1")
    lane.shelf.clock.now += PUBLISH_GRACE
    await lane.relay.go_round()
    async with valkey_client.Redis.from_url(valkey_url) as client:
        await client.flushall()
    lane.shelf.clock.now += lane.broker.copy_ttl
    await lane.relay.go_round()
    assert (await lane.take()).id == "m1"


async def test_what_runs_for_long_stays_marked_and_has_no_second_copy(lane, valkey_url) -> None:
    entered, let_go = asyncio.Event(), asyncio.Event()

    async def tidy(request, call):
        entered.set()
        await let_go.wait()
        return lane.shelf.reply("done")

    lane.shelf.handle("Tidy", tidy)
    message = await lane.start("m1")
    await lane.broker.publish([message], producer="shelf", now=lane.shelf.clock())
    running = asyncio.create_task(lane.deliveries.run(await lane.take()))
    await entered.wait()
    lane.broker.copy_ttl = 0.3  # refreshed at each third of it
    keeping = asyncio.create_task(lane.deliveries.keep_markers())
    async with valkey_client.Redis.from_url(valkey_url) as client:
        await client.delete("laneway:copy:m1")  # as if its time were over
        async with asyncio.timeout(20):
            while not await client.exists("laneway:copy:m1"):
                await asyncio.sleep(0.01)
        keeping.cancel()
        let_go.set()
        await running
        assert not await client.exists("laneway:copy:m1"), "another may come when it has ended"


async def test_a_mistake_in_who_may_call_is_told_as_one_of_the_handler(lane) -> None:
    async def admit(request, call):
        raise KeyError("role")

    lane.shelf.gates.append(admit)
    await lane.start("m1")
    await run_next(lane)
    row = await outbox.get(lane.shelf.store, "m1")
    assert row is not None
    assert (row.attempts, row.error) == (1, f"INTERNAL: {row.method} failed; its service's log has the cause.")


async def test_a_lost_confirmation_is_one_more_delivery_and_no_second_effect(lane) -> None:
    runs = []

    async def tidy(request, call):
        runs.append(1)
        return lane.shelf.reply("done")

    lane.shelf.handle("Tidy", tidy)
    message = await lane.start("m1")
    for _ in range(2):
        await lane.broker.publish([message], producer="shelf", now=lane.shelf.clock())
        await lane.deliveries.run(await lane.take())
    await lane.settle()
    assert (len(runs), await lane.left()) == (1, [])


async def test_a_transient_failure_comes_again_after_its_backoff(lane) -> None:
    attempts = []

    async def tidy(request, call):
        attempts.append(call.attempt)
        if len(attempts) == 1:
            raise Unavailable("not now", retry_after=7)
        return lane.shelf.reply("done")

    lane.shelf.handle("Tidy", tidy)
    await lane.start("m1")
    lane.shelf.clock.now += PUBLISH_GRACE
    await lane.relay.go_round()
    await lane.deliveries.run(await lane.take())
    await lane.settle()
    [row] = await lane.left()
    assert (row.due_at - lane.shelf.clock(), row.attempts) == (7, 1)
    lane.shelf.clock.now += 7
    await lane.relay.go_round()
    await lane.deliveries.run(await lane.take())
    assert attempts == [1, 2]


async def test_a_message_out_of_attempts_is_parked_and_its_operation_failed(lane) -> None:
    async def tidy(request, call):
        raise Unavailable("never")

    lane.shelf.handle("Tidy", tidy)
    await lane.start("m1")
    for _ in range(lane.shelf.method("Tidy").work.max_attempts):
        await run_next(lane)
    [parked] = await dead_letters.find(lane.shelf.store, Selection(), 10)
    assert (parked.error, parked.attempts) == ("UNAVAILABLE: never", lane.shelf.method("Tidy").work.max_attempts)
    assert (await operations.get(lane.shelf.store, "m1")).error is not None


async def test_a_message_that_kills_its_process_is_parked_without_another_run(lane) -> None:
    async def tidy(request, call):
        raise AssertionError("must not run")

    lane.shelf.handle("Tidy", tidy)
    message = await lane.start("m1")
    for _ in range(lane.shelf.method("Tidy").work.max_attempts):
        await lane.broker.started("m1", 1, 0.0)  # and the process died
    await lane.broker.forget("m1")
    await lane.broker.publish([message], producer="shelf", now=lane.shelf.clock())
    await lane.deliveries.run(await lane.take())
    await lane.settle()
    [parked] = await dead_letters.find(lane.shelf.store, Selection(), 10)
    assert "never ended" in parked.error
    assert parked.attempts == lane.shelf.method("Tidy").work.max_attempts


async def test_a_redriven_message_runs_under_its_id_and_its_operation_succeeds(lane) -> None:
    async def tidy(request, call):
        raise Unavailable("never")

    lane.shelf.handle("Tidy", tidy)
    await lane.start("m1")
    for _ in range(lane.shelf.method("Tidy").work.max_attempts):
        await run_next(lane)
    assert (await operations.get(lane.shelf.store, "m1")).state is State.FAILED

    async def mended(request, call):
        return lane.shelf.reply(call.facts.message_id)

    lane.shelf.handle("Tidy", mended)
    await lane.shelf.store.commit([dead_letters.redrive({"m1": lane.shelf.clock()})])
    await run_next(lane)
    operation = await operations.get(lane.shelf.store, "m1")
    assert (operation.state, operation.error) == (State.SUCCEEDED, None)
    assert b"m1" in operation.reply
    assert await outbox.get(lane.shelf.store, "m1") is None


async def test_a_redriven_message_whose_work_was_done_after_all_is_not_done_again(lane) -> None:
    runs = []

    async def tidy(request, call):
        runs.append(1)
        return lane.shelf.reply("done")

    lane.shelf.handle("Tidy", tidy)
    await lane.start("m1")
    await lane.shelf.deliver("Tidy", "m1")  # done, and never confirmed
    await lane.shelf.store.commit([outbox.park("m1", 8, "lost", lane.shelf.clock())])
    await lane.shelf.store.commit([dead_letters.redrive({"m1": lane.shelf.clock()})])
    await run_next(lane)
    assert (len(runs), await lane.left()) == (1, [])


async def test_a_subscription_that_cannot_handle_an_event_parks_it_and_others_go_on(lane) -> None:
    from laneway.store import subscriptions

    names = []

    async def on(request, call):
        if request.name == "poison":
            raise NotFound("no such thing")
        names.append(request.name)
        return lane.shelf.method("On").output()

    async def put(request, call):
        call.emit(lane.shelf.method("On").input(name=request.name))
        return lane.shelf.reply("put")

    lane.shelf.handle("On", on)
    lane.shelf.handle("Put", put)
    method = lane.shelf.method("On")
    await lane.shelf.store.commit(
        [
            subscriptions.register(
                method.full_name,
                service="shelf",
                queue="events",
                event_type=method.input.DESCRIPTOR.full_name,
                from_start=False,
                now=0.0,
            )
        ]
    )
    for name in ("poison", "book"):
        await lane.shelf.call("Put", name=name)
    await lane.relay.go_round()
    while delivery := await lane.take("shelf.events"):
        await lane.deliveries.run(delivery)
    await lane.settle()
    assert names == ["book"]
    assert [m.method for m in await dead_letters.find(lane.shelf.store, Selection(), 10)] == [method.full_name]
    assert await lane.left() == []


async def test_work_that_was_not_started_in_time_ends_expired(lane) -> None:
    async def tidy(request, call):
        raise AssertionError("must not run")

    lane.shelf.handle("Tidy", tidy)
    message = await lane.start("m1")
    from dataclasses import replace

    late = replace(message, start_by=lane.shelf.clock() - 1)
    await lane.broker.publish([late], producer="shelf", now=lane.shelf.clock())
    await lane.deliveries.run(await lane.take())
    operation = await operations.get(lane.shelf.store, "m1")
    assert operation.error is not None
    assert b"START_EXPIRED" in operation.error
    assert operation.state is State.EXPIRED


def test_backoff_never_overflows() -> None:
    work = Queue(
        queue="q", use=QueueUse.ONLY, start_within=None, run_timeout=1, max_attempts=9999, initial_backoff=1,
        max_backoff=300,
    )  # fmt: skip
    assert 150 <= backoff(work, 2000) <= 300


async def test_a_broker_that_is_away_is_unavailable_and_back_when_it_is(valkey, lane) -> None:
    broker = ValkeyBroker(valkey.url, window=WINDOW)
    await broker.wake("shelf")
    valkey.kill()
    try:
        await broker.wake("shelf")
        raise AssertionError("nobody is there")
    except Unavailable as error:
        assert error.reason == "BROKER_UNAVAILABLE"
    valkey.start()
    await broker.wake("shelf")
    await broker.close()


async def test_a_copy_whose_attempt_has_failed_meanwhile_is_not_run(lane) -> None:
    attempts = []

    async def tidy(request, call):
        attempts.append(call.attempt)
        raise Unavailable("not now")

    lane.shelf.handle("Tidy", tidy)
    message = await lane.start("m1")
    for _ in range(3):  # copies whose markers have run out while they waited
        await lane.broker.publish([message], producer="shelf", now=lane.shelf.clock())
        await lane.broker.forget("m1")
    while delivery := await lane.take():
        await lane.deliveries.run(delivery)
    await lane.settle()
    [row] = await lane.left()
    assert (attempts, row.attempts) == ([1], 1)


async def test_an_event_that_is_delivered_again_does_not_run_its_handler_again(lane) -> None:
    runs = []

    async def on(request, call):
        runs.append(1)
        return lane.shelf.method("On").output()

    lane.shelf.handle("On", on)
    for _ in range(2):
        await lane.shelf.deliver("On", "e1:On", name="book")
    assert runs == [1]


async def test_a_copy_from_before_its_message_was_parked_is_not_run_and_one_that_was_redriven_is(lane) -> None:
    """As when a worker that it has killed held it, and another finds it there an hour later."""
    runs = []

    async def tidy(request, call):
        runs.append(call.attempt)
        raise NotFound("nobody")

    lane.shelf.handle("Tidy", tidy)
    message = await lane.start("m1")
    before = lane.shelf.clock()
    await lane.broker.publish([message], producer="shelf", now=before)
    stale = await lane.take()
    await lane.broker.report("shelf", Report(id="m1", outcome=Outcome.PARK, attempt=8), enqueued_at=before)
    await lane.deliveries.run(stale)
    assert runs == []
    await lane.broker.publish([message], producer="shelf", now=before + 1)
    await lane.deliveries.run(await lane.take())
    assert runs == [1]


async def test_a_process_has_no_more_connections_to_the_broker_than_stated(valkey) -> None:
    broker = ValkeyBroker(valkey.url, window=WINDOW)
    await asyncio.gather(*(broker.started(f"m{n}", 1, 0.0) for n in range(20 * CONNECTIONS)))
    async with valkey_client.Redis.from_url(valkey.url) as client:
        assert len(await client.client_list()) - 1 <= CONNECTIONS
    await broker.close()
