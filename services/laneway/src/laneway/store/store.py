"""The store of a service: picks the engine by URL and compiles statements for it.

Must not know tables: what is written and read comes from the modules beside it and from authors.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from sqlalchemy import Executable

from laneway.store import location
from laneway.store.compile import Row
from laneway.store.engine import Engine
from laneway.store.transaction import Dialect, Transaction, Write


class Store:
    """One per process and service; belongs to the event loop that opened it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    async def open(cls, url: str, *, pool: int) -> Self:
        """Connect to the database at `url`.

        A database in memory (`sqlite://`) is new each time and gets Laneway's tables at once; others must have been
        migrated (`laneway.store.migrations.check` says whether they are).

        Args:
            pool: connections that may be used at once.

        Raises:
            ConfigurationError: the URL is not one of a database we know, or nothing answers there.
        """
        place = location.parsed(url)
        # An engine's driver is imported only where it is used.
        if place.get_backend_name() == "sqlite":
            from laneway.store.sqlite import SqliteEngine

            return cls(await SqliteEngine.open(place, pool=pool))
        from laneway.store.postgres import PostgresEngine

        return cls(await PostgresEngine.open(place, pool=pool))

    @property
    def dialect(self) -> Dialect:
        """Which SQL the database speaks."""
        return self.engine.dialect

    async def commit(self, writes: Sequence[Write]) -> None:
        """Run all writes in one transaction, or none.

        A caller that is cancelled meanwhile does not know whether they were committed.

        Raises:
            VersionConflict, DuplicateKey: what a write expected was not so, or a unique key exists.
            StoreUnavailable: the database did not answer.
        """
        if writes:
            prepare = self.engine.compiler.prepare
            await self.engine.commit([(prepare(write.statement, write.rows), write) for write in writes])

    async def fetch(self, query: Executable, values: Mapping[str, object] | None = None) -> list[Row]:
        """The rows of a select, read outside any transaction.

        Args:
            values: values of the query's named parameters.
        """
        return await self.engine.fetch(self.engine.compiler.prepare(query, [values] if values else ()))

    async def begin(self) -> Transaction:
        """Open an explicit transaction: `async with await store.begin() as transaction:`."""
        return await self.engine.begin()

    async def migrate(self, author: Path | None = None, service: str = "") -> None:
        """Bring Laneway's tables, and the author's, to their newest revision; for tests and databases in memory."""
        await self.engine.migrate(author, service)

    async def close(self) -> None:
        """Finish what has begun, then end the engine's threads and connections."""
        await asyncio.shield(self.engine.close())
