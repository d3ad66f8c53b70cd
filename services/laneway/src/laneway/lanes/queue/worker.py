"""The worker: Celery, whose pool hands each message to the one event loop of the process.

Celery consumes and reconnects in the main thread; everything else is on the loop, in a thread of its own. What is
lost with the process comes back because its row is there: the relay brings another copy (docs/decisions/0041).
"""

import asyncio
import threading
import warnings
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from typing import Any

from celery import Celery, bootsteps, signals
from celery.exceptions import CPendingDeprecationWarning
from celery.platforms import SecurityWarning
from kombu.entity import Queue

from laneway.contract.model import Method
from laneway.errors import ConfigurationError
from laneway.lanes.queue import celery_logs, transport
from laneway.lanes.queue.outages import Outages
from laneway.lanes.queue.pool import LoopPool
from laneway.scaling import worker as scaling


class LoopThread:
    """The process's event loop, in a thread of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._thread = threading.Thread(target=self._run, name="loop")

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def start(self) -> None:
        self._thread.start()

    def submit(self, coroutine: Coroutine[Any, Any, Any]) -> "Future[Any]":
        """Run a coroutine on the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


def celery_app(
    service: str,
    methods: Iterable[Method],
    *,
    broker_url: str,
) -> Celery:
    """A Celery application with a task per method, on the service's queues only."""
    methods = list(methods)
    app = Celery(service, broker=broker_url, set_as_current=False)
    app.conf.update(
        task_queues=[_queue(name) for name in sorted({method.queue_name for method in methods})],
        task_create_missing_queues=False,
        accept_content=["json"],
        task_acks_late=True,
        task_acks_on_failure_or_timeout=False,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_disable_rate_limits=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_transport=transport.NAME,
        broker_pool_limit=1,  # nothing is published by Celery
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            # kombu's own record of what is taken and not acknowledged: two round trips for each message, for a second
            # opinion of what the row says.
            "ack_emulation": False,
            "socket_keepalive": True,
            "socket_timeout": 15,
            "socket_connect_timeout": 5,
            "health_check_interval": 10,
        },
    )
    for method in methods:
        app.task(name=method.full_name, shared=False)(_elsewhere)
    return app


def _queue(name: str) -> Queue:
    return Queue(name, routing_key=name)  # type: ignore[no-untyped-call]


def _elsewhere(*_: object) -> None:
    """What a task does is the pool's to do; Celery wants to know that there is one of its name."""


def report_capacity(app: Celery, *, pod: str, breakers_open: Callable[[], int]) -> None:
    """Let the application's workers say what they do, and obey drains and pauses, as any Celery worker can."""
    facts = {"pod": pod, "breakers_open": staticmethod(breakers_open)}
    app.steps["worker"].add(type("CapacityReport", (scaling.CapacityReport,), facts))


def run_celery(
    app: Celery,
    *,
    pool: type[LoopPool],
    slots: int,
    name: str,
    consuming: Callable[[], None],
    stopping: Callable[[], None],
    outages: Outages,
) -> None:
    """Consume until SIGTERM or SIGINT, then stop warmly.

    `consuming` is called when the queues are being read, and again after each time that the broker was away;
    `stopping` when the stop begins.

    Raises:
        ConfigurationError: the worker could not start.
    """
    # Celery warns of running as root because of pickle; our queues take JSON only.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    signals.setup_logging.connect(_keep_our_logging, weak=False)
    celery_logs.quieten(outages)

    def begin_stop(**_: object) -> None:
        stopping()

    def begun(*_: object) -> None:
        outages.end()
        consuming()

    # Of a signal Celery makes one at the first start only; a step of the consumer starts after each outage.
    step = {"requires": ("celery.worker.consumer:Tasks",), "start": begun}
    app.steps["consumer"].add(type("Consuming", (bootsteps.StartStopStep,), step))
    signals.worker_shutting_down.connect(begin_stop, weak=False)
    worker = app.Worker(
        pool=pool,
        concurrency=slots,
        hostname=name,
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    # At each loss of the connection it warns of a default that is to change, and that we set; its start asked for that.
    warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)
    worker.start()
    if worker.exitcode:
        raise ConfigurationError(f"The worker {name} could not run; its log has the cause.")


def _keep_our_logging(**_: object) -> None:
    """Connecting it keeps Celery from configuring any logger."""
