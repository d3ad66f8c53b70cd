"""Celery's pool, whose slots are tasks of the process's one event loop.

Celery's own pool of threads would hold a thread for each message that runs on the loop, only to wait for it: twelve
changes of threads a message, and as many turns of waiting for the interpreter.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from functools import partial
from typing import Any

from celery.concurrency.base import BasePool
from kombu.serialization import loads

from laneway.errors import LanewayError
from laneway.lanes.queue.envelope import Delivery, decode
from laneway.lanes.queue.outages import Outages

log = logging.getLogger(__name__)

Deliver = Callable[[Delivery], "Future[Any]"]
"""Begins a delivery on the loop; it is done when it has been reported."""

_DONE = (0, None, 0.0)
"""What Celery hears of every copy. How it ended is in the report; without one it is not put back: its row is there, and
the relay brings another when it can be served."""


class LoopPool(BasePool):  # type: ignore[misc]
    """A pool of as many slots as Celery may prefetch. `deliver` and `outages` are its class's."""

    deliver: Deliver
    outages: Outages
    signal_safe = False

    @classmethod
    def of(cls, deliver: Deliver, outages: Outages) -> type["LoopPool"]:
        """The pool of one process."""
        return type(cls.__name__, (cls,), {"deliver": staticmethod(deliver), "outages": outages})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._running: set[Future[Any]] = set()

    def on_apply(
        self,
        target: object,  # noqa: ARG002 Celery's way to run a task
        args: tuple[str, str, Mapping[str, Any], bytes, str, str],
        kwargs: object = None,  # noqa: ARG002
        *,
        callback: Callable[[object], None],
        accept_callback: Callable[[int, float], None],
        **_: object,
    ) -> None:
        """Begin with a copy: it is acknowledged when its delivery has ended, however that was."""
        method, _id, headers, body, content_type, encoding = args
        accept_callback(os.getpid(), time.monotonic())
        try:
            told = loads(body, content_type, encoding, accept={"application/json"})  # type: ignore[no-untyped-call]
            (argument,), _named, _canvas = told
            delivery = decode(method, argument, headers)
        except Exception as error:  # whoever may write to the broker can put anything into a list
            # Not ours, or broken: there is no row to report on, and it will never become readable.
            log.error("unreadable message dropped", extra={"method": method, "cause": type(error).__name__})
            callback(_DONE)
            return
        running = self.deliver(delivery)
        self._running.add(running)
        running.add_done_callback(partial(self._ended, method, callback))

    def on_stop(self) -> None:
        """Wait for what runs."""
        wait(set(self._running))

    def _ended(self, method: str, callback: Callable[[object], None], running: "Future[Any]") -> None:
        self._running.discard(running)
        callback(_DONE)
        if running.cancelled():
            return  # handed back, as who did it says
        error = running.exception()
        if isinstance(error, LanewayError):
            self.outages.missed("not reported; it comes again", error)
        elif error is not None:
            cause = type(error).__name__
            log.error("not reported; it comes again", extra={"method": method, "cause": cause}, exc_info=error)
        else:
            self.outages.end()
