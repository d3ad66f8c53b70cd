"""Transactions that an author opens: what was read holds, and leaving without a commit changes nothing."""

import asyncio

import pytest
from sqlalchemy import select

from laneway.errors import FailedPrecondition
from laneway.store import DuplicateKey, Store, VersionConflict, Write, inbox
from laneway.store.schema import inbox as table


def _rename(message_id: str, method: str) -> Write:
    return Write(table.update().where(table.c.message_id == message_id).values(method=method), expect=1)


async def _methods(store: Store) -> dict[str, str]:
    return {row.message_id: row.method for row in await store.fetch(select(table))}


async def test_it_reads_its_own_writes_and_others_see_them_after_the_commit(store: Store) -> None:
    async with await store.begin() as transaction:
        changed = await transaction.execute(table.insert(), [{"message_id": "m", "method": "A", "processed_at": 1.0}])
        rows = await transaction.fetch(select(table))
        await transaction.commit([_rename("m", "B")])

    assert changed == 1
    assert [row.method for row in rows] == ["A"]
    assert await _methods(store) == {"m": "B"}


async def test_leaving_without_a_commit_changes_nothing(store: Store) -> None:
    with pytest.raises(LookupError):
        async with await store.begin() as transaction:
            await transaction.execute(inbox.record("m", "A", 1.0).statement, inbox.record("m", "A", 1.0).rows)
            raise LookupError

    async with await store.begin() as transaction:
        await transaction.execute(inbox.record("m", "A", 1.0).statement, inbox.record("m", "A", 1.0).rows)

    assert await _methods(store) == {}


async def test_a_missed_expectation_rolls_the_whole_transaction_back(store: Store) -> None:
    await store.commit([inbox.record("m", "A", 1.0)])

    with pytest.raises(DuplicateKey):
        async with await store.begin() as transaction:
            await transaction.execute(_rename("m", "B").statement)
            await transaction.commit([inbox.record("m", "C", 2.0)])

    assert await _methods(store) == {"m": "A"}


async def test_after_its_end_it_refuses_everything_but_a_rollback(store: Store) -> None:
    transaction = await store.begin()
    await transaction.commit()

    await transaction.rollback()
    with pytest.raises(FailedPrecondition, match="has ended"):
        await transaction.fetch(select(table))
    with pytest.raises(FailedPrecondition, match="has ended"):
        await transaction.commit()


async def test_of_two_that_change_what_both_read_one_is_lost_for_no_one(store: Store) -> None:
    """Each adds one to what it read. SQLite makes the second wait, PostgreSQL refuses it and it runs again."""
    await store.commit([inbox.record("m", "0", 1.0)])

    async def increment() -> None:
        while True:
            try:
                async with await store.begin() as transaction:
                    value = int((await transaction.fetch(select(table)))[0].method)
                    await transaction.commit([_rename("m", str(value + 1))])
                    return
            except VersionConflict:
                continue

    await asyncio.gather(*(increment() for _ in range(8)))

    assert await _methods(store) == {"m": "8"}


async def test_collected_commits_and_explicit_transactions_take_turns(store: Store) -> None:
    async def explicit(at: int) -> None:
        async with await store.begin() as transaction:
            await transaction.fetch(select(table))
            await transaction.commit([inbox.record(f"explicit-{at}", "A", 1.0)])

    await asyncio.gather(
        *(explicit(at) for at in range(10)),
        *(store.commit([inbox.record(f"collected-{at}", "A", 1.0)]) for at in range(10)),
    )

    assert len(await _methods(store)) == 20


async def test_a_cancelled_owner_gives_its_lock_back(store: Store) -> None:
    entered = asyncio.Event()

    async def hold() -> None:
        async with await store.begin() as transaction:
            await transaction.execute(inbox.record("m", "A", 1.0).statement, inbox.record("m", "A", 1.0).rows)
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await entered.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    await store.commit([inbox.record("m", "B", 2.0)])

    assert await _methods(store) == {"m": "B"}


async def test_one_cancelled_while_it_waits_for_its_turn_leaves_no_lock(store: Store) -> None:
    for turns in range(8):
        task = asyncio.create_task(store.begin())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        for result in await asyncio.gather(task, return_exceptions=True):
            if not isinstance(result, BaseException):
                await result.rollback()

    await store.commit([inbox.record("m", "B", 2.0)])

    assert await _methods(store) == {"m": "B"}
