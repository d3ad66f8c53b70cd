"""A commit is all or nothing, and tells apart why it was refused, on every adapter."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Integer,
    MetaData,
    Table,
    Text,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.schema import CreateTable

from laneway.errors import Internal
from laneway.store import ConstraintViolated, DuplicateKey, Store, StoreUnavailable, VersionConflict, Write, inbox

accounts = Table(
    "accounts",
    MetaData(),
    Column("name", Text, primary_key=True),
    Column("balance", Integer, CheckConstraint("balance >= 0"), nullable=False, default=0),
    Column("open", Boolean, nullable=False, default=lambda: True),
    Column("labels", JSON),
    Column("seen_at", DateTime(timezone=True)),
)


@pytest.fixture
async def bank(store: Store) -> AsyncIterator[Store]:
    """A store with the table of an author."""
    compiled = CreateTable(accounts).compile(dialect=store.engine.compiler.dialect)
    await store.commit([Write(text(str(compiled)))])
    await store.commit([Write(insert(accounts), [{"name": "ann", "balance": 10}, {"name": "bob", "balance": 10}])])
    yield store


async def balances(store: Store) -> dict[str, int]:
    return {row.name: row.balance for row in await store.fetch(select(accounts.c.name, accounts.c.balance))}


def withdraw(name: str, amount: int, **expectation: object) -> Write:
    statement = update(accounts).where(accounts.c.name == name)
    return Write(statement.values(balance=accounts.c.balance - amount), **expectation)  # type: ignore[arg-type]


async def test_all_writes_of_a_commit_are_applied(bank: Store) -> None:
    await bank.commit([withdraw("ann", 4), withdraw("bob", -4)])

    assert await balances(bank) == {"ann": 6, "bob": 14}


async def test_a_missed_expectation_rolls_back_the_whole_commit_and_raises_what_the_write_says(bank: Store) -> None:
    refusal = LookupError("no such account")

    with pytest.raises(LookupError) as raised:
        await bank.commit([withdraw("ann", 4), withdraw("carol", -4, expect=1, otherwise=refusal)])

    assert raised.value is refusal
    assert await balances(bank) == {"ann": 10, "bob": 10}


async def test_a_missed_expectation_is_a_version_conflict_by_default(bank: Store) -> None:
    with pytest.raises(VersionConflict, match="change 1 rows and changed 0"):
        await bank.commit([withdraw("carol", 1, expect=1)])


async def test_the_expectation_counts_over_all_rows(bank: Store) -> None:
    await bank.commit(
        [Write(insert(accounts), [{"name": name, "balance": 1} for name in ("carol", "dan", "eve")], expect=3)]
    )

    assert len(await balances(bank)) == 5


async def test_a_unique_key_is_a_duplicate_key_and_rolls_back(bank: Store) -> None:
    with pytest.raises(DuplicateKey):
        await bank.commit([withdraw("ann", 4), Write(insert(accounts).values(name="bob", balance=1))])

    assert await balances(bank) == {"ann": 10, "bob": 10}


@pytest.mark.parametrize("values", [{"name": "carol", "balance": -1}, {"name": "carol", "balance": None}])
async def test_a_refused_row_is_a_violated_constraint(bank: Store, values: dict[str, object]) -> None:
    with pytest.raises(ConstraintViolated):
        await bank.commit([Write(insert(accounts).values(values))])


async def test_a_statement_that_the_database_does_not_understand_is_internal(store: Store) -> None:
    with pytest.raises(Internal, match="no_such_table"):
        await store.commit([Write(text("DELETE FROM no_such_table"))])
    with pytest.raises(Internal, match="no_such_table"):
        await store.fetch(text("SELECT * FROM no_such_table"))


async def test_a_failed_commit_leaves_the_store_usable(bank: Store) -> None:
    for _ in range(20):
        with pytest.raises(DuplicateKey):
            await bank.commit([Write(insert(accounts).values(name="bob", balance=1))])

    await bank.commit([withdraw("ann", 4)])

    assert (await balances(bank))["ann"] == 6


async def test_a_claim_is_granted_once(store: Store) -> None:
    await store.commit([inbox.record("m-1", "Ship", 1.0)])

    with pytest.raises(DuplicateKey, match="m-1"):
        await store.commit([inbox.record("m-1", "Ship", 2.0)])


async def test_of_concurrent_claims_one_is_granted(store: Store) -> None:
    results = await asyncio.gather(
        *(store.commit([inbox.record("m-1", "Ship", float(at))]) for at in range(20)), return_exceptions=True
    )

    assert sorted(type(result).__name__ for result in results) == ["DuplicateKey"] * 19 + ["NoneType"]


async def test_a_refused_commit_does_not_disturb_those_beside_it(bank: Store) -> None:
    deposits = [bank.commit([withdraw("ann", -1)]) for _ in range(20)]
    refused = [bank.commit([withdraw("ann", -100), withdraw("carol", 1, expect=1)]) for _ in range(20)]

    results = await asyncio.gather(
        *(each for pair in zip(deposits, refused, strict=True) for each in pair), return_exceptions=True
    )

    assert sum(isinstance(result, VersionConflict) for result in results) == 20
    assert (await balances(bank))["ann"] == 30


async def test_authors_use_the_types_of_sqlalchemy(bank: Store) -> None:
    from datetime import UTC, datetime

    seen_at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    labels = {"tier": "gold", "limits": [1, 2]}

    await bank.commit([Write(insert(accounts).values(name="carol", labels=labels, seen_at=seen_at))])
    row = (await bank.fetch(select(accounts).where(accounts.c.name.in_(["carol", "dan"]))))[0]

    assert row.as_dict() | {"seen_at": None} == {
        "name": "carol",
        "balance": 0,
        "open": True,
        "labels": labels,
        "seen_at": None,
    }
    assert row.seen_at.replace(tzinfo=UTC) == seen_at


async def test_a_read_sees_what_was_committed_before_it(bank: Store) -> None:
    for expected in range(9, 0, -1):
        await bank.commit([withdraw("ann", 1)])

        assert (await balances(bank))["ann"] == expected


async def test_a_cancelled_waiter_disturbs_nobody(bank: Store) -> None:
    tasks = [asyncio.create_task(bank.commit([withdraw("ann", -1)])) for _ in range(60)]
    await asyncio.sleep(0)  # they are on their way
    for task in tasks[::2]:
        task.cancel()

    results = await asyncio.gather(*tasks, return_exceptions=True)
    await bank.commit([withdraw("bob", 1)])

    kept = [result for result in results[1::2] if result is None]
    balance = (await balances(bank))["ann"]
    assert len(kept) == 30
    assert 10 + 30 <= balance <= 10 + 60, "what was not cancelled is committed; what was, wholly or not at all"


async def test_a_waiter_cancelled_at_any_moment_leaves_a_whole_commit_or_none(bank: Store) -> None:
    for turns in range(12):
        task = asyncio.create_task(bank.commit([withdraw("ann", -1), withdraw("bob", -1)]))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    await bank.commit([withdraw("ann", 0)])
    found = await balances(bank)

    assert found["ann"] == found["bob"]


async def test_a_cancelled_read_disturbs_nobody(bank: Store) -> None:
    tasks = [asyncio.create_task(balances(bank)) for _ in range(40)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()

    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert all(result == {"ann": 10, "bob": 10} for result in results[1::2])


async def test_closing_finishes_what_has_begun_and_refuses_what_comes_later(store_url: str) -> None:
    store = await Store.open(store_url, pool=4)
    begun = asyncio.create_task(store.commit([inbox.record("m-1", "Ship", 1.0)]))
    await asyncio.sleep(0)

    await store.close()

    results = await asyncio.gather(begun, return_exceptions=True)
    assert results == [None] or isinstance(results[0], StoreUnavailable)
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.commit([inbox.record("m-2", "Ship", 1.0)])
    with pytest.raises(StoreUnavailable, match="closed"):
        await inbox.seen(store, "m-1")


async def test_a_hundred_waiting_commits_share_transactions_on_sqlite(sqlite_store: Store) -> None:
    before = sqlite_store.engine.batches

    await asyncio.gather(*(sqlite_store.commit([inbox.record(f"m-{at}", "Ship", 1.0)]) for at in range(100)))

    assert sqlite_store.engine.commits >= 100
    assert sqlite_store.engine.batches - before < 100
    counted = await sqlite_store.fetch(select(func.count().label("count")).select_from(text("inbox")))
    assert counted[0].count == 100


async def test_a_commit_of_nothing_is_nothing(store: Store) -> None:
    before = store.engine.commits

    await store.commit([])

    assert store.engine.commits == before
