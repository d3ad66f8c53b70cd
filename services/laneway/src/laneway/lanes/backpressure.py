"""Refuses new work for a queue whose messages in the outbox are too many or too old, before the disk fills.

Only callers who wait for their answer are refused, and only with what they start for that queue: they can come back
later. What workers start goes through, or work that has begun would pile up behind itself.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from laneway.errors import LanewayError, ResourceExhausted
from laneway.store import Store, outbox
from laneway.store.outbox import OutboxMessage, QueueCounts, name_in_broker

log = logging.getLogger(__name__)

REASON = "OUTBOX_FULL"

RETRY_AFTER = 5.0
"""Seconds after which a refused caller may come back."""

EACH = 1.0
"""Seconds between looks."""

SHARE = 0.05
"""Share of the time that looking may take: a long outbox is looked at less often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long the outbox of each queue may get: in rows, and in seconds that its oldest message waits for a worker."""

    rows: int
    age: float


class Backpressure:
    """What one process knows of its service's outbox."""

    def __init__(self, store: Store, limits: Limits, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._limits = limits
        self._clock = clock
        self._full: dict[tuple[str, str], str] = {}
        self._counts: Sequence[QueueCounts] = ()

    async def keep(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            begin = time.monotonic()
            try:
                await self.look()
            except LanewayError as error:
                log.warning("the outbox is not measured", extra={"cause": error.message})
            await asyncio.sleep(max(EACH, (time.monotonic() - begin) / SHARE))

    async def look(self) -> None:
        """Measure each queue."""
        now = self._clock()
        self._counts = await outbox.counts(self._store, now)
        measured = {(each.service, each.queue): self._why(each, now) for each in self._counts}
        full = {queue: why for queue, why in measured.items() if why}
        for queue in full.keys() ^ self._full.keys():
            log.warning("queue full" if queue in full else "queue takes again", extra={"queue": ".".join(queue)})
        self._full = full

    def messages(self) -> Iterator[tuple[tuple[str, ...], float]]:
        """The messages of each queue and state at the last look. This and the next may be asked from any thread."""
        for each in self._counts:
            for state, number in (("due", each.due), ("waiting", each.waiting), ("parked", each.parked)):
                yield (f"{each.service}.{each.queue}", state), number

    def oldest(self) -> Iterator[tuple[tuple[str, ...], float]]:
        """How long the oldest due message of each queue has waited by now, in seconds."""
        now = self._clock()
        for each in self._counts:
            waited = 0.0 if each.oldest_demand_at is None else now - each.oldest_demand_at
            yield (f"{each.service}.{each.queue}",), max(waited, 0.0)

    def full(self) -> Iterator[tuple[tuple[str, ...], float]]:
        """Whether each queue takes nothing more: 1 or 0."""
        for each in self._counts:
            yield (f"{each.service}.{each.queue}",), float((each.service, each.queue) in self._full)

    def is_full(self, service: str, queue: str) -> bool:
        """Whether nothing more is to be put into a queue."""
        return (service, queue) in self._full

    def check(self, messages: Sequence[OutboxMessage]) -> None:
        """Refuse to write messages of which one is for a queue that is full.

        Raises:
            ResourceExhausted: with when to come back.
        """
        for message in messages:
            why = self._full.get((message.service, message.queue))
            if why is not None:
                queue = name_in_broker(message.service, message.queue)
                raise ResourceExhausted(
                    f"The queue {queue} takes nothing now: {why}. Try again later.",
                    reason=REASON,
                    metadata={"queue": queue},
                    retry_after=RETRY_AFTER,
                )

    def _why(self, counts: QueueCounts, now: float) -> str | None:
        rows = counts.due + counts.waiting + counts.parked
        if rows >= self._limits.rows:
            return f"{rows} messages wait in the outbox"
        if counts.oldest_demand_at is not None and now - counts.oldest_demand_at > self._limits.age:
            return f"its oldest message has waited for {now - counts.oldest_demand_at:.0f} s"
        return None
