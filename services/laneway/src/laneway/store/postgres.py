"""PostgreSQL on psycopg: a pool of connections, and each commit one pipeline.

A commit sends BEGIN and all its statements at once, checks the numbers of changed rows when they are back, and then
sends COMMIT: two round trips however much was written. Reads commit themselves.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
import psycopg_pool
from psycopg.pq import TransactionStatus
from sqlalchemy import Executable
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import URL

from laneway.errors import Internal, LanewayError
from laneway.store import location
from laneway.store.compile import Compiler, Prepared, Row
from laneway.store.engine import Dialect, Step
from laneway.store.transaction import (
    ConstraintViolated,
    DuplicateKey,
    StoreUnavailable,
    VersionConflict,
    Write,
    ended,
)

_PATIENCE = 2.0  # seconds to wait for a connection of the pool: less than calls have, so that they end as unavailable
_CONNECT = 5  # seconds to wait for the server at start

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


class PostgresEngine:
    """The engine of one PostgreSQL database."""

    dialect: Dialect = "postgresql"

    def __init__(self, url: URL, *, pool: int) -> None:
        self.compiler = Compiler(PGDialect_psycopg(paramstyle="format", dbapi=psycopg))  # type: ignore[no-untyped-call]
        self._commits = 0
        self._url = url
        self._running: set[asyncio.Task[None]] = set()
        self._pool: psycopg_pool.AsyncConnectionPool[Connection] = psycopg_pool.AsyncConnectionPool(
            location.conninfo(url),
            kwargs={"autocommit": True, "connect_timeout": _CONNECT},
            min_size=1,
            max_size=pool,
            timeout=_PATIENCE,
            name="laneway",
            open=False,
        )

    @classmethod
    async def open(cls, url: URL, *, pool: int) -> Self:
        """Open the pool, when the server answers."""
        try:  # the pool would go on trying where one attempt says what is wrong
            probe = await psycopg.AsyncConnection.connect(location.conninfo(url), connect_timeout=_CONNECT)
            await probe.close()
        except psycopg.OperationalError as error:
            raise location.unreachable(url, error) from None
        engine = cls(url, pool=pool)
        await engine._pool.open(wait=True)
        return engine

    @property
    def batches(self) -> int:
        """Transactions: here each commit is one."""
        return self._commits

    @property
    def commits(self) -> int:
        """Commits that succeeded."""
        return self._commits

    async def commit(self, steps: Sequence[Step]) -> None:
        connection = await self._take()
        try:
            await self._uninterrupted(self._commit(connection, steps))
        except _LostBefore:
            await self._pool.check()  # the server was restarted: let go of every connection that is dead
            await self._uninterrupted(self._commit(await self._take(), steps))
        self._commits += 1

    async def fetch(self, query: Prepared) -> list[Row]:
        try:
            return await self._fetch(query)
        except _LostBefore:
            await self._pool.check()
            return await self._fetch(query)

    async def begin(self) -> "PostgresTransaction":
        try:
            return await self._begin()
        except _LostBefore:
            await self._pool.check()
            return await self._begin()

    async def give_back(self, connection: Connection) -> None:
        """Return a connection, rolling back what is open on it; a broken one is replaced."""
        try:
            if connection.info.transaction_status is not TransactionStatus.IDLE and not connection.closed:
                await connection.rollback()
        except psycopg.Error:
            await connection.close()
        finally:
            await self._pool.putconn(connection)

    async def migrate(self, author: Path | None, service: str) -> None:
        from laneway.store import migrations  # Alembic is slow to import, and most processes need none of it

        url = location.conninfo(self._url)
        await asyncio.to_thread(migrations.migrate, url, author=author, service=service)

    async def close(self) -> None:
        if self._running:
            await asyncio.wait(self._running)
        await self._pool.close()

    async def _take(self) -> Connection:
        try:
            return await self._pool.getconn()
        except psycopg_pool.PoolClosed:
            raise StoreUnavailable("The store is closed.") from None
        except psycopg_pool.PoolTimeout as error:
            raise StoreUnavailable(f"No connection to {location.name(self._url)} within {_PATIENCE:g} s.") from error

    async def _begin(self) -> "PostgresTransaction":
        connection = await self._take()
        try:
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        except BaseException as error:
            lost = _LostBefore if connection.broken else StoreUnavailable
            await self.give_back(connection)
            if isinstance(error, psycopg.Error):
                raise _translated(error, lost=lost) from error
            raise
        return PostgresTransaction(self, connection)

    async def _fetch(self, query: Prepared) -> list[Row]:
        connection = await self._take()
        try:
            cursor = await connection.execute(query.sql, query.parameters[0])
            return query.shape.rows(cursor.description, await cursor.fetchall())
        except psycopg.Error as error:
            raise _translated(error, lost=_LostBefore if connection.broken else StoreUnavailable) from error
        finally:
            await self.give_back(connection)

    async def _commit(self, connection: Connection, steps: Sequence[Step]) -> None:
        lost: type[StoreUnavailable] = _LostBefore
        try:
            async with connection.pipeline() as pipeline:
                await connection.execute("BEGIN")
                sent = [(write, await send(connection, prepared)) for prepared, write in steps]
                await pipeline.sync()
                for write, cursor in sent:
                    write.check(cursor.rowcount)
                lost = StoreUnavailable  # from here on nobody knows whether a lost connection has committed
                await connection.execute("COMMIT")
        except psycopg.Error as error:
            raise _translated(error, lost=lost if connection.broken else StoreUnavailable) from error
        finally:
            await self.give_back(connection)

    async def _uninterrupted(self, commit: Coroutine[Any, Any, None]) -> None:
        """Let a commit end even when its caller is cancelled: a pipeline cut in the middle loses its connection."""
        task = asyncio.create_task(commit)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody waits for it
            raise


class PostgresTransaction:
    """An explicit transaction, on a connection that it has to itself until it ends."""

    def __init__(self, engine: PostgresEngine, connection: Connection) -> None:
        self._engine = engine
        self._connection: Connection | None = connection

    async def fetch(self, query: Executable, values: Mapping[str, object] | None = None) -> list[Row]:
        prepared = self._engine.compiler.prepare(query, [values] if values else ())
        cursor = await self._send(prepared)
        return prepared.shape.rows(cursor.description, await cursor.fetchall())

    async def execute(self, statement: Executable, rows: Sequence[Mapping[str, object]] = ()) -> int:
        return (await self._send(self._engine.compiler.prepare(statement, rows))).rowcount

    async def commit(self, writes: Sequence[Write] = ()) -> None:
        try:
            for write in writes:
                write.check(await self.execute(write.statement, write.rows))
            await self._open.execute("COMMIT")
        except psycopg.Error as error:
            raise _translated(error, lost=StoreUnavailable) from error
        finally:
            await self.rollback()  # does nothing after a COMMIT

    async def rollback(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await asyncio.shield(self._engine.give_back(connection))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.rollback()

    @property
    def _open(self) -> Connection:
        if self._connection is None:
            raise ended()
        return self._connection

    async def _send(self, prepared: Prepared) -> psycopg.AsyncCursor[tuple[Any, ...]]:
        try:
            return await send(self._open, prepared)
        except psycopg.Error as error:
            raise _translated(error, lost=StoreUnavailable) from error


class _LostBefore(StoreUnavailable):
    """The connection was lost before anything could have been committed: trying once more is safe."""


async def send(connection: Connection, statement: Prepared) -> psycopg.AsyncCursor[tuple[Any, ...]]:
    """Send one statement for all its rows; in a pipeline the result comes with the next sync."""
    cursor = connection.cursor()
    if len(statement.parameters) == 1:
        return await cursor.execute(statement.sql, statement.parameters[0])
    await cursor.executemany(statement.sql, statement.parameters)
    return cursor


_CONFLICTS = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)


def _translated(error: psycopg.Error, *, lost: type[StoreUnavailable]) -> LanewayError:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    translation: LanewayError
    if isinstance(error, psycopg.errors.UniqueViolation):
        translation = DuplicateKey(f"A row of this key exists: {text}.")
    elif isinstance(error, _CONFLICTS):
        translation = VersionConflict(f"Another transaction was first: {text}.")
    elif isinstance(error, psycopg.IntegrityError):
        translation = ConstraintViolated(f"The database refused a row: {text}.")
    elif isinstance(error, psycopg.OperationalError):
        translation = lost(f"The database cannot be used now: {text}.")
    else:
        translation = Internal(f"The database refused a statement: {text}.")
    return translation
