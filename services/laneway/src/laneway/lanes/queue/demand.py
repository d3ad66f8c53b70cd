"""Tells who scales workers what a service has for each queue that is not with the broker, and what is parked."""

import asyncio
import time
from collections.abc import Callable, Iterable

from laneway.lanes.queue.broker import Broker
from laneway.scaling.wire import Demand
from laneway.store import Store, outbox
from laneway.store.outbox import QueueCounts, name_in_broker

EACH = 1.0
"""Seconds between two reports."""

SHARE = 0.05
"""Share of the time that counting may take: a backlog of millions is told of less often."""

REFUSED_AGAIN = 0.25
"""Seconds until a message is tried again that the window refused: it is demand meanwhile."""


class DemandTeller:
    """Of one relay. Goes on speaking of every queue that it has spoken of, so that silence means that it is away."""

    def __init__(
        self, store: Store, broker: Broker, *, service: str, queues: Iterable[str], clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._broker = broker
        self._service = service
        self._queues = set(queues)
        self._clock = clock

    async def keep_telling(self) -> None:
        """Tell until cancelled."""
        while True:
            begin = time.monotonic()
            await self.tell()
            await asyncio.sleep(max(EACH, (time.monotonic() - begin) / SHARE))

    async def tell(self) -> None:
        """Count, and say what was counted."""
        now = self._clock()
        counted = {_name(each): _demand(each, now) for each in await outbox.counts(self._store, now + REFUSED_AGAIN)}
        self._queues |= counted.keys()
        await self._broker.tell(self._service, {name: counted.get(name) or Demand(at=now) for name in self._queues})


def _name(counts: QueueCounts) -> str:
    return name_in_broker(counts.service, counts.queue)


def _demand(counts: QueueCounts, now: float) -> Demand:
    return Demand(
        at=now,
        due=counts.due,
        oldest_at=counts.oldest_demand_at,
        parked=counts.parked,
        oldest_parked_at=counts.oldest_parked_at,
    )
