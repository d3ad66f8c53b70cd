"""One call, one transaction: its claim, its reply and its effects are kept together, or none of them, on each database."""

import asyncio
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import Int64Value
from opentelemetry.trace import SpanKind
from sqlalchemy import select, text

from laneway.call import Call, Lane
from laneway.domain import Aggregate, applies
from laneway.errors import FailedPrecondition, NotFound
from laneway.lanes.dispatch import Arrival, Dispatcher
from laneway.lanes.operation import NOW, queued
from laneway.store import Write, inbox, operations, snapshots
from laneway.store.events import ANY, START, NewEvent, append, newest
from laneway.store.schema import inbox as touched
from laneway.store.schema import outbox as queue
from tests.fixtures.shelf import Shelf

NO_SUCH_ROW = Write(touched.delete().where(touched.c.message_id == "none"), expect=1, otherwise=NotFound("no such row"))


class Count(Aggregate):
    total = 0

    @applies(Int64Value)
    def _counted(self, event: Int64Value) -> None:
        self.total += event.value


def counted(call: Call, count: Count) -> None:
    count.record(Int64Value(value=1))
    call.save(count)


def start(shelf: Shelf, call: Call, id: str) -> None:
    method = shelf.method("Tidy")
    message = queued(method, method.input(name="book"), id, {}, call.now(), NOW)
    call.start(message, shelf.dispatcher._surroundings.tracing.start_span("send", SpanKind.PRODUCER, {}))


def another_process(shelf: Shelf) -> Dispatcher:
    surroundings, metrics = shelf.dispatcher._surroundings, shelf.dispatcher._metrics
    return Dispatcher(shelf.contract, shelf.handlers, surroundings=surroundings, metrics=metrics)


async def kept(shelf: Shelf) -> tuple[int, int]:
    """How many events and messages there are."""
    return len(await newest(shelf.store, 10)), len(await shelf.store.fetch(select(queue.c.id)))


OPEN = text("""
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
      AND backend_type = 'client backend'
""")


async def nothing_is_open(shelf: Shelf) -> bool:
    """Whether no transaction is; on SQLite, whether another may write at once."""
    if shelf.store.dialect == "postgresql":
        return await shelf.store.fetch(OPEN) == []
    async with asyncio.timeout(5), await shelf.store.begin():
        return True


@pytest.mark.parametrize("name", ["Put", "Charge"])
async def test_while_a_handler_waits_for_others_no_transaction_of_its_call_is_open(
    stored_shelf: Shelf, name: str
) -> None:
    shelf, told = stored_shelf, []

    async def handler(request, call):
        counted(call, await call.load(Count, "1"))
        start(shelf, call, "started")
        told.append(await nothing_is_open(shelf))  # where it would wait
        return shelf.reply("done")

    shelf.handle(name, handler)
    await shelf.call(name, request_id="k")
    assert told == [True]
    assert await kept(shelf) == (1, 1)


@pytest.mark.parametrize("explicit", [False, True])
async def test_a_write_that_fails_takes_claim_reply_and_effects_with_it(stored_shelf: Shelf, explicit: bool) -> None:
    shelf, runs = stored_shelf, []

    async def put(request, call):
        if explicit:
            await call.begin()
        runs.append(request)
        call.emit(shelf.method("On").input(name="book"))
        start(shelf, call, "m1")
        if len(runs) == 1:
            call.execute_write(NO_SUCH_ROW)
        return shelf.reply(f"run {len(runs)}")

    shelf.handle("Put", put)
    with pytest.raises(NotFound, match="no such row"):
        await shelf.call("Put", request_id="k")
    assert await kept(shelf) == (0, 0)

    answer = await shelf.call("Put", request_id="k")
    assert (answer.message.text, answer.replayed) == ("run 2", False), "the claim went with the rest"
    assert await kept(shelf) == (1, 1)


