"""What carries a service's handlers: its dispatcher and, if it has a database, store and broker."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from time import monotonic, time

from laneway.call import Surroundings
from laneway.contract.model import Contract
from laneway.errors import ConfigurationError
from laneway.lanes.backpressure import Backpressure, Limits
from laneway.lanes.dispatch import Dispatcher
from laneway.lanes.faults import Faults
from laneway.lanes.queue.publisher import Publisher
from laneway.lanes.queue.valkey import ValkeyBroker
from laneway.lanes.system import SystemHandlers
from laneway.runtime.process import Process, running
from laneway.service import Service
from laneway.settings import Settings
from laneway.store import Store, outbox
from laneway.store.migrations import check

log = logging.getLogger(__name__)

WAIT_FOR_DATABASE = 1.0
"""Seconds between looks at a database that is not ready yet."""


@dataclass(frozen=True, slots=True)
class Backend:
    """What carries a service's handlers: its dispatcher and, if it has a database, store and broker."""

    dispatcher: Dispatcher
    store: Store | None
    broker: ValkeyBroker | None
    pressure: Backpressure | None


@asynccontextmanager
async def backend(own: Process) -> AsyncIterator[Backend]:
    """Open the service's database and broker; closes them when what runs has committed."""
    async with AsyncExitStack() as stack:
        store, broker, publishing, pressure = None, None, None, None
        handlers, methods = dict(own.service.handlers), dict(own.service.contract.methods)
        if own.service.database:
            store = await open_store(own.service, own.settings)
            stack.push_async_callback(store.close)
            limits = Limits(rows=own.settings.outbox_max_rows, age=own.settings.outbox_max_seconds)
            pressure = Backpressure(store, limits)
            broker = ValkeyBroker(own.settings.broker_url, window=own.settings.queue_window)
            stack.push_async_callback(broker.close)
            publishing = await stack.enter_async_context(
                Publisher(broker, service=own.service.name, refused=_due_now(store))
            )
            system = SystemHandlers(own.service.name, own.service.contract, store, own.tracing, own.service.sagas)
            handlers |= system.handlers
            methods |= system.methods
        faults = Faults(own.settings.fault_folder, own.service.name)
        await stack.enter_async_context(running(faults.keep()))
        surroundings = Surroundings(
            store=store,
            tracing=own.tracing,
            wall_clock=time,
            monotonic=monotonic,
            upcasters=own.service.upcasters,
        )
        dispatcher = Dispatcher(
            Contract(methods),
            handlers,
            surroundings=surroundings,
            metrics=own.metrics,
            tuning=own.tuning,
            publishing=publishing,
            authorize=own.service.admit,
            strike=faults.strike if own.settings.fault_folder else None,
            pressure=pressure,
        )
        stack.push_async_callback(dispatcher.close)
        yield Backend(dispatcher, store, broker, pressure)


def _due_now(store: Store) -> Callable[[Sequence[str]], Awaitable[None]]:
    """What the queue's window refused is demand at once, not when the publisher's grace ends."""

    async def refused(ids: Sequence[str]) -> None:
        await store.commit([outbox.hasten(ids, time())])

    return refused


async def open_store(service: Service, settings: Settings) -> Store:
    """The service's database, whose schema must be of this code's version or the next; waits for it as set."""
    url, patience = settings.database(service.name), monotonic() + settings.database_wait
    while True:
        try:
            await asyncio.to_thread(check, url, author=service.migrations, service=service.name)
            return await Store.open(url, pool=settings.database_pool)
        except ConfigurationError as error:
            if monotonic() > patience:
                raise
            log.info("waiting for the database", extra={"cause": error.message})
        await asyncio.sleep(WAIT_FOR_DATABASE)
