"""The one path of a call, on a database in memory."""

import asyncio

import pytest

from laneway.call import Lane
from laneway.errors import (
    Aborted,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    Unavailable,
    Unimplemented,
)
from laneway.lanes.dispatch import Arrival
from laneway.store import VersionConflict, inbox, operations
from laneway.store.events import read_stream


async def test_effects_are_written_when_the_handler_returns_and_not_before(shelf) -> None:
    async def put(request, call):
        call.emit(shelf.method("On").input(name="book"))
        assert shelf.published.wakes == 0
        return shelf.reply("done")

    shelf.handle("Put", put)
    assert (await shelf.call("Put")).message.text == "done"
    assert shelf.published.wakes == 1


async def test_a_handler_that_raises_leaves_nothing_behind(shelf) -> None:
    async def put(request, call):
        call.emit(shelf.method("On").input(name="book"))
        raise NotFound("no such shelf")

    shelf.handle("Put", put)
    with pytest.raises(NotFound):
        await shelf.call("Put", request_id="one")
    assert shelf.published.wakes == 0


async def test_a_repeated_key_replays_the_reply_without_running_the_handler(shelf) -> None:
    runs = []

    async def put(request, call):
        runs.append(request)
        return shelf.reply(f"run {len(runs)}")

    shelf.handle("Put", put)
    first = await shelf.call("Put", request_id="k", name="book")
    again = await shelf.call("Put", request_id="k", name="book")
    assert (first.message.text, first.replayed) == ("run 1", False)
    assert (again.message.text, again.replayed) == ("run 1", True)


async def test_a_key_with_another_payload_is_refused(shelf) -> None:
    async def put(request, call):
        return shelf.reply("done")

    shelf.handle("Put", put)
    await shelf.call("Put", request_id="k", name="book")
    with pytest.raises(InvalidArgument) as refused:
        await shelf.call("Put", request_id="k", name="lamp")
    assert refused.value.reason == "IDEMPOTENCY_KEY_REUSED"


async def test_of_two_at_once_the_second_waits_and_replays(shelf) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def put(request, call):
        begun.set()
        await go_on.wait()
        return shelf.reply("once")

    shelf.handle("Put", put)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(shelf.call("Put", request_id="k"))
        await begun.wait()
        second = group.create_task(shelf.call("Put", request_id="k"))
        go_on.set()
    assert (first.result().replayed, second.result().replayed) == (False, True)


async def test_the_second_waits_no_longer_than_its_own_deadline(shelf) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def put(request, call):
        begun.set()
        await go_on.wait()
        return shelf.reply("once")

    shelf.handle("Put", put)
    async with asyncio.TaskGroup() as group:
        group.create_task(shelf.call("Put", request_id="k"))
        await begun.wait()
        with pytest.raises(DeadlineExceeded, match="runs under this idempotency key"):
            await shelf.call("Put", request_id="k", timeout=0.01)
        go_on.set()


async def test_of_two_exclusive_calls_at_once_the_second_is_turned_away_in_one_process_as_in_two(shelf) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def charge(request, call):
        begun.set()
        await go_on.wait()
        return shelf.reply("charged")

    shelf.handle("Charge", charge)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(shelf.call("Charge", request_id="k"))
        await begun.wait()
        with pytest.raises(Aborted) as held:
            await shelf.call("Charge", request_id="k")
        assert (held.value.reason, held.value.retry_after) == ("LEASE_HELD", 1)
        go_on.set()
    assert not first.result().replayed
    assert (await shelf.call("Charge", request_id="k")).replayed


async def test_a_declared_error_is_an_answer_and_is_replayed(shelf) -> None:
    runs = []

    async def put(request, call):
        runs.append(1)
        raise FailedPrecondition("the shelf is full", reason="SHELF_FULL")

    shelf.handle("Put", put)
    for is_repeated in (False, True):
        with pytest.raises(FailedPrecondition, match="the shelf is full") as raised:
            await shelf.call("Put", request_id="k")
        assert (raised.value.reason, raised.value.replayed) == ("SHELF_FULL", is_repeated)
    assert len(runs) == 1


