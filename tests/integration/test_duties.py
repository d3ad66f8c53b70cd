"""What a server does besides serving."""

import asyncio
import sqlite3
import time
from contextlib import closing

from laneway.store import Store, idempotency, operations
from tests.fixtures.roles import Roles, until


def kept(roles: Roles) -> tuple[list[str], list[str]]:
    """The keys and the operations in the database."""
    with closing(sqlite3.connect(roles.database_url.removeprefix("sqlite:///"))) as connection:
        keys = [key for (key,) in connection.execute("SELECT key FROM idempotency ORDER BY key")]
        return keys, [id for (id,) in connection.execute("SELECT id FROM operations ORDER BY id")]


def test_a_server_sweeps_keys_and_operations_whose_time_is_over(roles: Roles) -> None:
    async def keep() -> None:
        store = await Store.open(roles.database_url, pool=1)
        for name, ended in (("old", time.time() - 3_600), ("new", time.time())):
            key = idempotency.Key("", "", "test.shelf.v1.Shelf.Tidy", name)
            await store.commit(
                [
                    idempotency.complete(key, fingerprint="f", now=ended, keep=1_800),
                    operations.succeed(name, key.method, caller=None, reply_type="Reply", reply=b"", now=ended),
                ]
            )
        await store.close()

    asyncio.run(keep())
    assert kept(roles) == (["new", "old"], ["new", "old"])
    server = roles.start("grpc", operations_keep_seconds=1_800)
    until(lambda: kept(roles) == (["new"], ["new"]), server.log)
