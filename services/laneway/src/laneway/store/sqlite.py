"""SQLite on the standard library's driver: one writing thread, a few reading ones, several processes on one file.

WAL lets readers see a snapshot while one connection writes; `synchronous=FULL` makes a commit survive a loss of
power. A database in memory has one connection, the writer's, for everything.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Executable
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import URL

from laneway.errors import ConfigurationError, LanewayError
from laneway.store import location
from laneway.store.compile import Compiler, Prepared, Row
from laneway.store.engine import Step
from laneway.store.transaction import Dialect, StoreUnavailable, Write, ended
from laneway.store.writer import PATIENCE, Job, Outcome, Work, Writer, begin_immediate, deliver, roll_back, translated

_READERS = 4


def connect(file: Path | None) -> sqlite3.Connection:
    """A connection as every part of Laneway uses it: statements commit themselves unless a BEGIN was executed."""
    connection = sqlite3.connect(
        ":memory:" if file is None else file, timeout=PATIENCE, isolation_level=None, check_same_thread=False
    )
    try:
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
    except BaseException:
        connection.close()
        raise
    return connection


class SqliteEngine:
    """The engine of one file, or of one database in memory."""

    dialect: Dialect = "sqlite"

    def __init__(self, url: URL, *, pool: int) -> None:
        self.compiler = Compiler(SQLiteDialect_pysqlite(paramstyle="qmark", dbapi=sqlite3))
        self._url = url
        self._file = location.sqlite_file(url)
        self._writer = Writer(lambda: connect(self._file))
        self._readers = None if self._file is None else _Readers(self._file, min(pool, _READERS))
        self._transactions: list[Writer] = []
        self._idle: list[Writer] = []
        self._unlocked = asyncio.Event()  # no explicit transaction has the only connection
        self._unlocked.set()

    @classmethod
    async def open(cls, url: URL, *, pool: int) -> Self:
        """Open the file, making its folder, or a new database in memory with Laneway's tables."""
        engine = cls(url, pool=pool)
        if engine._file is not None:
            location.make_parent(engine._file)
        try:
            await engine._writer.start()
        except LanewayError as error:
            await engine.close()
            raise ConfigurationError(
                f"{location.name(url)} cannot be opened as a database ({error.__cause__}); correct {location.SETTINGS}."
            ) from error
        if engine._file is None:
            await engine._begin()
        return engine

    @property
    def batches(self) -> int:
        """Group commits: transactions with one fsync each."""
        return self._writer.batches

    @property
    def commits(self) -> int:
        """Commits that were in them."""
        return self._writer.commits

    async def commit(self, steps: Sequence[Step]) -> None:
        await self._turn()
        await self._writer.run(lambda connection: run_steps(connection, steps))

    async def fetch(self, query: Prepared) -> list[Row]:
        if self._readers is not None:
            return await self._readers.run(lambda connection: read(connection, query))
        await self._turn()
        return await self._writer.run(lambda connection: read(connection, query), alone=True)

    async def begin(self) -> "SqliteTransaction":
        if self._file is None:
            await self._turn()
            self._unlocked.clear()
            writer = self._writer
        elif self._idle:
            writer = self._idle.pop()
        else:
            writer = Writer(lambda: connect(self._file))
            self._transactions.append(writer)
            await writer.start()
        try:
            await writer.run(begin_immediate, alone=True)
        except BaseException:
            self.release(writer)
            raise
        return SqliteTransaction(self, writer)

    def release(self, writer: Writer) -> None:
        """Take back the connection of an explicit transaction; what is still open on it is rolled back first."""
        _forget(writer.post(roll_back, alone=True))
        if writer is self._writer:
            self._unlocked.set()
        else:
            self._idle.append(writer)

    async def _begin(self) -> None:
        from laneway.store import migrations  # Alembic is slow to import, and most processes need none of it

        await self._writer.run(migrations.begin, alone=True)

    async def migrate(self, author: Path | None, service: str) -> None:
        from laneway.store import migrations  # Alembic is slow to import, and most processes need none of it

        if self._file is not None:
            await asyncio.to_thread(migrations.migrate, str(self._url), author=author, service=service)
        else:
            await self._writer.run(
                lambda connection: migrations.upgrade(connection, author=author, service=service), alone=True
            )

    async def close(self) -> None:
        for writer in (*self._transactions, self._writer):
            await writer.close()
        if self._readers is not None:
            await self._readers.close()

    async def _turn(self) -> None:
        """Wait for the end of the explicit transaction that has the only connection, as long as for a lock."""
        if self._unlocked.is_set():
            return
        try:
            async with asyncio.timeout(PATIENCE):
                while not self._unlocked.is_set():
                    await self._unlocked.wait()
        except TimeoutError:
            raise StoreUnavailable("The database in memory is locked by an explicit transaction.") from None


