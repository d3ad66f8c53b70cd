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
class Job:
    """Work that somebody waits for; `alone` is outside any group and any transaction."""

    work: Work[Any]
    alone: bool
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went."""

    job: Job
    value: object = None
    error: BaseException | None = None


class Writer:
    """A connection that only its thread touches. `batches` counts group commits, `commits` what was in them."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self.batches = 0
        self.commits = 0
        self._connect = connect
        self._posted: list[Job | None] = []
        self._jobs: SimpleQueue[list[Job | None]] = SimpleQueue()
        self._held: deque[Job | None] = deque()
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
        """Like `run`, without waiting. Work is done in the order in which it was posted.

        What one round of the loop posts goes to the thread together: waking it costs more than most commits.
        """
        if self._closed:
            raise StoreUnavailable("The store is closed.")
        loop = asyncio.get_running_loop()
        job = Job(work, alone, loop, loop.create_future())
        if not self._posted:
            loop.call_soon(self._hand_over)
        self._posted.append(job)
        return job.future

    async def close(self) -> None:
        """Do what has been posted, close the connection, end the thread."""
        if not self._closed:
            self._closed = True
            self._posted.append(None)
            self._hand_over()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    def _hand_over(self) -> None:
        if self._posted:
            posted, self._posted = self._posted, []
            self._jobs.put(posted)

    # In the thread.

    def _serve(self) -> None:
        connection: sqlite3.Connection | None = None
        while (jobs := self._next()) is not None:
            try:
                connection = connection or self._ready()
                deliver(_run_alone(connection, jobs[0]) if jobs[0].alone else self._group(connection, jobs))
            except BaseException as error:
                deliver([Outcome(job, error=translated(error)) for job in jobs])
        if connection is not None:
            connection.close()

    def _ready(self) -> sqlite3.Connection:
        connection = self._connect()
        _wait_for(connection, _TURN)  # once: what is said before each group costs as much as what the group does
        return connection

    def _next(self) -> list[Job] | None:
        """One job that wants to be alone, or all that wait and do not; none at the end."""
        jobs: list[Job] = []
        while len(jobs) < _GROUP and self._take(wait=not jobs):
            job = self._held.popleft()
            if jobs and (job is None or job.alone):
                self._held.appendleft(job)
                break
            if job is None:
                return None
            jobs.append(job)
            if job.alone:
                break
        return jobs

    def _take(self, *, wait: bool) -> bool:
        """Whether anything is held."""
        if not self._held:
            try:
                self._held.extend(self._jobs.get(block=wait))
            except Empty:
                return False
        return True

    def _group(self, connection: sqlite3.Connection, jobs: Sequence[Job]) -> list[Outcome]:
        jobs = [job for job in jobs if not job.future.cancelled()]
        if not jobs:
            return []
        outcomes = _run_together(connection, jobs)
        self.batches += 1
        self.commits += sum(outcome.error is None for outcome in outcomes)
        return outcomes


def begin_immediate(connection: sqlite3.Connection) -> None:
    """Begin a transaction that may write, as soon as no other process has one."""
    _wait_for(connection, _TURN)
    try:
        _begin(connection)
    finally:
        _wait_for(connection, PATIENCE)


def _begin(connection: sqlite3.Connection) -> None:
    """Begin on a connection that waits for one turn at a time."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > end:
                raise


def _wait_for(connection: sqlite3.Connection, seconds: float) -> None:
    connection.execute(f"PRAGMA busy_timeout={int(seconds * 1000)}")


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


def _run_alone(connection: sqlite3.Connection, job: Job) -> list[Outcome]:
    return [Outcome(job, job.work(connection))]


def _run_together(connection: sqlite3.Connection, jobs: Sequence[Job]) -> list[Outcome]:
    """Most go well, so at first none has a savepoint: each statement lets go of the interpreter, and then has to wait
    for it. When one fails, all are done again, each in a savepoint of its own.
    """
    _begin(connection)
    try:
        outcomes = [Outcome(job, job.work(connection)) for job in jobs]
        connection.execute("COMMIT")
        return outcomes
    except Exception as error:
        if len(jobs) == 1:
            return [Outcome(jobs[0], error=translated(error))]
    finally:
        roll_back(connection)
    _begin(connection)
    try:
        outcomes = [_run_in_savepoint(connection, job) for job in jobs]
        connection.execute("COMMIT")
        return outcomes
    finally:
        roll_back(connection)


def roll_back(connection: sqlite3.Connection) -> None:
    """What is still open."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _run_in_savepoint(connection: sqlite3.Connection, job: Job) -> Outcome:
    connection.execute("SAVEPOINT one")
    try:
        outcome = Outcome(job, job.work(connection))
    except Exception as error:
        if not connection.in_transaction:  # a full disk and the like end the whole transaction
            raise
        connection.execute("ROLLBACK TO one")
        outcome = Outcome(job, error=translated(error))
    connection.execute("RELEASE one")
    return outcome


def deliver(outcomes: Sequence[Outcome]) -> None:
    """Tell who waits, from a thread: all of a loop at once."""
    for loop in {outcome.job.loop for outcome in outcomes}:
        mine = [outcome for outcome in outcomes if outcome.job.loop is loop]
        try:
            loop.call_soon_threadsafe(_resolve, mine)
        except RuntimeError:
            continue  # the loop is closed: nobody waits any more


def _resolve(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        future = outcome.job.future
        if future.done():  # its waiter was cancelled
            continue
        if outcome.error is not None:
            future.set_exception(outcome.error)
        else:
            future.set_result(outcome.value)
