"""The workers' roles: Celery in the main thread, everything else on the one event loop in a thread of its own, but what
`cpu_bound` handlers do, which is in processes of their own.
"""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from time import time

import uvloop

from laneway.contract.model import Method
from laneway.errors import ConfigurationError
from laneway.lanes.queue.delivery import Deliveries, Handle, handle_here
from laneway.lanes.queue.hearing import Hearing
from laneway.lanes.queue.outages import Outages
from laneway.lanes.queue.pool import LoopPool
from laneway.lanes.queue.slots import Slots
from laneway.lanes.queue.watch import Watch
from laneway.lanes.queue.worker import LoopThread, celery_app, report_capacity, run_celery
from laneway.runtime import slot
from laneway.runtime.backend import Backend, backend
from laneway.runtime.installed import Factory
from laneway.runtime.process import Process, process, running
from laneway.service import CPU_WORKER, WORKERS, Service
from laneway.settings import Settings
from laneway.telemetry.admin import Health

log = logging.getLogger(__name__)


def run(name: str, role: str, factory: Factory, settings: Settings) -> None:
    """Consume until the process is told to stop."""
    thread = LoopThread(uvloop.new_event_loop())
    thread.start()
    bench: Future[Bench] = Future()
    side = thread.submit(worker_side(name, role, factory, settings, bench))
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
                app, pool=pool, slots=own.slots, name=settings.instance, consuming=consuming, stopping=stopping,
                outages=own.outages,
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
    slots: int
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


async def worker_side(name: str, role: str, factory: Factory, settings: Settings, bench: Future[Bench]) -> None:
    """The loop's side of a worker, from its opening until the bench is stopped."""
    async with process(name, role, factory, settings) as own, backend(own) as back:
        methods = {method.full_name: method for queue in own.service.consumed(role).values() for method in queue}
        if back.broker is None or back.store is None or not methods:
            raise ConfigurationError(_not_needed(own.service, role))
        async with _handling(own, back, role, factory) as (slots, handle):
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
                handle=handle,
            )
            own.metrics.follow("laneway_worker_slots", lambda: [((), slots)])
            own.metrics.follow("laneway_worker_running", lambda: [((), len(deliveries.running))])
            stopped = asyncio.Event()
            async with running(deliveries.keep_markers(), watch.keep()):
                breakers_open = own.pipelines.refusing
                bench.set_result(Bench(methods, slots, deliveries, outages, own.health, breakers_open, stopped))
                await stopped.wait()


@asynccontextmanager
async def _handling(own: Process, back: Backend, role: str, factory: Factory) -> AsyncIterator[tuple[int, Handle]]:
    """How many messages run at a time, and what runs one."""
    settings = own.settings
    if role != CPU_WORKER:
        yield settings.worker_slots, partial(handle_here, back.dispatcher)
        return
    begin = partial(slot.begin, own.service.name, factory, settings)
    children, dispatcher = own.metrics.children, back.dispatcher
    slots = Slots(begin, settings.cpu_slots, dispatcher=dispatcher, tuning=own.tuning, children=children)
    async with slots.open(), running(slots.keep()):
        own.health.watch(slots.ailment)
        yield settings.cpu_slots, slots.handle


def _not_needed(service: Service, role: str) -> str:
    for other in set(WORKERS) - {role}:
        if queues := " ".join(service.consumed(other)):
            return f"`{service.name}` has no queue for a {role}; run --role {other} for {queues}."
    return f"`{service.name}` has no queue and no subscription; it needs no worker."


def _worker_side_ended(ended: Future[None], bench: Future[Bench]) -> None:
    error = ended.exception()
    if error is None:
        return
    if not bench.done():
        bench.set_exception(error)
    else:
        log.critical("the worker's loop has failed", exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)