async def test_an_error_that_a_callee_has_repeated_is_no_repetition_of_its_caller(shelf) -> None:
    async def put(request, call):
        error = FailedPrecondition("the shelf is full", reason="SHELF_FULL")
        error.replayed = True
        raise error

    shelf.handle("Put", put)
    with pytest.raises(FailedPrecondition) as raised:
        await shelf.call("Put", request_id="k")
    assert not raised.value.replayed


async def test_an_error_that_is_no_answer_is_never_stored(shelf) -> None:
    async def put(request, call):
        raise Unavailable("later")

    shelf.handle("Put", put)
    with pytest.raises(Unavailable):
        await shelf.call("Put", request_id="k")

    async def works(request, call):
        return shelf.reply("now")

    shelf.handle("Put", works)
    assert (await shelf.call("Put", request_id="k")).message.text == "now"


async def test_a_conflict_of_versions_runs_the_handler_again(shelf) -> None:
    from laneway.store.events import NEW, NewEvent, append

    versions = []

    async def put(request, call):
        stream = await read_stream(shelf.store, "shelf/1")
        versions.append(len(stream))
        if not stream:  # somebody else appends while we decide
            await shelf.store.commit(append("shelf/1", NEW, [NewEvent("theirs", "x", b"", 0.0)]))
        for write in append("shelf/1", len(stream), [NewEvent("ours", "x", b"", 0.0)]):
            call.execute_write(write)
        return shelf.reply("done")

    shelf.handle("Put", put)
    await shelf.call("Put")
    assert versions == [0, 1]


async def test_an_effect_outside_has_one_key_in_every_run_of_a_call_without_a_key(shelf) -> None:
    charged, derived = [], []

    async def peek(request, call):
        async with call.outside("charge the card") as key:
            charged.append(key)
        derived.append(call.derive_key("a call further down"))
        if len(charged) < 3:
            raise VersionConflict("again")
        return shelf.reply("done")

    shelf.handle("Peek", peek)
    await shelf.call("Peek")
    assert len(charged) == 3
    assert (len(set(charged)), len(set(derived))) == (1, 1)
    await shelf.call("Peek")
    assert charged[3] != charged[0], "another call is another effect"


async def test_endless_conflicts_end_as_aborted(shelf) -> None:
    async def put(request, call):
        raise VersionConflict("again")

    shelf.handle("Put", put)
    with pytest.raises(Aborted) as raised:
        await shelf.call("Put")
    assert raised.value.retry_after is not None


async def test_an_exclusive_call_without_a_key_is_refused(shelf) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await shelf.call("Charge")
    assert refused.value.reason == "IDEMPOTENCY_KEY_MISSING"


async def test_an_exclusive_lease_is_committed_before_the_effect_and_held_against_other_replicas(shelf) -> None:
    other = type(shelf.dispatcher)(
        shelf.contract,
        shelf.handlers,
        surroundings=shelf.dispatcher._surroundings,
        metrics=shelf.dispatcher._metrics,
        publishing=shelf.published,
    )

    async def charge(request, call):
        with pytest.raises(Aborted) as held:
            await other.unary(shelf.method("Charge"), request, Arrival(lane=Lane.GRPC))
        assert held.value.reason == "LEASE_HELD"
        assert held.value.retry_after == 1, "soon: the lease is longer than a call"
        return shelf.reply("charged")

    shelf.handle("Charge", charge)
    assert (await shelf.call("Charge", request_id="k")).message.text == "charged"


async def test_a_late_owner_of_a_lease_cannot_commit(shelf) -> None:
    runs = []

    async def charge(request, call):
        runs.append(1)
        if len(runs) == 1:
            shelf.clock.now += 31  # the lease runs out, another replica takes over and completes
            other = type(shelf.dispatcher)(
                shelf.contract,
                shelf.handlers,
                surroundings=shelf.dispatcher._surroundings,
                metrics=shelf.dispatcher._metrics,
            )
            await other.unary(shelf.method("Charge"), request, Arrival(lane=Lane.GRPC))
            return shelf.reply("late")
        return shelf.reply("in time")

    shelf.handle("Charge", charge)
    with pytest.raises(Aborted) as refused:
        await shelf.call("Charge", request_id="k")
    assert refused.value.reason == "LEASE_LOST"
    assert (await shelf.call("Charge", request_id="k")).message.text == "in time"


