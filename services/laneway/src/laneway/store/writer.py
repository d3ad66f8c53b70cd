"""One thread with one SQLite connection, and group commit on it.

All commits that wait are run in one transaction, each in a savepoint of its own, and share one fsync: SQLite has one
writer anyway. Several processes may write to the file, so the thread waits for its turn with a patience of ten
seconds. Must not know what a commit holds: a piece of work is a function of the connection.
"""

import asyncio
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from laneway.errors import Internal, LanewayError
from laneway.store.transaction import ConstraintViolated, DuplicateKey, StoreUnavailable

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

PATIENCE = 10.0
"""Seconds for which a process waits for the others' locks."""

_TURN = 0.005  # SQLite's own busy handler sleeps up to 0.1 s between looks; short turns are fairer between processes
_GROUP = 256
_UNIQUE = {"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_ROWID"}


@dataclass(frozen=True, slots=True)
class _Job:
    work: Work[Any]
    alone: bool
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Outcome:
    job: _Job
    value: object = None
    error: BaseException | None = None


class Writer:
    """A connection that only its thread touches. `batches` counts group commits, `commits` what was in them."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self.batches = 0
        self.commits = 0
        self._connect = connect
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._held: deque[_Job | None] = deque()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="laneway-sqlite", daemon=True)

    async def start(self) -> None:
        """Open the connection in the thread."""
        self._thread.start()
        await self.run(lambda _: None, alone=True)

    async def run(self, work: Work[T], *, alone: bool = False) -> T:
        """The result of `work`, durable when this returns.

        Args:
            alone: outside any group and any transaction: a read in memory, or a part of an explicit transaction.
        """
        result: T = await self.post(work, alone=alone)
        return result

    def post(self, work: Work[Any], *, alone: bool) -> asyncio.Future[Any]:
        """Like `run`, without waiting. Work is done in the order in which it was posted."""
        if self._closed:
            raise StoreUnavailable("The store is closed.")
        loop = asyncio.get_running_loop()
        job = _Job(work, alone, loop, loop.create_future())
        self._jobs.put(job)
        return job.future

    async def close(self) -> None:
        """Do what has been posted, close the connection, end the thread."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    # In the thread.

    def _serve(self) -> None:
        connection: sqlite3.Connection | None = None
        while (jobs := self._next()) is not None:
            try:
                connection = connection or self._connect()
                _deliver(_run_alone(connection, jobs[0]) if jobs[0].alone else self._group(connection, jobs))
            except BaseException as error:
                _deliver([_Outcome(job, error=translated(error)) for job in jobs])
        if connection is not None:
            connection.close()

    def _next(self) -> list[_Job] | None:
        """One job that wants to be alone, or all that wait and do not; none at the end."""
        jobs: list[_Job] = []
        while len(jobs) < _GROUP:
            try:
                job = self._held.popleft() if self._held else self._jobs.get(block=not jobs)
            except Empty:
                break
            if jobs and (job is None or job.alone):
                self._held.append(job)
                break
            if job is None:
                return None
            jobs.append(job)
            if job.alone:
                break
        return jobs

    def _group(self, connection: sqlite3.Connection, jobs: Sequence[_Job]) -> list[_Outcome]:
        jobs = [job for job in jobs if not job.future.cancelled()]
        if not jobs:
            return []
        begin_immediate(connection)
        try:
            outcomes = [_run_in_savepoint(connection, job) for job in jobs]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self.batches += 1
        self.commits += sum(outcome.error is None for outcome in outcomes)
        return outcomes


def begin_immediate(connection: sqlite3.Connection) -> None:
    """Begin a transaction that may write, as soon as no other process has one."""
    end = time.monotonic() + PATIENCE
    connection.execute(f"PRAGMA busy_timeout={int(_TURN * 1000)}")
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > end:
                    raise
    finally:
        connection.execute(f"PRAGMA busy_timeout={int(PATIENCE * 1000)}")


def translated(error: BaseException) -> BaseException:
    """The store's error for one of the driver; others as they are."""
    if not isinstance(error, sqlite3.Error):
        return error
    code = getattr(error, "sqlite_errorname", "") or ""
    translation: LanewayError
    if code in _UNIQUE:
        translation = DuplicateKey(f"A row of this key exists: {error}.")
    elif code.startswith("SQLITE_CONSTRAINT"):
        translation = ConstraintViolated(f"The database refused a row: {error}.")
    elif _is_busy(error) or code.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY")):
        translation = StoreUnavailable(f"The database file cannot be used now: {error}.")
    else:
        translation = Internal(f"The database refused a statement: {error}.")
    translation.__cause__ = error
    return translation


def _is_busy(error: sqlite3.Error) -> bool:
    return (getattr(error, "sqlite_errorname", "") or "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _run_alone(connection: sqlite3.Connection, job: _Job) -> list[_Outcome]:
    return [_Outcome(job, job.work(connection))]


def _run_in_savepoint(connection: sqlite3.Connection, job: _Job) -> _Outcome:
    connection.execute("SAVEPOINT one")
    try:
        outcome = _Outcome(job, job.work(connection))
    except Exception as error:
        if not connection.in_transaction:  # a full disk and the like end the whole transaction
            raise
        connection.execute("ROLLBACK TO one")
        outcome = _Outcome(job, error=translated(error))
    connection.execute("RELEASE one")
    return outcome


def _deliver(outcomes: Sequence[_Outcome]) -> None:
    for loop in {outcome.job.loop for outcome in outcomes}:
        mine = [outcome for outcome in outcomes if outcome.job.loop is loop]
        try:
            loop.call_soon_threadsafe(_resolve, mine)
        except RuntimeError:
            continue  # the loop is closed: nobody waits any more


def _resolve(outcomes: Sequence[_Outcome]) -> None:
    for outcome in outcomes:
        future = outcome.job.future
        if future.done():  # its waiter was cancelled
            continue
        if outcome.error is not None:
            future.set_exception(outcome.error)
        else:
            future.set_result(outcome.value)