class SqliteTransaction:
    """An explicit transaction, on a thread and a connection of its own (in memory: on the only one)."""

    dialect: Dialect = "sqlite"

    def __init__(self, engine: SqliteEngine, writer: Writer) -> None:
        self._engine = engine
        self._writer: Writer | None = writer

    async def fetch(self, query: Executable, values: Mapping[str, object] | None = None) -> list[Row]:
        prepared = self._engine.compiler.prepare(query, [values] if values else ())
        return await self._open.run(lambda connection: read(connection, prepared), alone=True)

    async def execute(self, statement: Executable, rows: Sequence[Mapping[str, object]] = ()) -> int:
        prepared = self._engine.compiler.prepare(statement, rows)
        return await self._open.run(lambda connection: execute(connection, prepared), alone=True)

    async def commit(self, writes: Sequence[Write] = ()) -> None:
        prepare = self._engine.compiler.prepare
        steps = [(prepare(write.statement, write.rows), write) for write in writes]
        await self._end(lambda connection: _finish(connection, steps))

    async def rollback(self) -> None:
        if self._writer is not None:
            await self._end(roll_back)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.rollback()

    @property
    def _open(self) -> Writer:
        if self._writer is None:
            raise ended()
        return self._writer

    async def _end(self, work: Work[None]) -> None:
        writer, self._writer = self._open, None
        last = writer.post(work, alone=True)
        self._engine.release(writer)  # in the writer's queue this comes after the work
        await last


class _Readers:
    """Threads with a connection each, opened when first used.

    What one round of the loop reads goes to one thread together: waking it costs more than most reads.
    """

    def __init__(self, file: Path, count: int) -> None:
        self._file = file
        self._own = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="laneway-sqlite-reader")
        self._asked: list[Job] = []
        self._closed = False

    async def run(self, work: Work[list[Row]]) -> list[Row]:
        if self._closed:
            raise StoreUnavailable("The store is closed.")
        loop = asyncio.get_running_loop()
        job = Job(work, True, loop, loop.create_future())
        if not self._asked:
            loop.call_soon(self._hand_over)
        self._asked.append(job)
        rows: list[Row] = await job.future
        return rows

    async def close(self) -> None:
        self._closed = True
        self._hand_over()
        await asyncio.to_thread(self._threads.shutdown)
        for connection in self._connections:
            connection.close()

    def _hand_over(self) -> None:
        if self._asked:
            asked, self._asked = self._asked, []
            self._threads.submit(self._serve, asked)

    def _serve(self, jobs: Sequence[Job]) -> None:
        deliver([self._read(job) for job in jobs if not job.future.cancelled()])

    def _read(self, job: Job) -> Outcome:
        try:
            if not hasattr(self._own, "connection"):
                self._own.connection = connect(self._file)
                self._own.connection.execute("PRAGMA query_only=ON")
                self._connections.append(self._own.connection)
            return Outcome(job, job.work(self._own.connection))
        except Exception as error:
            return Outcome(job, error=translated(error))


def read(connection: sqlite3.Connection, query: Prepared) -> list[Row]:
    """The rows of one statement."""
    cursor = connection.execute(query.sql, query.parameters[0])
    return query.shape.rows(cursor.description, cursor.fetchall())


def execute(connection: sqlite3.Connection, statement: Prepared) -> int:
    """Run one statement for all its rows; how many rows it changed."""
    if len(statement.parameters) == 1:
        return connection.execute(statement.sql, statement.parameters[0]).rowcount
    return connection.executemany(statement.sql, statement.parameters).rowcount


def run_steps(connection: sqlite3.Connection, steps: Sequence[Step]) -> None:
    """Run the steps of a commit and check what each expects."""
    for prepared, write in steps:
        write.check(execute(connection, prepared))


def _finish(connection: sqlite3.Connection, steps: Sequence[Step]) -> None:
    run_steps(connection, steps)
    connection.execute("COMMIT")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch the file to WAL: that needs it alone for a moment, for which SQLite's busy handler does not wait."""
    end = time.monotonic() + PATIENCE
    while connection.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def _forget(future: "asyncio.Future[None]") -> None:
    """Nobody waits for this; a failure shows in the next use of the connection."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
