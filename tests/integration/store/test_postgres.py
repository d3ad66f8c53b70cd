"""What only a server can do to us: restart, refuse, deadlock."""

import asyncio
import uuid

import psycopg
import pytest
from sqlalchemy import insert, text, update
from sqlalchemy.engine import make_url

from laneway.errors import ConfigurationError, InvalidArgument
from laneway.store import (
    DuplicateKey,
    Store,
    StoreUnavailable,
    VersionConflict,
    Write,
    events,
    inbox,
    migrations,
    postgres,
)
from laneway.store.events import NEW, NewEvent
from tests.fixtures.roles import until

_APPEND = """
    INSERT INTO events (event_id, stream, version, type, payload, metadata, recorded_at)
    VALUES ('e', 's', 1, 'Placed', '', '{}', 0)
"""
_KILL = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"


async def _cut_connections(url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(_KILL, (connection.info.dbname,))


async def test_a_commit_survives_the_loss_of_every_idle_connection(
    migrated_postgres_url: str, postgres_store: Store
) -> None:
    await asyncio.gather(*(inbox.seen(postgres_store, "m") for _ in range(8)))  # fills the pool
    await _cut_connections(migrated_postgres_url)

    await asyncio.gather(*(postgres_store.commit([inbox.record(f"m-{at}", "Ship", 1.0)]) for at in range(4)))

    assert await inbox.seen(postgres_store, "m-3")


async def test_a_read_survives_the_loss_of_every_idle_connection(
    migrated_postgres_url: str, postgres_store: Store
) -> None:
    await asyncio.gather(*(inbox.seen(postgres_store, "m") for _ in range(8)))
    await _cut_connections(migrated_postgres_url)

    assert not await inbox.seen(postgres_store, "m")


async def test_a_transaction_survives_the_loss_of_every_idle_connection(
    migrated_postgres_url: str, postgres_store: Store
) -> None:
    await asyncio.gather(*(inbox.seen(postgres_store, "m") for _ in range(8)))
    await _cut_connections(migrated_postgres_url)

    async with await postgres_store.begin() as transaction:
        await transaction.commit([inbox.record("m", "Ship", 1.0)])

    assert await inbox.seen(postgres_store, "m")


async def test_a_deadlock_is_a_version_conflict_for_one_and_nothing_for_the_other(postgres_store: Store) -> None:
    def to(first: str, second: str, writer: str) -> list[object]:
        return [
            write
            for stream in (first, second)
            for write in events.append(stream, NEW, [NewEvent(f"{writer}-{stream}", "Placed", b"", 0.0)])
        ]

    results = await asyncio.gather(
        *(
            postgres_store.commit(to(*(("a", "b") if at % 2 else ("b", "a")), f"w{at}"))  # type: ignore[arg-type]
            for at in range(8)
        ),
        return_exceptions=True,
    )

    assert sum(result is None for result in results) == 1
    assert sum(isinstance(result, VersionConflict) for result in results) == 7


@pytest.mark.parametrize("url", ["postgresql://ann:secret@127.0.0.1:1/orders", "postgresql:///x?host=/nowhere"])
async def test_a_server_that_does_not_answer_is_one_sentence_without_the_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be reached") as opened:
        await Store.open(url, pool=2)
    with pytest.raises(ConfigurationError, match="cannot be reached") as migrated:
        migrations.migrate(url)

    for error in (opened, migrated):
        assert "\n" not in str(error.value)
        assert "secret" not in str(error.value)


@pytest.mark.parametrize("change", ["UPDATE events SET version = 2", "DELETE FROM events", "TRUNCATE events"])
async def test_neither_a_service_nor_a_superuser_can_change_what_has_happened(postgres_url: str, change: str) -> None:
    role = f"orders_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN")
        try:
            admin.execute(f"ALTER DATABASE {admin.info.dbname} OWNER TO {role}")
            admin.execute(f"ALTER SCHEMA public OWNER TO {role}")
            own = make_url(postgres_url).set(username=role, password=None).render_as_string(hide_password=False)
            await asyncio.to_thread(migrations.migrate, own)
            with psycopg.connect(own, autocommit=True) as service:
                service.execute(_APPEND)
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    service.execute(change)
                service.execute("ALTER TABLE events DISABLE TRIGGER events_append_only")
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    service.execute(change)
                service.execute("ALTER TABLE events ENABLE TRIGGER events_append_only")
            with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
                admin.execute(change)
            assert admin.execute("SELECT version FROM events").fetchall() == [(1,)]
        finally:
            admin.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER")
            admin.execute(f"DROP OWNED BY {role}")
            admin.execute(f"DROP ROLE {role}")


async def test_a_transaction_does_not_wait_for_a_loop_that_is_busy(
    postgres_store: Store, migrated_postgres_url: str
) -> None:
    await postgres_store.commit([inbox.record("known", "Ship", 1.0)])
    touch = update(inbox.inbox).where(inbox.inbox.c.message_id == "known").values(processed_at=3.0)
    writes = [inbox.record("new", "Ship", 1.0), Write(touch, expect=1)]
    with (
        psycopg.connect(migrated_postgres_url) as holder,
        psycopg.connect(migrated_postgres_url, autocommit=True) as looking,
    ):
        holder.execute("UPDATE inbox SET processed_at = 2")
        commit = asyncio.create_task(postgres_store.commit(writes))
        while not looking.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchall():
            await asyncio.sleep(0.01)
        holder.rollback()
        # No turn of the loop from here on.
        until(lambda: looking.execute("SELECT 1 FROM inbox WHERE message_id = 'new' AND processed_at = 1").fetchall())
    await commit


