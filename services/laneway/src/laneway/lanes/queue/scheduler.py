"""Turns the ticks of schedules into messages: part of the relay, so that one replica at a time does it.

A tick's message has an id of its own, made of the method and the tick, and is written in the commit that moves the
schedule: it is there once, whatever is killed, and whoever takes over goes on where the commit before stopped.
"""

import logging
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from opentelemetry.trace import SpanKind

from laneway.contract.model import Method, write_path
from laneway.contract.schedule import Schedule
from laneway.lanes.operation import queued
from laneway.store import DuplicateKey, Store, VersionConflict, outbox, schedules
from laneway.store.outbox import OutboxMessage
from laneway.store.schedules import Ticked
from laneway.telemetry import names
from laneway.telemetry.tracing import Tracing

log = logging.getLogger(__name__)

BATCH = 100
"""Missed ticks of one schedule that are made up for at a time."""


class Scheduler:
    """The schedules of one service's methods."""

    def __init__(
        self, store: Store, methods: Iterable[Method], *, tracing: Tracing, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._tracing = tracing
        self._clock = clock
        self._schedules = [(each, schedule) for each in methods if (schedule := _schedule_of(each)) is not None]
        self._look_at = 0.0

    async def tick(self) -> bool:
        """Write a message for each tick that has come; whether there may be more of them now."""
        now = self._clock()
        if not self._schedules or now < self._look_at:
            return False
        known = await schedules.ticked(self._store, [method.full_name for method, _ in self._schedules])
        more = [
            await self._obey(method, schedule, known.get(method.full_name), now) for method, schedule in self._schedules
        ]
        self._look_at = now if any(more) else self._next(now)
        return any(more)

    async def _obey(self, method: Method, schedule: Schedule, known: Ticked | None, now: float) -> bool:
        if known is None or known.expression != schedule.expression:
            await self._store.commit([schedules.begin(method.full_name, schedule.expression, now)])
            return False
        ticks = schedule.ticks(known.ticked_at, now, BATCH)
        if not ticks:
            return False
        messages = [self._message(method, tick, now) for tick in ticks]
        try:
            await self._store.commit([schedules.advance(known, ticks[-1]), outbox.insert(messages)])
        except (VersionConflict, DuplicateKey):
            return False  # another relay was quicker
        log.info("ticked", extra={"method": method.full_name, "ticks": len(ticks)})
        return len(ticks) == BATCH

    def _message(self, method: Method, tick: float, now: float) -> OutboxMessage:
        id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{method.full_name} {tick:.0f}"))
        request = method.input()
        if method.policy.idempotency is not None and method.policy.idempotency.key is not None:
            write_path(request, method.policy.idempotency.key, id)
        attributes = names.messaging(method.queue_name, id, "send")
        span = self._tracing.start_span(names.publish_span(method.queue_name), SpanKind.PRODUCER, attributes)
        headers = {names.SCHEDULED_AT: f"{tick:.0f}"}
        self._tracing.inject(headers, span)
        span.end()
        return replace(queued(method, request, id, headers, now), due_at=now)

    def _next(self, now: float) -> float:
        coming: Sequence[float] = [tick for _, each in self._schedules if (tick := each.next(now)) is not None]
        return min(coming, default=float("inf"))


def _schedule_of(method: Method) -> Schedule | None:
    return None if method.policy.queue is None else method.policy.queue.schedule
