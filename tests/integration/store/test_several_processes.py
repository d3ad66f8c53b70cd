"""A server and its worker write to one SQLite file."""

import asyncio
import os
import sqlite3
import sys
from pathlib import Path

from sqlalchemy import text

from laneway.store import Store, events, inbox
from laneway.store.events import ANY, NewEvent
from laneway.store.sqlite import SqliteEngine

_WRITE = """
import asyncio, sys
from laneway.store import Store, events, inbox
from laneway.store.events import ANY, NewEvent

async def main(url, name):
    store = await Store.open(url, pool=2)
    await asyncio.gather(*(
        store.commit([
            inbox.record(f"{name}-{at}", "Ship", 1.0),
            *events.append("shared", ANY, [NewEvent(f"{name}-{at}", "Placed", b"", 0.0)]),
        ])
        for at in range(150)
    ))
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def _process(url: str, name: str) -> int:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _WRITE, url, name, env=environment)
    return await process.wait()


async def test_two_processes_and_this_one_lose_nothing(sqlite_url: str, sqlite_store: Store) -> None:
    async def here() -> None:
        for at in range(50):
            await sqlite_store.commit(events.append("shared", ANY, [NewEvent(f"c-{at}", "Placed", b"", 0.0)]))

    codes = await asyncio.gather(_process(sqlite_url, "a"), _process(sqlite_url, "b"), here())

    found = await events.read_stream(sqlite_store, "shared")
    assert codes[:2] == [0, 0]
    assert [event.version for event in found] == list(range(1, 351))
    assert await inbox.seen(sqlite_store, "a-149")
    assert await inbox.seen(sqlite_store, "b-149")


async def test_two_stores_in_one_process_see_each_other(sqlite_url: str, sqlite_store: Store) -> None:
    other = await Store.open(sqlite_url, pool=2)
    try:
        await asyncio.gather(
            *(sqlite_store.commit([inbox.record(f"m-{at}", "Ship", 1.0)]) for at in range(50)),
            *(other.commit([inbox.record(f"n-{at}", "Ship", 1.0)]) for at in range(50)),
        )
        assert await inbox.seen(sqlite_store, "n-49")
        assert await inbox.seen(other, "m-49")
    finally:
        await other.close()


async def test_a_commit_is_on_the_disk_when_it_returns(sqlite_url: str, sqlite_store: Store, tmp_path: Path) -> None:
    await sqlite_store.commit([inbox.record("m-1", "Ship", 1.0)])

    with sqlite3.connect(tmp_path / "orders.db") as reader:
        assert reader.execute("SELECT message_id FROM inbox").fetchall() == [("m-1",)]
        assert reader.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    reader.close()


async def test_every_connection_of_a_store_waits_for_the_disk(sqlite_store: Store) -> None:
    # A commit that returns is on the disk, not on its way to it: no test can pull the plug, so this asks SQLite.
    synchronous, full = text("PRAGMA synchronous"), [(2,)]
    engine = sqlite_store.engine
    assert isinstance(engine, SqliteEngine)
    assert await engine._writer.run(lambda at: at.execute(synchronous.text).fetchall(), alone=True) == full
    assert await sqlite_store.fetch(synchronous) == full, "a reader's"
    async with await sqlite_store.begin() as transaction:
        assert await transaction.fetch(synchronous) == full, "an explicit transaction's"