async def test_a_claim_that_another_process_took_meanwhile_takes_the_effects_with_it(stored_shelf: Shelf) -> None:
    shelf, runs = stored_shelf, []

    async def put(request, call):
        runs.append(request)
        run = len(runs)
        if run == 1:
            await another_process(shelf).unary(call.method, request, Arrival(lane=Lane.GRPC))
        call.emit(shelf.method("On").input(name="book"))
        start(shelf, call, f"m{run}")
        return shelf.reply(f"run {run}")

    shelf.handle("Put", put)
    answer = await shelf.call("Put", request_id="k")
    assert (answer.message.text, answer.replayed) == ("run 2", True)
    assert await kept(shelf) == (1, 1)


async def test_a_message_whose_effects_fail_was_not_seen_and_has_no_operation(stored_shelf: Shelf) -> None:
    shelf = stored_shelf

    async def tidy(request, call):
        call.emit(shelf.method("On").input(name="book"))
        call.execute_write(Write(NO_SUCH_ROW.statement, expect=1, otherwise=OSError("the disk is gone")))
        return shelf.reply("tidied")

    shelf.handle("Tidy", tidy)
    with pytest.raises(OSError, match="the disk is gone"):
        await shelf.deliver("Tidy", "m1")
    assert await kept(shelf) == (0, 0)
    assert not await inbox.seen(shelf.store, "m1")
    assert await operations.get(shelf.store, "m1") is None


@pytest.mark.parametrize("explicit", [False, True])
async def test_nothing_is_published_before_the_commit_and_nothing_after_one_that_failed(
    stored_shelf: Shelf, explicit: bool
) -> None:
    shelf, told = stored_shelf, []
    engine, publishing = shelf.store.engine, shelf.published
    commit, begin, offer, wake = engine.commit, engine.begin, publishing.offer, publishing.wake

    async def committing(steps):
        await commit(steps)
        told.append("committed")

    async def beginning():
        transaction = await begin()
        end = transaction.commit

        async def ending(writes):
            await end(writes)
            told.append("committed")

        transaction.commit = ending
        return transaction

    async def put(request, call):
        if explicit:
            await call.begin()
        call.emit(shelf.method("On").input(name="book"))
        start(shelf, call, f"of {request.name}")
        if request.name == "lamp":
            call.execute_write(NO_SUCH_ROW)
        return shelf.reply("done")

    engine.commit, engine.begin = committing, beginning
    publishing.offer = lambda messages, spans: (told.append("offered"), offer(messages, spans))
    publishing.wake = lambda: (told.append("woken"), wake())
    shelf.handle("Put", put)
    with pytest.raises(NotFound):
        await shelf.call("Put", request_id="lamp", name="lamp")
    assert told == []

    await shelf.call("Put", request_id="book", name="book")
    assert told == ["committed", "offered", "woken"]
    assert [message.id for message in publishing.messages] == ["of book"]


async def test_a_declared_error_inside_an_explicit_transaction_is_kept_and_replayed(stored_shelf: Shelf) -> None:
    shelf, runs = stored_shelf, []

    async def put(request, call):
        runs.append(request)
        transaction = await call.begin()
        row = {"message_id": "half", "method": "x", "processed_at": 1.0}
        await transaction.execute(touched.insert(), [row])
        raise FailedPrecondition("the shelf is full", reason="SHELF_FULL")

    shelf.handle("Put", put)
    async with asyncio.timeout(5):  # half of what a commit waits for the locks of another
        for _ in range(2):
            with pytest.raises(FailedPrecondition, match="the shelf is full"):
                await shelf.call("Put", request_id="k")
    assert len(runs) == 1
    assert not await inbox.seen(shelf.store, "half"), "what the transaction wrote is undone"


