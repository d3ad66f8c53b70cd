"""PostgreSQL on psycopg: a pool of connections, and each commit one pipeline.

A commit sends BEGIN, all its statements and COMMIT at once: PostgreSQL itself checks the numbers of changed rows
(`expectations.py`), so that no transaction waits for this side, however busy its event loop is. Only where it cannot,
or where the connection may be dead, the numbers are checked here, and COMMIT is a second round trip. Commits that wait
at the same time share one transaction; when any of them fails, or waits for a lock, nothing was done and each runs
alone. Reads commit themselves.
"""

import asyncio
import select
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
import psycopg_pool
from psycopg.pq import TransactionStatus
from sqlalchemy import Executable
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import URL

from laneway.errors import Internal, InvalidArgument, LanewayError
from laneway.store import expectations, location
from laneway.store.compile import Compiler, Prepared, Row
from laneway.store.engine import Step
from laneway.store.groups import Groups
from laneway.store.transaction import (
    ConstraintViolated,
    Dialect,
    DuplicateKey,
    StoreUnavailable,
    VersionConflict,
    Write,
    ended,
)

_PATIENCE = 2.0  # seconds to wait for a connection of the pool: less than calls have, so that they end as unavailable
_CONNECT = 5  # seconds to wait for the server at start
_IDLE = "10s"  # that a transaction may say nothing: longer than a call lasts, and its locks are in the way of others
_GROUPS = 2  # transactions of several commits at once: while one waits for the disk, another is sent
_NO_QUEUE = "SET LOCAL lock_timeout = '50ms'"  # in a group: who waits for a lock must not hold up the others

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


