"""Deletes what nobody asks for any more, of each a little at a time, by one process of a service at a time."""

import asyncio
import logging
import time
from collections.abc import Callable

from laneway.errors import LanewayError
from laneway.lanes.forgetting import Forgetting
from laneway.lanes.withdrawing import Withdrawing
from laneway.store import Store, idempotency, leases, operations

log = logging.getLogger(__name__)

EVERY = 60.0
"""Seconds between sweeps."""

BATCH = 500
"""Rows of one transaction: it must stay short."""


class Retention:
    """The sweeper of one service's database."""

    def __init__(
        self,
        store: Store,
        *,
        holder: str,
        keep_operations: float,
        inbox: Forgetting | None = None,
        outbox: Withdrawing | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`keep_operations` is for how many seconds an operation stays after its end; `inbox` and `outbox` look
        after those."""
        self._store = store
        self._holder = holder
        self._keep_operations = keep_operations
        self._inbox = inbox
        self._outbox = outbox
        self._clock = clock

    async def run(self) -> None:
        """Sweep again and again, until cancelled."""
        while True:
            try:
                if await self._mine():
                    await self.sweep()
            except LanewayError as error:
                log.warning("the sweeper waits", extra={"cause": str(error)})
            await asyncio.sleep(EVERY)

    async def sweep(self) -> None:
        """Delete what has expired by now."""
        now = self._clock()
        while (until := await idempotency.expired(self._store, now, BATCH)) is not None:
            await self._store.commit([idempotency.sweep(until)])
        ended = now - self._keep_operations
        while (until := await operations.over(self._store, ended, BATCH)) is not None:
            await self._store.commit([operations.sweep(until)])
        if self._inbox is not None:
            await self._inbox.sweep()
        if self._outbox is not None:
            await self._outbox.sweep()

    async def _mine(self) -> bool:
        now = self._clock()
        return await leases.acquire(self._store, "retention", self._holder, now=now, until=now + 2 * EVERY)
