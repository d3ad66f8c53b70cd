"""Watches the calls that run in a worker: keeps what they say of their progress, and cancels those nobody wants.

Cancelling is a row that anybody with the right may write, in whatever process; whoever runs the call looks for it.
Must not know Celery.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from laneway.contract.model import Method
from laneway.errors import Cancelled, LanewayError
from laneway.lanes.operation import caller_told, cancelled
from laneway.lanes.queue.envelope import Delivery
from laneway.store import Store, operations
from laneway.store.operations import Caller
from laneway.v1 import system_pb2

log = logging.getLogger(__name__)

EVERY = 0.5
"""Seconds between looks, while anything runs: a call that is cancelled hears of it within this."""


class Unwanted(Exception):
    """The call that ran was cancelled by its caller. `error` is what its operation ends with."""

    def __init__(self, error: Cancelled) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass(eq=False, slots=True)
class Run:
    """A queued call that runs here."""

    delivery: Delivery
    caller: Caller | None
    scope: asyncio.Timeout
    progress: system_pb2.Progress | None = None
    """What it has said since the last look."""
    unwanted: bool = False

    def report(self, progress: system_pb2.Progress) -> None:
        """Take what the handler says."""
        self.progress = progress

    def cancel(self) -> None:
        """Cancel what runs in the scope, and nothing around it: how it ended is reported still."""
        if not self.unwanted:
            self.unwanted = True
            self.scope.reschedule(asyncio.get_running_loop().time())


class Watch:
    """The queued calls of one worker process."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._runs: set[Run] = set()

    @asynccontextmanager
    async def over(self, method: Method, delivery: Delivery) -> AsyncIterator[Run]:
        """Watch what runs inside.

        Raises:
            Unwanted: it was cancelled.
        """
        run = Run(delivery, caller_told(delivery.headers), asyncio.timeout(None))
        try:
            async with run.scope:
                if method.policy.queue is not None:
                    self._runs.add(run)
                yield run
        except (TimeoutError, LanewayError):  # the latter of a handler that makes an error of its cancellation
            if not run.scope.expired():
                raise
            raise Unwanted(cancelled(method.full_name)) from None
        finally:
            self._runs.discard(run)

    async def keep(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.look()
            except LanewayError as error:
                log.warning("running calls are not watched", extra={"cause": error.message})

    async def look(self) -> None:
        """Cancel what is not wanted any more, then write down what was said."""
        if not self._runs:
            return
        ids = sorted({run.delivery.id for run in self._runs})
        unwanted = await operations.unwanted(self._store, ids)
        for run in self._runs:
            if run.caller is not None and unwanted.get(run.delivery.id) == run.caller:
                log.info("cancelling", extra={"method": run.delivery.method, "id": run.delivery.id})
                run.cancel()
        await self._keep_progress()

    async def _keep_progress(self) -> None:
        writes, now = [], self._clock()
        for run in self._runs:
            if run.progress is None or run.unwanted:
                continue
            said, run.progress, id = run.progress.SerializeToString(), None, run.delivery.id
            writes.append(operations.create(id, run.delivery.method, now=now, caller=run.caller))
            writes.append(operations.report(id, said, now=now))
        if writes:
            await self._store.commit(writes)