async def test_another_payload_under_the_key_of_an_exclusive_call_is_refused_whether_it_runs_or_failed(shelf) -> None:
    entered, hold = asyncio.Event(), asyncio.Event()

    async def charge(request, call):
        entered.set()
        await hold.wait()
        raise Unavailable("the provider has charged, and its answer is lost")

    async def refused():
        with pytest.raises(InvalidArgument) as error:
            await shelf.call("Charge", request_id="k", name="900 EUR")
        assert error.value.reason == "IDEMPOTENCY_KEY_REUSED"

    shelf.handle("Charge", charge)
    first = asyncio.create_task(shelf.call("Charge", request_id="k", name="100 EUR"))
    await entered.wait()
    await refused()
    hold.set()
    with pytest.raises(Unavailable):
        await first
    await refused()
    shelf.clock.now += 3_600  # its lease has run out
    await refused()


async def test_an_exclusive_call_that_failed_gives_its_lease_back(shelf) -> None:
    async def fails(request, call):
        raise Unavailable("provider down")

    async def works(request, call):
        return shelf.reply("charged")

    shelf.handle("Charge", fails)
    with pytest.raises(Unavailable):
        await shelf.call("Charge", request_id="k")
    shelf.handle("Charge", works)
    assert (await shelf.call("Charge", request_id="k")).message.text == "charged"


async def test_a_handler_is_cancelled_at_its_deadline(shelf) -> None:
    async def slow(request, call):
        await asyncio.Event().wait()

    shelf.handle("Slow", slow)
    with pytest.raises(DeadlineExceeded):
        await shelf.call("Slow")


async def test_nothing_starts_after_its_deadline(shelf) -> None:
    async def peek(request, call):
        raise AssertionError("must not run")

    shelf.handle("Peek", peek)
    with pytest.raises(DeadlineExceeded):
        await shelf.call("Peek", timeout=0.0)


async def test_a_stream_does_not_start_after_its_deadline_either(shelf) -> None:
    async def watch(request, call):
        raise AssertionError("must not run")
        yield

    shelf.handle("Watch", watch)
    arrival = Arrival(lane=Lane.GRPC, timeout=0.0)
    with pytest.raises(DeadlineExceeded):
        await anext(shelf.dispatcher.stream(shelf.method("Watch"), shelf.request("Watch"), arrival))


@pytest.mark.parametrize(("asked", "granted"), [(None, 2), (1, 1), (5, 5), (60, 8)])
async def test_a_caller_may_ask_for_more_than_the_deadline_up_to_the_owners_ceiling(shelf, asked, granted) -> None:
    async def look(request, call):
        return shelf.reply(f"{call.remaining():g}")

    shelf.handle("Look", look)
    assert (await shelf.call("Look", timeout=asked)).message.text == f"{granted:g}"


async def test_without_a_ceiling_the_deadline_is_one(shelf) -> None:
    async def peek(request, call):
        return shelf.reply(f"{call.remaining():g}")

    shelf.handle("Peek", peek)
    assert (await shelf.call("Peek", timeout=60)).message.text == "10"


async def test_queued_work_has_no_deadline_of_its_callers(shelf) -> None:
    remaining = []

    async def tidy(request, call):
        remaining.append(call.remaining())
        return shelf.reply("tidied")

    shelf.handle("Tidy", tidy)
    await shelf.deliver("Tidy", "m1")
    assert remaining == [shelf.method("Tidy").policy.queue.run_timeout]


async def test_an_unknown_failure_tells_nothing_of_its_insides(shelf, caplog) -> None:
    async def peek(request, call):
        raise ValueError("password=secret")

    shelf.handle("Peek", peek)
    with pytest.raises(Internal) as raised:
        await shelf.call("Peek")
    assert "secret" not in raised.value.message


@pytest.mark.parametrize("raised", [SystemExit(3), asyncio.CancelledError()])
async def test_a_handler_that_wants_to_end_more_than_its_call_ends_its_call(shelf, raised) -> None:
    async def put(request, call):
        raise raised

    shelf.handle("Put", put)
    with pytest.raises(Internal, match=r"Put failed; its service's log has the cause"):
        await shelf.call("Put")