async def test_a_transaction_that_says_nothing_holds_up_nobody_for_ever(
    migrated_postgres_url: str, postgres_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_IDLE", "100ms")
    silent = await Store.open(migrated_postgres_url, pool=1)
    try:
        async with await silent.begin() as transaction:
            await transaction.execute(insert(inbox.inbox).values(message_id="m", method="Ship", processed_at=1.0))

            await postgres_store.commit([inbox.record("m", "Ship", 2.0)])  # waits for the other's lock

            with pytest.raises(StoreUnavailable, match="idle-in-transaction timeout"):
                await transaction.commit()
        with pytest.raises(DuplicateKey):
            await silent.commit([inbox.record("m", "Ship", 3.0)])
    finally:
        await silent.close()


async def test_a_value_that_cannot_be_kept_is_its_callers_mistake(postgres_store: Store) -> None:
    with pytest.raises(InvalidArgument, match="cannot keep a value") as refused:
        await inbox.seen(postgres_store, "a\0")
    with pytest.raises(InvalidArgument):
        await postgres_store.commit([inbox.record("a\0", "Ship", 1.0)])
    assert refused.value.reason == "VALUE_NOT_STORABLE"
    assert "a\0" not in str(refused.value)


async def test_a_refused_commit_of_many_statements_is_one_error_and_no_line_in_the_log(
    postgres_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await postgres_store.commit([inbox.record("known", "Ship", 1.0)])
    more = [inbox.record(f"m-{at}", "S" * 10_000, 1.0) for at in range(100)]
    for _ in range(5):
        with pytest.raises(DuplicateKey, match="known was processed before"):
            await postgres_store.commit([inbox.record("known", "Ship", 1.0), *more])
    assert not await inbox.seen(postgres_store, "m-0")
    assert caplog.records == []


async def test_commits_that_wait_at_the_same_time_go_together(postgres_store: Store) -> None:
    engine = postgres_store.engine
    await asyncio.gather(*(postgres_store.commit([inbox.record(f"m-{at}", "Ship", 1.0)]) for at in range(100)))

    assert engine.commits == 100
    assert engine.batches < 20
    assert await postgres_store.fetch(text("SELECT count(*) FROM inbox")) == [(100,)]


async def test_of_a_group_only_who_fails_fails(postgres_store: Store) -> None:
    def order(at: int, stream: str) -> list[Write]:
        return [inbox.record(f"m-{at}", "Ship", 1.0), *events.append(stream, NEW, [NewEvent(f"e-{at}", "P", b"", 0.0)])]

    streams = ["taken" if at % 5 == 0 else f"s-{at}" for at in range(50)]
    results = await asyncio.gather(
        *(postgres_store.commit(order(at, stream)) for at, stream in enumerate(streams)), return_exceptions=True
    )

    failed = [at for at, result in enumerate(results) if result is not None]
    assert len(failed) == 9 and all(streams[at] == "taken" for at in failed)
    assert all(isinstance(results[at], VersionConflict) for at in failed)
    seen = [await inbox.seen(postgres_store, f"m-{at}") for at in range(50)]
    assert [at for at, there in enumerate(seen) if not there] == failed, "a commit is whole or not at all"


async def test_updates_of_a_group_are_counted_each_on_its_own(postgres_store: Store) -> None:
    for at in range(3):
        await postgres_store.commit([inbox.record(f"m-{at}", "two" if at else "one", 1.0)])

    def touch(method: str) -> Write:
        return Write(text(f"UPDATE inbox SET processed_at = 2 WHERE method = '{method}'"), expect=1)

    results = await asyncio.gather(
        *(postgres_store.commit([touch(method)]) for method in ("one", "one", "two", "none")), return_exceptions=True
    )

    assert [type(result) for result in results] == [type(None), type(None), VersionConflict, VersionConflict]
    assert await postgres_store.fetch(text("SELECT count(*) FROM inbox WHERE processed_at = 2")) == [(1,)]


async def test_who_waits_for_a_lock_does_not_hold_up_the_others(
    postgres_store: Store, migrated_postgres_url: str
) -> None:
    await postgres_store.commit([inbox.record("locked", "Ship", 1.0)])
    async with await psycopg.AsyncConnection.connect(migrated_postgres_url) as holder:
        await holder.execute("UPDATE inbox SET processed_at = 3")
        waits = [Write(text("UPDATE inbox SET processed_at = 2 WHERE message_id = 'locked'"), expect=1)]
        held = asyncio.gather(*(postgres_store.commit(waits) for _ in range(3)))  # of a pool of four
        async with asyncio.timeout(30):
            await asyncio.gather(*(postgres_store.commit([inbox.record(f"m-{at}", "S", 1.0)]) for at in range(40)))
        assert not held.done()
        await holder.rollback()
        await held


async def test_a_caller_that_is_cancelled_leaves_its_group_whole(postgres_store: Store) -> None:
    commits = [asyncio.create_task(postgres_store.commit([inbox.record(f"m-{at}", "S", 1.0)])) for at in range(40)]
    await asyncio.sleep(0)
    commits[7].cancel()
    results = await asyncio.gather(*commits, return_exceptions=True)

    assert [at for at, result in enumerate(results) if result is not None] == [7]
    assert await inbox.seen(postgres_store, "m-39")
