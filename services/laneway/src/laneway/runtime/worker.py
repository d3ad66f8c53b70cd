"""The worker's role: Celery in the main thread, everything else on the one event loop in a thread of its own."""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from time import time

import uvloop

from laneway.contract.model import Method
from laneway.errors import ConfigurationError
from laneway.lanes.queue.delivery import Deliveries
from laneway.lanes.queue.hearing import Hearing
from laneway.lanes.queue.outages import Outages
from laneway.lanes.queue.pool import LoopPool
from laneway.lanes.queue.watch import Watch
from laneway.lanes.queue.worker import LoopThread, celery_app, report_capacity, run_celery
from laneway.runtime.backend import backend
from laneway.runtime.installed import Factory
from laneway.runtime.process import process, running
from laneway.settings import Settings
from laneway.telemetry.admin import Health

log = logging.getLogger(__name__)


def run(name: str, factory: Factory, settings: Settings) -> None:
    """Consume until the process is told to stop."""
    thread = LoopThread(uvloop.new_event_loop())
    thread.start()
    bench: Future[Bench] = Future()
    side = thread.submit(worker_side(name, factory, settings, bench))
    side.add_done_callback(lambda ended: _worker_side_ended(ended, bench))
    try:
        own = bench.result()
        app = celery_app(
            name,
            own.methods.values(),
            broker_url=settings.broker_url,
        )
        pool = LoopPool.of(lambda delivery: thread.submit(own.deliveries.run(delivery)), own.outages)
        hearing = Hearing()
        hearing.attach(app)
        own.health.watch(hearing.ailment)
        report_capacity(app, pod=settings.instance, breakers_open=own.breakers_open)

        def stopping() -> None:
            own.health.end()
            thread.submit(own.hand_back_after(settings.grace_seconds))

        def consuming() -> None:
            own.health.begin()
            log.info("consuming", extra={"queues": " ".join(sorted(own.queues))})

        gc.freeze()  # what a worker is made of stays: the collector need not look at it for each thousand messages
        try:
            run_celery(
                app, pool=pool, slots=settings.worker_slots, name=settings.instance, consuming=consuming,
                stopping=stopping, outages=own.outages,
            )  # fmt: skip
        finally:
            thread.loop.call_soon_threadsafe(own.stopped.set)
            side.result()
    finally:
        thread.stop()


@dataclass(frozen=True, slots=True)
class Bench:
    """What a worker's pool hands its messages to. All of it belongs to the worker's loop."""

    methods: dict[str, Method]
    deliveries: Deliveries
    outages: Outages
    health: Health
    breakers_open: Callable[[], int]
    stopped: asyncio.Event

    @property
    def queues(self) -> set[str]:
        return {method.queue_name for method in self.methods.values()}

    async def hand_back_after(self, grace: float) -> None:
        """Give what runs its grace; hand back what is left."""
        try:
            async with asyncio.timeout(grace):
                await self.stopped.wait()
        except TimeoutError:
            await self.deliveries.hand_back()


async def worker_side(name: str, factory: Factory, settings: Settings, bench: Future[Bench]) -> None:
    """The loop's side of a worker, from its opening until the bench is stopped."""
    async with process(name, "worker", factory, settings) as own, backend(own) as back:
        methods = {method.full_name: method for queue in own.service.queues.values() for method in queue}
        if back.broker is None or back.store is None or not methods:
            raise ConfigurationError(f"`{name}` has no queue and no subscription; it needs no worker.")
        outages, watch = Outages(log), Watch(back.store, time)
        deliveries = Deliveries(
            back.dispatcher,
            back.broker,
            methods,
            watch=watch,
            metrics=own.metrics,
            clock=time,
            tuning=own.tuning,
            outages=outages,
        )
        own.metrics.follow("laneway_worker_slots", lambda: [((), settings.worker_slots)])
        own.metrics.follow("laneway_worker_running", lambda: [((), len(deliveries.running))])
        stopped = asyncio.Event()
        async with running(deliveries.keep_markers(), watch.keep()):
            bench.set_result(Bench(methods, deliveries, outages, own.health, own.pipelines.refusing, stopped))
            await stopped.wait()


def _worker_side_ended(ended: Future[None], bench: Future[Bench]) -> None:
    error = ended.exception()
    if error is None:
        return
    if not bench.done():
        bench.set_exception(error)
    else:
        log.critical("the worker's loop has failed", exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)
