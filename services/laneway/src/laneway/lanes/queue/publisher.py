"""Publishes what a call committed, right after the commit, without making the call wait.

It may drop anything: the rows are there, and the relay publishes what is due.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self

from opentelemetry.trace import Span

from laneway.errors import LanewayError
from laneway.lanes.queue.broker import Broker, Published
from laneway.lanes.queue.outages import Outages
from laneway.store.outbox import OutboxMessage
from laneway.telemetry.tracing import mark

log = logging.getLogger(__name__)

BATCH = 100
BACKLOG = 10_000
"""Messages that may wait here; more are left to the relay."""

DRAIN = 2.0
"""Seconds that a stop waits for what was offered."""


class Publisher:
    """An owned background task between commits and the broker; see `laneway.lanes.dispatch.Publishing`."""

    def __init__(
        self,
        broker: Broker,
        *,
        service: str,
        refused: Callable[[Sequence[str]], Awaitable[None]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`refused` is told of messages that the window had no room for."""
        self._broker = broker
        self._refused = refused
        self._service = service
        self._clock = clock
        self._offered: deque[OutboxMessage] = deque()
        self._spans: dict[str, Span] = {}
        self._wake = False
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._outages = Outages(log)

    def offer(self, messages: Sequence[OutboxMessage], spans: Sequence[Span]) -> None:
        """Publish soon."""
        for message, span in zip(messages, spans, strict=True):
            if len(self._offered) >= BACKLOG:
                span.end()
                continue
            self._offered.append(message)
            self._spans[message.id] = span
        self._news.set()

    def wake(self) -> None:
        """Tell the relay of new events."""
        self._wake = True
        self._news.set()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._news.set()
        if self._task is not None:
            done, _ = await asyncio.wait([self._task], timeout=DRAIN)
            if not done:
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)
        self._end(list(self._spans))

    async def _run(self) -> None:
        while not self._stopping or self._offered or self._wake:
            await self._news.wait()
            self._news.clear()
            while self._offered or self._wake:
                await self._publish()

    async def _publish(self) -> None:
        batch = [self._offered.popleft() for _ in range(min(BATCH, len(self._offered)))]
        wake, self._wake = self._wake, False
        try:
            if batch:
                results = await self._broker.publish(batch, producer=self._service, now=self._clock())
                full = [each.id for each, result in zip(batch, results, strict=True) if result is Published.FULL]
                if full and self._refused is not None:
                    await self._refused(full)
            if wake:
                await self._broker.wake(self._service)
            self._outages.end()
        except LanewayError as error:
            for message in batch:
                mark(self._spans[message.id], error)
            self._outages.missed("messages are left to the relay", error)
        finally:
            self._end([message.id for message in batch])

    def _end(self, ids: Sequence[str]) -> None:
        for id in ids:
            self._spans.pop(id).end()
