"""PostgreSQL: transactions commit in another order than they took positions, and no reader misses an event."""

import asyncio

import psycopg
import pytest

from laneway.store import Store, events, subscriptions
from laneway.store.events import ANY, NEW, START, NewEvent

_INSERT = """
    INSERT INTO events (event_id, stream, version, type, payload, metadata, recorded_at)
    VALUES (%s, %s, 1, 'Placed', '', '{}', 0)
"""

_SOMEBODY_WAITS = "SELECT 1 FROM pg_locks WHERE NOT granted"

Writer = psycopg.AsyncConnection[tuple[object, ...]]


@pytest.fixture
async def slow(migrated_postgres_url: str) -> Writer:
    """A writer whose transaction stays open as long as a test wants."""
    return await psycopg.AsyncConnection.connect(migrated_postgres_url)


async def _ids(store: Store, cursor: events.Cursor) -> list[str]:
    return [event.event_id for event in await events.read_after(store, cursor)]


async def test_reading_by_position_would_miss_an_event(postgres_store: Store, slow: Writer) -> None:
    """The trap itself: why the cursor is not a position."""
    async with slow:
        await slow.execute(_INSERT, ("early", "s-1"))  # takes position 1 and does not commit yet
        await postgres_store.commit(events.append("s-2", NEW, [NewEvent("late", "Placed", b"", 0.0)]))
        async with await psycopg.AsyncConnection.connect(slow.info.dsn) as reader:
            by_position = "SELECT event_id, position FROM events WHERE position > %s ORDER BY position"
            first = await (await reader.execute(by_position, (0,))).fetchall()
            await slow.commit()
            second = await (await reader.execute(by_position, (first[-1][1],))).fetchall()

    assert [row[0] for row in first] == ["late"]
    assert second == [], "early has a smaller position than late, so it is never seen"


async def test_a_reader_waits_for_the_oldest_transaction_and_misses_nothing(
    postgres_store: Store, slow: Writer
) -> None:
    async with slow:
        await slow.execute(_INSERT, ("early", "s-1"))
        await postgres_store.commit(events.append("s-2", NEW, [NewEvent("late", "Placed", b"", 0.0)]))
        before = await _ids(postgres_store, START)
        await slow.commit()

    assert before == []
    assert await _ids(postgres_store, START) == ["early", "late"]


async def test_a_transaction_that_rolls_back_holds_nobody_for_ever(postgres_store: Store, slow: Writer) -> None:
    async with slow:
        await slow.execute(_INSERT, ("gone", "s-1"))
        await postgres_store.commit(events.append("s-2", NEW, [NewEvent("late", "Placed", b"", 0.0)]))
        await slow.rollback()

    assert await _ids(postgres_store, START) == ["late"]


async def test_a_subscription_begun_during_a_transaction_gets_its_event(postgres_store: Store, slow: Writer) -> None:
    async with slow:
        await slow.execute(_INSERT, ("early", "s-1"))
        await postgres_store.commit(events.append("s-2", NEW, [NewEvent("before", "Placed", b"", 0.0)]))
        await postgres_store.commit([subscriptions.register(
            "Mail", service="notifications", queue="mail", event_type="Placed", from_start=False, now=0.0
        )])  # fmt: skip
        await slow.commit()

    [subscription] = await subscriptions.all(postgres_store)
    assert "early" in await _ids(postgres_store, subscription.cursor)


async def test_who_appends_at_the_end_waits_for_who_does_so_elsewhere(
    postgres_store: Store, migrated_postgres_url: str
) -> None:
    """In another process; those of one share a transaction."""
    other = await Store.open(migrated_postgres_url, pool=1)
    one, two = (events.append("log", ANY, [NewEvent(id, "Placed", b"", 0.0)]) for id in ("one", "two"))
    try:
        async with await other.begin() as open_one:
            for write in one:
                await open_one.execute(write.statement, write.rows)
            second = asyncio.create_task(postgres_store.commit(two))
            async with await psycopg.AsyncConnection.connect(migrated_postgres_url, autocommit=True) as looking:
                while not await (await looking.execute(_SOMEBODY_WAITS)).fetchone():
                    await asyncio.sleep(0.01)
            await open_one.commit()
        await second
    finally:
        await other.close()

    assert [event.event_id for event in await events.read_stream(postgres_store, "log")] == ["one", "two"]


async def test_a_reader_beside_many_writers_sees_every_event_once(postgres_store: Store) -> None:
    total, found, cursor = 400, list[str](), START
    writers = asyncio.gather(
        *(
            postgres_store.commit(events.append(f"s-{at}", NEW, [NewEvent(f"e-{at}", "Placed", b"", 0.0)]))
            for at in range(total)
        )
    )

    while not writers.done() or len(found) < total:
        page = await events.read_after(postgres_store, cursor, limit=50)
        found += [event.event_id for event in page]
        cursor = page[-1].cursor if page else cursor
        if writers.done() and not page and not await events.read_after(postgres_store, cursor):
            break

    await writers
    assert sorted(found) == sorted(f"e-{at}" for at in range(total))
