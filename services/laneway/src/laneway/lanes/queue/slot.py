"""A slot of a `cpu_bound` queue, from inside its process: one message at a time, as the worker says.

The worker is at the other end of a pipe and kills the process that obeys too late (`laneway.lanes.queue.slots`): what
computes hears nothing. Must not know Celery.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from multiprocessing.connection import Connection

from prometheus_client.core import Metric

from laneway.contract.model import Method
from laneway.errors import Cancelled, LanewayError
from laneway.lanes.dispatch import Dispatcher
from laneway.lanes.queue.delivery import handle_here
from laneway.lanes.queue.envelope import Delivery
from laneway.lanes.status import status_of
from laneway.v1 import system_pb2

log = logging.getLogger(__name__)

ENDS_WITHIN = 5.0
"""Seconds that a process has to end when it was told to, or when its worker is no more."""

Figures = Callable[[], Sequence[Metric]]
"""What the process has counted so far."""


@dataclass(frozen=True, slots=True)
class Run:
    """Run this message; nothing else runs."""

    delivery: Delivery
    attempt: int


class Order(Enum):
    """What else a worker says."""

    CANCEL = "cancel"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Ready:
    """The process can run messages."""


@dataclass(frozen=True, slots=True)
class Said:
    """A `laneway.v1.Progress` of what runs."""

    progress: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """What ran has ended, with the `google.rpc.Status` of an error if it has no outcome yet."""

    error: bytes | None
    figures: Sequence[Metric]


async def serve(
    connection: Connection, dispatcher: Dispatcher, methods: Mapping[str, Method], figures: Figures
) -> None:
    """Obey a worker until it says stop, or is no more."""
    loop, orders = asyncio.get_running_loop(), asyncio.Queue[Run | Order]()
    listening = threading.Thread(
        target=_listen,
        args=(connection, lambda order: loop.call_soon_threadsafe(orders.put_nowait, order)),
        daemon=True,
    )
    listening.start()
    _say(connection, Ready())
    running: asyncio.Task[None] | None = None
    while (order := await orders.get()) is not Order.STOP:
        if isinstance(order, Run):
            running = asyncio.create_task(_run(order, connection, dispatcher, methods, figures))
        elif running is not None:
            running.cancel()
    if running is not None:
        running.cancel()
        await asyncio.wait({running})


def _listen(connection: Connection, tell: Callable[[Run | Order], object]) -> None:
    """Hand on what the worker says. What does not end in time is ended here: its loop may be held by a handler."""
    with suppress(EOFError, OSError):
        while (order := connection.recv()) is not Order.STOP:
            tell(order)
    with suppress(RuntimeError):  # the loop is closed already
        tell(Order.STOP)
    threading.main_thread().join(ENDS_WITHIN)
    os._exit(1)


def _say(connection: Connection, word: Ready | Said | Ended) -> None:
    """Said at once, and not when the loop turns again."""
    with suppress(OSError):  # there is no worker any more, and the process is about to end
        connection.send(word)


async def _run(
    order: Run, connection: Connection, dispatcher: Dispatcher, methods: Mapping[str, Method], figures: Figures
) -> None:
    def report(progress: system_pb2.Progress) -> None:
        _say(connection, Said(progress.SerializeToString()))

    error: BaseException | None = None
    try:
        await handle_here(dispatcher, methods[order.delivery.method], order.delivery, order.attempt, report)
    except asyncio.CancelledError:
        error = Cancelled(f"{order.delivery.method} was cancelled.")
    except LanewayError as raised:
        error = raised
    except Exception as raised:
        log.exception("a message could not be run", extra={"method": order.delivery.method})
        error = raised
    _say(connection, Ended(None if error is None else status_of(error).SerializeToString(), figures()))
