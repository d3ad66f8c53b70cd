"""Runs one copy of a message and says how it ended: done, again later, or parked. Must not know Celery."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from google.protobuf.message import DecodeError

from laneway.call import Lane
from laneway.contract.model import Method
from laneway.contract.policy import Work
from laneway.contract.tuning import Tuning
from laneway.errors import DeadlineExceeded, InvalidArgument, LanewayError
from laneway.lanes.dispatch import Arrival, Dispatcher
from laneway.lanes.forgetting import COPY_LIFE
from laneway.lanes.queue.broker import Broker, Outcome, Report
from laneway.lanes.queue.envelope import Delivery
from laneway.lanes.queue.outages import Outages
from laneway.lanes.queue.watch import Unwanted, Watch
from laneway.store import operations
from laneway.telemetry.metrics import Metrics
from laneway.v1 import system_pb2

log = logging.getLogger(__name__)

OnProgress = Callable[[system_pb2.Progress], None]
"""Takes what a handler says of its progress."""

Handle = Callable[[Method, Delivery, int, OnProgress], Awaitable[None]]
"""Runs a delivery's message, as which attempt; returns when its outcome is committed, and raises if there is none."""


def arrival_of(method: Method, delivery: Delivery, attempt: int, report: OnProgress | None = None) -> Arrival:
    """A delivery as the dispatcher knows calls."""
    return Arrival(
        lane=Lane.QUEUE if method.policy.queue else Lane.EVENT,
        headers=delivery.headers,
        message_id=delivery.id,
        attempt=attempt,
        report=report,
    )


async def handle_here(
    dispatcher: Dispatcher, method: Method, delivery: Delivery, attempt: int, report: OnProgress
) -> None:
    """Run a delivery's message on this event loop.

    Raises:
        LanewayError: there is no outcome yet.
    """
    try:
        request = method.input.FromString(delivery.payload)
    except DecodeError:
        raise InvalidArgument(f"The payload is not a {method.input.DESCRIPTOR.full_name}.") from None
    await dispatcher.deliver(method, request, arrival_of(method, delivery, attempt, report))


class Deliveries:
    """The deliveries of one worker process. `handle` is what runs them, if they do not run on this event loop."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        broker: Broker,
        methods: Mapping[str, Method],
        *,
        watch: Watch,
        metrics: Metrics,
        clock: Callable[[], float],
        tuning: Tuning | None = None,
        outages: Outages | None = None,
        handle: Handle | None = None,
    ) -> None:
        self._dispatcher = dispatcher
        self._handle: Handle = handle or partial(handle_here, dispatcher)
        self._broker = broker
        self._methods = methods
        self._watch = watch
        self._metrics = metrics
        self._clock = clock
        self._tuning = tuning or Tuning()
        self._outages = outages or Outages(log)
        self._running: dict[asyncio.Task[None], Delivery] = {}

    @property
    def running(self) -> list[Delivery]:
        """What runs now."""
        return list(self._running.values())

    async def run(self, delivery: Delivery) -> None:
        """Run a copy and report how it ended.

        Raises:
            Unavailable: the broker took no report; the copy must come again.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a delivery runs in a task")
        self._running[task] = delivery
        try:
            if self._clock() - delivery.enqueued_at > COPY_LIFE:
                log.info("too old a copy", extra={"method": delivery.method, "id": delivery.id})
                return  # whoever has processed its message may have forgotten it
            method = self._methods[delivery.method]
            started = await self._broker.started(delivery.id, delivery.attempt, delivery.enqueued_at)
            if not started:
                return  # another copy has failed meanwhile: the next one comes when it is due
            self._metrics.taken(method.queue_name, self._clock() - delivery.enqueued_at)
            report = await self._outcome(method, delivery, started)
            await self._broker.report(delivery.producer, report, enqueued_at=delivery.enqueued_at)
            self._metrics.delivered(method.queue_name, report.outcome)
        finally:
            del self._running[task]

    async def keep_markers(self) -> None:
        """Refresh the markers of what runs, until cancelled."""
        while True:
            await asyncio.sleep(self._broker.copy_ttl / 3)
            ids = [delivery.id for delivery in self.running]
            if ids:
                try:
                    await self._broker.refresh(ids)
                except LanewayError as error:
                    self._outages.missed("markers not refreshed", error)

    async def hand_back(self) -> None:
        """End what still runs without an outcome: other copies may start at once."""
        left = list(self._running.items())
        for task, _ in left:
            task.cancel()
        await asyncio.gather(*(task for task, _ in left), return_exceptions=True)
        for _, delivery in left:
            log.warning("handed back", extra={"method": delivery.method, "id": delivery.id})
            await self._broker.forget(delivery.id)

    async def _outcome(self, method: Method, delivery: Delivery, copies: int) -> Report:
        work = self._tuning.of(method).work
        if work is None:
            cause = f"{method.full_name} has no queue any more"
            return Report(id=delivery.id, outcome=Outcome.PARK, attempt=delivery.attempt, error=cause)
        attempt = max(copies, delivery.attempt)
        late = delivery.start_by is not None and self._clock() > delivery.start_by
        try:
            if (late or attempt > work.max_attempts) and await self._has_ended(method, delivery):
                return Report(id=delivery.id, outcome=Outcome.DONE)
            if attempt > work.max_attempts:
                # Counted at its start and never reported: each run took its process down.
                raise InvalidArgument(f"It began {attempt - 1} times and never ended.", reason="NEVER_ENDED")
            if late:
                return await self._expired(method, delivery)
            async with self._watch.over(method, delivery) as run:
                await self._handle(method, delivery, attempt, run.report)
        except Unwanted as unwanted:
            await self._dispatcher.end(method, delivery.id, delivery.headers, unwanted.error, operations.cancel)
        except LanewayError as error:
            return await self._failed(method, work, delivery, attempt, error)
        return Report(id=delivery.id, outcome=Outcome.DONE)

    async def _has_ended(self, method: Method, delivery: Delivery) -> bool:
        return await self._dispatcher.has_ended(method, delivery.id, delivery.headers)

    async def _expired(self, method: Method, delivery: Delivery) -> Report:
        error = DeadlineExceeded(f"{method.full_name} was not started in time.", reason="START_EXPIRED")
        await self._dispatcher.end(method, delivery.id, delivery.headers, error, operations.expire)
        log.warning("expired", extra={"method": method.full_name, "id": delivery.id})
        return Report(id=delivery.id, outcome=Outcome.DONE)

    async def _failed(
        self, method: Method, work: Work, delivery: Delivery, attempt: int, error: LanewayError
    ) -> Report:
        cause = f"{error.code.name}: {error.message}"
        facts = {"method": method.full_name, "id": delivery.id, "attempt": attempt, "cause": cause}
        if error.transient and attempt < work.max_attempts:
            delay = max(backoff(work, attempt), error.retry_after or 0.0)
            log.info("trying again later", extra={**facts, "delay": round(delay, 3)})
            return Report(id=delivery.id, outcome=Outcome.RETRY, attempt=attempt, delay=delay, error=cause)
        log.error("giving up", extra=facts)
        await self._dispatcher.park(method, delivery.id, delivery.headers, error)
        return Report(id=delivery.id, outcome=Outcome.PARK, attempt=min(attempt, work.max_attempts), error=cause)


def backoff(work: Work, attempt: int, uniform: Callable[[float, float], float] = random.uniform) -> float:
    """Seconds before the attempt after this one: doubling, with half of it jittered."""
    full = min(work.max_backoff, work.initial_backoff * 2.0 ** min(attempt - 1, 60))
    return uniform(full / 2, full)