async def test_an_aggregate_is_loaded_in_the_explicit_transaction_and_holds_until_the_commit(
    stored_shelf: Shelf,
) -> None:
    shelf, seen = stored_shelf, []

    async def put(request, call):
        await call.begin()
        count = await call.load(Count, "a")
        last = await call.history(Count, "a", after=count.version - 1)
        seen.append((count.total, len(await call.history(Count, "a")), [event.version for event in last]))
        await call.log.after(START, [Int64Value])
        counted(call, count)
        return shelf.reply("done")

    shelf.handle("Put", put)
    async with asyncio.timeout(5):
        for key in ("k1", "k2", "k3"):
            await shelf.call("Put", request_id=key)
    assert seen == [(0, 0, []), (1, 1, [1]), (2, 2, [2])]


async def test_an_aggregate_is_what_the_explicit_transaction_wrote_of_it(stored_shelf: Shelf) -> None:
    shelf, seen = stored_shelf, []

    async def put(request, call):
        transaction = await call.begin()
        count = await call.load(Count, "a")
        counted(call, count)
        writes, call.effects.writes = call.effects.writes, []
        for write in writes:
            await transaction.execute(write.statement, write.rows)
        seen.append((await call.load(Count, "a")).total)
        seen.append(len(await call.history(Count, "a")))
        return shelf.reply("done")

    shelf.handle("Put", put)
    async with asyncio.timeout(5):
        await shelf.call("Put", request_id="k")
    assert seen == [1, 1]


async def test_a_caller_that_goes_away_while_an_explicit_transaction_commits_changes_nothing(
    stored_shelf: Shelf,
) -> None:
    shelf = stored_shelf

    async def put(request, call):
        await call.begin()
        call.emit(shelf.method("On").input(name="book"))
        asyncio.get_running_loop().call_soon(task.cancel)
        return shelf.reply("done")

    shelf.handle("Put", put)
    task = asyncio.create_task(shelf.call("Put", request_id="k"))
    with pytest.raises(asyncio.CancelledError):
        await task
    await shelf.dispatcher.close()
    assert (await shelf.call("Put", request_id="k")).replayed
    assert await kept(shelf) == (1, 0)


async def test_who_saves_what_another_has_changed_meanwhile_decides_anew(stored_shelf: Shelf) -> None:
    seen = []

    async def put(request: Any, call: Call) -> Any:
        count = await call.load(Count, "1")
        if not seen:
            other = NewEvent("other", Int64Value.DESCRIPTOR.full_name, Int64Value(value=5).SerializeToString(), 0.0)
            await stored_shelf.store.commit(append(Count.stream("1"), ANY, [other]))
        seen.append(count.total)
        counted(call, count)
        return stored_shelf.reply("counted")

    stored_shelf.handle("Put", put)
    await stored_shelf.call("Put")
    assert seen == [0, 5]
    assert len(await newest(stored_shelf.store, 10)) == 2


class Kept(Count):
    snapshot_every = 1
    snapshot_type = Int64Value

    def snapshot(self) -> Int64Value:
        return Int64Value(value=self.total)


async def test_what_is_saved_keeps_the_snapshot_that_is_due(stored_shelf: Shelf) -> None:
    async def put(request: Any, call: Call) -> Any:
        counted(call, Kept.fresh("1"))
        return stored_shelf.reply("counted")

    stored_shelf.handle("Put", put)
    await stored_shelf.call("Put")
    snapshot = await snapshots.latest(stored_shelf.store, Kept.stream("1"))
    assert snapshot is not None
    assert (snapshot.version, Int64Value.FromString(snapshot.payload).value) == (1, 1)


async def test_an_event_that_nobody_could_hear_is_not_emitted(stored_shelf: Shelf) -> None:
    async def put(request: Any, call: Call) -> Any:
        call.emit(Int64Value(value=1))
        return stored_shelf.reply("told")

    stored_shelf.handle("Put", put)
    with pytest.raises(FailedPrecondition, match="is not published: nobody could listen"):
        await stored_shelf.call("Put")
    assert await newest(stored_shelf.store, 10) == []
