"""Commits that wait at the same time go together: one transaction, one round to the disk.

A commit that finds nothing under way goes at once, alone. What arrives meanwhile waits for the next turn and shares
it, so that a group is as large as the database is slow. Must not know a database: what runs a group is given.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from laneway.store.engine import Step
from laneway.store.transaction import StoreUnavailable

AT_MOST = 64
"""Commits of one group."""

PATIENCE = 0.05
"""Seconds for which the next group waits for a commit that runs alone: it may be waiting for somebody's lock."""

Steps = Sequence[Step]
RunAlone = Callable[[Steps], Awaitable[None]]
RunTogether = Callable[[Sequence[Steps]], Awaitable[bool]]
"""Runs a group, all or nothing; false when nothing was done and each is to run alone."""


@dataclass(frozen=True, slots=True)
class _Job:
    steps: Steps
    future: asyncio.Future[None]


class Groups:
    """The commits of one engine, by one event loop."""

    def __init__(self, alone: RunAlone, together: RunTogether, *, at_once: int) -> None:
        """`at_once` groups may be under way: while one waits for the disk, the next is sent."""
        self._alone = alone
        self._together = together
        self._at_once = at_once
        self._waiting: deque[_Job] = deque()
        self._turns = 0
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False

    async def commit(self, steps: Steps) -> None:
        """Returns when the steps are committed; a caller that is cancelled meanwhile does not know whether they are."""
        if self._closed:
            raise StoreUnavailable("The store is closed.")
        job = _Job(steps, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        if self._turns < self._at_once:
            self._turns += 1
            self._own(asyncio.create_task(self._drain()))
        await job.future

    async def close(self) -> None:
        """Finish what has begun or waits."""
        self._closed = True
        while self._running:
            await asyncio.wait(self._running)

    def _own(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _drain(self) -> None:
        try:
            while self._waiting:
                jobs = [self._waiting.popleft() for _ in range(min(AT_MOST, len(self._waiting)))]
                jobs = [job for job in jobs if not job.future.done()]  # its caller was cancelled before it began
                if not jobs or (len(jobs) > 1 and await self._grouped(jobs)):
                    continue
                await asyncio.wait(
                    [self._own(asyncio.create_task(self._run_alone(job))) for job in jobs], timeout=PATIENCE
                )
        finally:
            self._turns -= 1

    async def _grouped(self, jobs: Sequence[_Job]) -> bool:
        """Whether the jobs have their outcomes."""
        try:
            done = await self._together([job.steps for job in jobs])
        except Exception as error:  # nobody knows what became of them
            for job in jobs:
                _fail(job, error)
            return True
        for job in jobs if done else ():
            if not job.future.done():
                job.future.set_result(None)
        return done

    async def _run_alone(self, job: _Job) -> None:
        try:
            await self._alone(job.steps)
        except Exception as error:
            _fail(job, error)
        else:
            if not job.future.done():
                job.future.set_result(None)


def _fail(job: _Job, error: Exception) -> None:
    if not job.future.done():
        job.future.set_exception(error)