async def test_a_stream_that_wants_to_end_its_process_ends_itself(shelf) -> None:
    async def watch(request, call):
        raise SystemExit(3)
        yield

    shelf.handle("Watch", watch)
    arrival = Arrival(lane=Lane.GRPC, headers={})
    with pytest.raises(Internal, match=r"Watch failed; its service's log has the cause"):
        await anext(shelf.dispatcher.stream(shelf.method("Watch"), shelf.request("Watch"), arrival))


async def test_a_call_that_is_cancelled_is_not_a_failure_of_its_handler(shelf, caplog) -> None:
    entered = asyncio.Event()

    async def put(request, call):
        entered.set()
        await asyncio.Event().wait()

    shelf.handle("Put", put)
    call = asyncio.create_task(shelf.call("Put"))
    await entered.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert "handler failed" not in caplog.text


async def test_a_queue_only_method_cannot_be_called(shelf) -> None:
    with pytest.raises(Unimplemented):
        await shelf.call("Tidy")


async def test_a_message_that_comes_twice_has_one_effect_and_one_operation(shelf) -> None:
    runs = []

    async def tidy(request, call):
        runs.append(call.facts.message_id)
        return shelf.reply("tidied")

    shelf.handle("Tidy", tidy)
    for _ in range(2):
        await shelf.deliver("Tidy", "m1", name="book")
    assert runs == ["m1"]
    operation = await operations.get(shelf.store, "m1")
    assert operation.done
    assert shelf.method("Tidy").output.FromString(operation.reply).text == "tidied"


async def test_two_copies_of_a_message_that_run_at_once_commit_once(shelf) -> None:
    both = asyncio.Barrier(2)

    async def on(request, call):
        await both.wait()
        call.emit(request)
        return shelf.method("On").output()

    shelf.handle("On", on)
    await asyncio.gather(shelf.deliver("On", "m1", name="book"), shelf.deliver("On", "m1", name="book"))
    assert shelf.published.wakes == 1


async def test_a_permanent_error_of_a_queued_call_ends_its_operation(shelf) -> None:
    async def tidy(request, call):
        raise NotFound("no such book")

    shelf.handle("Tidy", tidy)
    await shelf.deliver("Tidy", "m1")
    assert (await operations.get(shelf.store, "m1")).error is not None
    assert await inbox.seen(shelf.store, "m1")


async def test_a_transient_error_of_a_queued_call_leaves_it_open(shelf) -> None:
    async def tidy(request, call):
        raise Unavailable("later")

    shelf.handle("Tidy", tidy)
    with pytest.raises(Unavailable):
        await shelf.deliver("Tidy", "m1")
    assert not await inbox.seen(shelf.store, "m1")


async def test_steps_derive_stable_keys_and_a_step_made_twice_wants_a_name(shelf) -> None:
    keys = []

    async def put(request, call):
        keys.append((call.derive_key("a"), call.derive_key("b")))
        with pytest.raises(FailedPrecondition, match="twice"):
            call.derive_key("a")
        raise Unavailable("again")

    shelf.handle("Put", put)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await shelf.call("Put", request_id="k")
    assert keys[0] == keys[1]
    assert keys[0][0] != keys[0][1]


async def test_a_remote_call_in_an_explicit_transaction_is_refused(shelf) -> None:
    async def put(request, call):
        await call.begin()
        async with call.outside("ask the bank"):
            raise AssertionError("must not be reached")

    shelf.handle("Put", put)
    with pytest.raises(FailedPrecondition) as refused:
        await shelf.call("Put")
    assert refused.value.reason == "REMOTE_CALL_IN_TRANSACTION"


async def test_an_explicit_transaction_commits_with_the_other_effects(shelf) -> None:
    async def put(request, call):
        await call.begin()
        call.emit(shelf.method("On").input(name="book"))
        return shelf.reply("done")

    shelf.handle("Put", put)
    await shelf.call("Put", request_id="k")
    assert (await shelf.call("Put", request_id="k")).replayed
    assert shelf.published.wakes == 1
