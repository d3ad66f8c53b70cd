"""Whether a worker still hears from its broker: liveness follows consumption.

A connection may be half-open: it stands, and nobody is at its other end. The consumer asks by a BRPOP that a broker
answers within a second, with a message or with none; kombu drops a connection whose answer is overdue and asks on
another (`kombu/transport/redis.py`, `maybe_check_brpop_health`). What that does not help shows here: a consumer whose
thread hangs, and so looks at no answer. A broker that is plainly away is none of it: a worker that is started again
would not find it either.

What it hears may be no message at all, as whoever may write to the broker can put anything into a list.
"""

import logging
import time
from collections.abc import Callable
from queue import Empty
from typing import Any

from celery import Celery, bootsteps

log = logging.getLogger(__name__)

UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)
"""What kombu's parser raises for something that is no JSON, or no message."""

PATIENCE = 30.0
"""Seconds without an answer after which a worker that asks is not alive; kombu's own remedy takes up to 21."""


class Hearing:
    """What one worker's consumer hears. Asked by any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._channel: Any = None
        self._heard_at = clock()

    def attach(self, app: Celery) -> None:
        """Follow the application's consumer, over each of its connections."""
        step = type("Listen", (_Listen,), {"hearing": self})
        app.steps["consumer"].add(step)

    def follow(self, channel: Any) -> None:
        """Listen to a new connection's channel."""
        read = channel.handlers["BRPOP"]

        def heard(*arguments: Any, **named: Any) -> Any:
            self._heard_at = self._clock()
            try:
                return read(*arguments, **named)
            except UNREADABLE as error:
                # kombu would end the worker. Nothing is lost: what has a row is brought again, and this has none.
                log.error("unreadable message dropped", extra={"cause": type(error).__name__})
                raise Empty from None

        channel.handlers["BRPOP"] = heard
        self._heard_at, self._channel = self._clock(), channel

    def forget(self) -> None:
        """There is no connection any more."""
        self._channel = None

    def ailment(self) -> str | None:
        """Why the worker is not alive; None while it is."""
        channel, now = self._channel, self._clock()
        # One whose slots are all taken does not ask, and one that was told to stop consuming does not either.
        if channel is None or not channel._in_poll or not channel.qos.can_consume():
            self._heard_at = now
            return None
        silent = now - self._heard_at
        return f"the broker has not answered for {silent:.0f} s" if silent > PATIENCE else None


class _Listen(bootsteps.StartStopStep):  # type: ignore[misc]
    """Between the consumer and what it hears."""

    requires = ("celery.worker.consumer.tasks:Tasks",)
    hearing: Hearing

    def start(self, consumer: Any) -> None:
        channel = consumer.task_consumer.channel
        if "BRPOP" in getattr(channel, "handlers", ()):
            self.hearing.follow(channel)

    def stop(self, consumer: Any) -> None:  # noqa: ARG002 Celery's signature
        self.hearing.forget()
