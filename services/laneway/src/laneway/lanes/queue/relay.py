"""The relay: keeps the promise that a committed row is delivered.

One leased task per service, in its servers and not in its workers, because it must ring when there are none. Each
round it turns new events into rows for their subscribers, settles what workers report, and publishes what is due and
unconfirmed. It may be killed anywhere: every step is a row's compare-and-set or a copy that the inbox drops.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from opentelemetry.trace import Span, SpanKind

from laneway.contract.model import Method, read_path
from laneway.domain.upcasting import Upcasters, version_of
from laneway.errors import LanewayError
from laneway.lanes.backpressure import Backpressure
from laneway.lanes.operation import PUBLISH_GRACE
from laneway.lanes.queue.broker import Broker, Outcome, Published, Report
from laneway.lanes.queue.demand import REFUSED_AGAIN, DemandTeller
from laneway.lanes.queue.envelope import queue_of
from laneway.lanes.queue.outages import Outages
from laneway.lanes.queue.scheduler import Scheduler
from laneway.store import Store, VersionConflict, Write, events, leases, outbox, subscriptions, turns
from laneway.store.events import Event
from laneway.store.outbox import OutboxMessage, name_in_broker
from laneway.store.subscriptions import Subscription
from laneway.telemetry import names
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing, mark

log = logging.getLogger(__name__)

LEASE = 5.0
"""Seconds after which another relay takes over from one that died."""

ROUND = 1.0
"""Seconds between rounds when nothing wakes the relay."""

BATCH = 256

MEND = 30.0
"""Seconds between looks for keys that nobody has passed the turn of on."""


class Relay:
    """The relay of one service's database."""

    def __init__(
        self,
        store: Store,
        broker: Broker,
        *,
        service: str,
        holder: str,
        tracing: Tracing,
        metrics: Metrics,
        queues: Iterable[str] = (),
        upcasters: Upcasters | None = None,
        methods: Iterable[Method] = (),
        pressure: Backpressure | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`queues` are the service's own, of which the relay always speaks; of others it does when it has something.

        Those of its `methods` that have a schedule are started by it. Events for a queue that is full by `pressure`
        stay in the log until it takes again.
        """
        self._store = store
        self._broker = broker
        self._service = service
        self._holder = holder
        self._tracing = tracing
        self._metrics = metrics
        self._clock = clock
        self._upcasters = upcasters or Upcasters()
        self._outages = Outages(log)
        self._scheduler = Scheduler(store, methods, tracing=tracing, clock=clock)
        self._mend_at = 0.0
        self._pressure = pressure
        self._demand = DemandTeller(store, broker, service=service, queues=queues, clock=clock)

    async def run(self) -> None:
        """Hold the lease and go round until cancelled; then give the lease back."""
        try:
            while True:
                await self._survive(self._hold_and_go_round)
        finally:
            await self._store.commit([leases.release(_LEASE, self._holder)])

    async def _hold_and_go_round(self) -> None:
        if not await self._acquire():
            await asyncio.sleep(ROUND)
            return
        self._mend_at = 0.0  # the one before may have died between taking a message away and passing its turn on
        async with asyncio.TaskGroup() as group:
            renewal = group.create_task(self._renew())
            telling = group.create_task(self._demand.keep_telling())
            more = False
            try:
                while not renewal.done():
                    more = await self.go_round(wait=0 if more else ROUND)
                    self._outages.end()
            finally:
                renewal.cancel()
                telling.cancel()

    async def _survive(self, step: Callable[[], object]) -> None:
        """A broker or database that is away is waited for; anything else ends the process."""
        missed: LanewayError | None = None
        try:
            await step()  # type: ignore[misc]
        except* LanewayError as group:
            cause = group.exceptions[0]
            while isinstance(cause, ExceptionGroup):
                cause = cause.exceptions[0]
            missed = cause
        if missed is not None:  # outside the clause, of which Python before 3.11.4 raises a cancellation in a group
            self._outages.missed("the relay waits", missed)
            _pass_cancellation_on()
            await asyncio.sleep(ROUND)

    async def _acquire(self) -> bool:
        now = self._clock()
        return await leases.acquire(self._store, _LEASE, self._holder, now=now, until=now + LEASE)

    async def _renew(self) -> None:
        """Ends when the lease is lost."""
        while await self._acquire():  # noqa: ASYNC110 a lease is renewed by time, not by an event
            await asyncio.sleep(LEASE / 4)

    async def go_round(self, *, wait: float = 0.0) -> bool:
        """Wait up to `wait` seconds for a report or a wake, then do a batch of everything; whether more is to be done.

        Subscribers are served first, for nothing but this makes them wait. What has ended is settled before anything
        is published again, however much is left to do, or it would be delivered once more.
        """
        async with self._broker.reports(self._service, wait=wait) as reports:
            told = await self.fan_out()
            await self.settle(reports)
        return any([told, await self._scheduler.tick(), await self.give_turns(), await self.publish_due()])

    async def settle(self, reports: Sequence[Report]) -> None:
        """Apply what workers reported to the rows."""
        now = self._clock()
        done = [report.id for report in reports if report.outcome is Outcome.DONE]
        writes = [outbox.confirm(done), *turns.pass_on(await turns.keys_of(self._store, done))] if done else []
        for report in reports:
            if report.outcome is Outcome.RETRY:
                writes.append(outbox.retry(report.id, report.attempt, now + report.delay, report.error))
            elif report.outcome is Outcome.PARK:
                log.error("message parked", extra={"id": report.id, "cause": report.error})
                writes.append(outbox.park(report.id, report.attempt, report.error, now))
        await self._store.commit(writes)

    async def give_turns(self) -> bool:
        """Look at the new messages of keys, a batch of them; whether there may be more."""
        now = self._clock()
        if now >= self._mend_at:
            self._mend_at = now + MEND
            await self._store.commit(turns.pass_on(await turns.forgotten(self._store, BATCH)))
        found = await turns.newcomers(self._store, BATCH)
        if found:
            await self._store.commit(turns.place(found))
        return len(found) == BATCH

    async def fan_out(self) -> bool:
        """Write a row for each new event of each subscription, in one commit, and publish them; whether there were any.

        What is published is not postponed: most of it is confirmed before it would be looked at again.
        """
        known = await subscriptions.all(self._store)
        found = await asyncio.gather(*map(self._news, known))
        news = [(each, new) for each, new in zip(known, found, strict=True) if new]
        if not news:
            return False
        advances = [subscriptions.advance(each.name, each.cursor, new[-1].cursor) for each, new in news]
        messages, spans = zip(*(self._told(each, event) for each, new in news for event in new), strict=True)
        try:
            await self._store.commit([*advances, outbox.insert(messages)])
            await self._push([each for each in messages if each.parked_at is None and each.order_key is None])
        except VersionConflict:
            return True  # another relay was quicker; look again
        except LanewayError as error:
            for span in spans:
                mark(span, error)
            raise
        finally:
            for span in spans:
                span.end()
        return True

    async def _news(self, subscription: Subscription) -> list[Event]:
        if self._pressure is not None and self._pressure.is_full(subscription.service, subscription.queue):
            return []
        types = list(self._upcasters.sources([subscription.event_type]))
        return await events.read_after(self._store, subscription.cursor, types, BATCH)

    def _told(self, subscription: Subscription, event: Event) -> tuple[OutboxMessage, Span]:
        """The row of a delivery, and the span of its publishing, which is the caller's to end."""
        queue = name_in_broker(subscription.service, subscription.queue)
        id, parent = f"{event.event_id}:{subscription.name}", self._tracing.extract(event.metadata)
        span = self._tracing.start_span(
            names.publish_span(queue),
            SpanKind.PRODUCER,
            {**names.messaging(queue, id, "send"), names.LANE: "event"},
            parent=parent,
        )
        headers: dict[str, str] = {}
        self._tracing.inject(headers, span, parent)
        return self._delivery(id, subscription, event, headers), span

    async def _push(self, messages: Sequence[OutboxMessage]) -> None:
        if not messages:
            return
        now = self._clock()
        results = await self._broker.publish(messages, producer=self._service, now=now)
        refused = [each.id for each, result in zip(messages, results, strict=True) if result is Published.FULL]
        if refused:
            await self._store.commit([outbox.hasten(refused, now)])

    def _delivery(self, id: str, of: Subscription, event: Event, headers: dict[str, str]) -> OutboxMessage:
        """The row of a delivery; a dead letter at once, if the event cannot be brought into today's shape."""
        now = self._clock()
        payload, error = event.payload, None
        version = version_of(event.metadata_text)
        if version < self._upcasters.newest(event.type):
            try:
                payload = self._upcasters.read(event.type, payload, version).SerializeToString()
            except Exception as cause:  # an upcaster is the author's: its mistake is this event's only
                error = f"{event.type} cannot be upcast: {cause}"
                log.error("message parked", extra={"id": id, "cause": error})
        key = _order_key(of, payload)
        return OutboxMessage(
            id=id,
            service=of.service,
            queue=of.queue,
            method=of.name,
            payload=payload,
            headers=headers,
            due_at=now + PUBLISH_GRACE if key is None else now,
            created_at=now,
            parked_at=None if error is None else now,
            error=error,
            subscription=of.name,
            order_key=key,
        )

    async def publish_due(self) -> bool:
        """Publish what is due, of each queue what its window has room for; whether there may be more that fits.

        Rows that do not fit are left alone: a backlog costs nothing until it is its turn.
        """
        now = self._clock()
        known = await outbox.queues(self._store)
        first = await asyncio.gather(*(outbox.due(self._store, queue, now, 1) for queue in known))
        queues = [queue for queue, due in zip(known, first, strict=True) if due]
        if not queues:
            return False  # mostly: what was committed a moment ago is published by who committed it
        rooms = await self._broker.room([name_in_broker(*queue) for queue in queues])
        room_of = {queue: room for queue, room in zip(queues, rooms, strict=True) if room}
        found = await asyncio.gather(
            *(outbox.due(self._store, queue, now, min(room, BATCH)) for queue, room in room_of.items())
        )
        await self._publish([message for due in found for message in due])
        return any(len(due) == BATCH < room for due, room in zip(found, room_of.values(), strict=True))

    async def _publish(self, messages: Sequence[OutboxMessage]) -> None:
        if not messages:
            return
        now = self._clock()
        results = await self._broker.publish(messages, producer=self._service, now=now)
        until: dict[float, list[str]] = defaultdict(list)
        handed_over = []
        for message, result in zip(messages, results, strict=True):
            if not message.service and result is not Published.FULL:
                handed_over.append(message.id)  # nobody confirms it
                continue
            pause = REFUSED_AGAIN if result is Published.FULL else self._broker.copy_ttl
            until[now + pause].append(message.id)
        refused = {queue_of(m) for m, result in zip(messages, results, strict=True) if result is Published.FULL}
        if refused:
            log.debug("windows are full", extra={"queues": sorted(refused)})
        writes: list[Write] = [outbox.postpone(ids, moment) for moment, ids in until.items()]
        if handed_over:
            writes.append(outbox.confirm(handed_over))
        await self._store.commit(writes)


def _order_key(of: Subscription, payload: bytes) -> str | None:
    if of.order_by is None:
        return None
    try:
        event = GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(of.event_type))
        return read_path(event.FromString(payload), of.order_by)
    except (KeyError, AttributeError, DecodeError):
        return ""  # the contract has it no more: these are all of one key, which is the stricter order


def _pass_cancellation_on() -> None:
    """A task group that is ending by an error forgets the cancellation that comes meanwhile (CPython gh-116720)."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


_LEASE = "relay"