class PostgresEngine:
    """The engine of one PostgreSQL database."""

    dialect: Dialect = "postgresql"

    def __init__(self, url: URL, *, pool: int) -> None:
        self.compiler = Compiler(PGDialect_psycopg(paramstyle="format", dbapi=psycopg))  # type: ignore[no-untyped-call]
        self._commits = 0
        self._batches = 0
        self._url = url
        self._groups = Groups(self._commit_alone, self._commit_together, at_once=min(_GROUPS, pool))
        self._pool: psycopg_pool.AsyncConnectionPool[Connection] = psycopg_pool.AsyncConnectionPool(
            location.conninfo(url),
            kwargs={"autocommit": True, "connect_timeout": _CONNECT},
            min_size=1,
            max_size=pool,
            timeout=_PATIENCE,
            name="laneway",
            configure=_configure,
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
        """Transactions that succeeded, of one commit or a group."""
        return self._batches

    @property
    def commits(self) -> int:
        """Commits that succeeded."""
        return self._commits

    async def commit(self, steps: Sequence[Step]) -> None:
        await self._groups.commit(steps)

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
        await self._groups.close()
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

    async def _commit_alone(self, steps: Sequence[Step]) -> None:
        try:
            await self._commit_one(await self._take(), steps)
        except _LostBefore:
            await self._pool.check()  # the server was restarted: let go of every connection that is dead
            await self._commit(await self._take(), steps)
        self._counted(1)

    async def _commit_one(self, connection: Connection, steps: Sequence[Step]) -> None:
        """A row that is inserted or not needs no transaction around it."""
        if not _is_one_row(steps) or _has_spoken(connection):
            return await self._commit(connection, steps)
        [(prepared, write)] = steps
        try:
            write.check((await send(connection, prepared)).rowcount)
        except psycopg.Error as error:
            raise _translated(error, lost=_CommitUnknown) from error
        finally:
            await self.give_back(connection)

    async def _commit_together(self, group: Sequence[Sequence[Step]]) -> bool:
        merged = list(_merged(group))
        try:
            await self._commit(await self._take(), merged, begin=("BEGIN", _NO_QUEUE))
        except _CommitUnknown:
            raise
        except LanewayError:
            return False
        self._counted(len(group))
        return True

    def _counted(self, commits: int) -> None:
        self._batches += 1
        self._commits += commits

    async def _commit(self, connection: Connection, steps: Sequence[Step], begin: Sequence[str] = ("BEGIN",)) -> None:
        """In one round trip, if that may be.

        Not if the server has said something on the idle connection: that may be its last word, and with a COMMIT of
        its own it is known what was lost.
        """
        checked = [expectations.checked(step, number) for number, step in enumerate(steps)]
        whole = [prepared for prepared in checked if prepared is not None]
        if len(whole) < len(steps) or _has_spoken(connection):
            await self._commit_looking_on(connection, steps, begin)
        else:
            await self._commit_at_once(connection, steps, whole, begin)

    async def _commit_at_once(
        self, connection: Connection, steps: Sequence[Step], checked: Sequence[Prepared], begin: Sequence[str]
    ) -> None:
        try:
            async with connection.pipeline() as pipeline:
                try:
                    for statement in begin:
                        await connection.execute(statement)
                    for prepared in checked:
                        await send(connection, prepared)
                    await connection.execute("COMMIT")
                except psycopg.Error:
                    with suppress(psycopg.Error):  # of each that was sent behind the one that failed, and not run
                        await pipeline.sync()
                    raise
        except psycopg.Error as error:
            if (missed := expectations.missed(error)) is not None:
                number, changed = missed
                prepared, write = steps[number]
                write.check(len(prepared.parameters) - 1 + changed)
            raise _translated(error, lost=_CommitUnknown if connection.broken else StoreUnavailable) from error
        finally:
            await self.give_back(connection)

    async def _commit_looking_on(self, connection: Connection, steps: Sequence[Step], begin: Sequence[str]) -> None:
        lost: type[StoreUnavailable] = _LostBefore
        try:
            async with connection.pipeline() as pipeline:
                for statement in begin:
                    await connection.execute(statement)
                sent = [(write, await send(connection, prepared)) for prepared, write in steps]
                await pipeline.sync()
                for write, cursor in sent:
                    write.check(cursor.rowcount)
                lost = _CommitUnknown
                await connection.execute("COMMIT")
        except psycopg.Error as error:
            raise _translated(error, lost=lost if connection.broken else StoreUnavailable) from error
        finally:
            await self.give_back(connection)


class PostgresTransaction:
    """An explicit transaction, on a connection that it has to itself until it ends."""

    dialect: Dialect = "postgresql"

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


class _CommitUnknown(StoreUnavailable):
    """The connection was lost while it committed: nobody knows whether it has."""


async def _configure(connection: Connection) -> None:
    """A process that stops in mid-transaction, and is not dead, must not hold its locks for ever."""
    await connection.execute(f"SET idle_in_transaction_session_timeout = '{_IDLE}'")


def _merged(group: Sequence[Sequence[Step]]) -> Iterator[Step]:
    """The steps of several commits as fewer: inserts by one statement, at the same turn, are one.

    Each commit's own steps keep their order. A row of an insert changes one row or none, so that all have their
    expected number if the sum has; when it is missed, nothing was done, and each commit finds out alone.
    """
    for turn in range(max(map(len, group))):
        inserts: dict[tuple[str, bool], list[Step]] = {}
        for prepared, write in (steps[turn] for steps in group if turn < len(steps)):
            if expectations.one_row_each((prepared, write)):
                inserts.setdefault((prepared.sql, write.expect is None), []).append((prepared, write))
            else:
                yield prepared, write
        for (sql, free), found in inserts.items():
            rows = [row for prepared, _ in found for row in prepared.parameters]
            prepared, write = found[0]
            yield Prepared(sql, rows, prepared.shape), Write(write.statement, (), None if free else len(rows))


def _has_spoken(connection: Connection) -> bool:
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _is_one_row(steps: Sequence[Step]) -> bool:
    return len(steps) == 1 and len(steps[0][0].parameters) == 1 and expectations.one_row_each(steps[0])


async def send(connection: Connection, statement: Prepared) -> psycopg.AsyncCursor[tuple[Any, ...]]:
    """Send one statement for all its rows; in a pipeline the result comes with the next sync."""
    cursor = connection.cursor()
    if len(statement.parameters) == 1:
        return await cursor.execute(statement.sql, statement.parameters[0])
    await cursor.executemany(statement.sql, statement.parameters)
    return cursor


_CONFLICTS = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)
_UNUSABLE = (psycopg.OperationalError, psycopg.errors.IdleInTransactionSessionTimeout)


def _translated(error: psycopg.Error, *, lost: type[StoreUnavailable]) -> LanewayError:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    translation: LanewayError
    if isinstance(error, psycopg.errors.UniqueViolation):
        translation = DuplicateKey(f"A row of this key exists: {text}.")
    elif isinstance(error, _CONFLICTS):
        translation = VersionConflict(f"Another transaction was first: {text}.")
    elif isinstance(error, psycopg.DataError):  # the caller's value: as an error of ours it would open breakers
        cause = type(error).__name__  # its text may have the value
        translation = InvalidArgument(f"The database cannot keep a value ({cause}).", reason="VALUE_NOT_STORABLE")
    elif isinstance(error, psycopg.IntegrityError):
        translation = ConstraintViolated(f"The database refused a row: {text}.")
    elif isinstance(error, _UNUSABLE):
        translation = lost(f"The database cannot be used now: {text}.")
    else:
        translation = Internal(f"The database refused a statement: {text}.")
    return translation
