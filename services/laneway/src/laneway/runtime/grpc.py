"""The server's role: a service's methods over gRPC, the relay of its outbox, and its other background duties."""

import asyncio
import gc
import logging
from collections.abc import Coroutine
from time import time
from typing import Any

import uvloop

from laneway.contract.model import Method
from laneway.errors import ConfigurationError, LanewayError
from laneway.history.census import Census
from laneway.history.projector import Projector
from laneway.history.sagas import SagaView
from laneway.lanes.everywhere import REGISTER
from laneway.lanes.forgetting import Forgetting
from laneway.lanes.grpc.server import GrpcServer
from laneway.lanes.outgoing import Lanes
from laneway.lanes.queue.relay import Relay
from laneway.lanes.retention import Retention
from laneway.lanes.withdrawing import Withdrawing
from laneway.runtime.backend import Backend, backend
from laneway.runtime.installed import Factory
from laneway.runtime.process import Process, process, running, stop_signal
from laneway.service import Service
from laneway.settings import Settings
from laneway.store import Store
from laneway.v1 import system_pb2

log = logging.getLogger(__name__)

REGISTER_AGAIN = (0.2, 5.0)
"""Seconds between attempts to register with a producer that is away: the first pause, doubled up to the last."""


def run(name: str, factory: Factory, settings: Settings) -> None:
    """Serve until the process is told to stop."""
    uvloop.run(serve(name, factory, settings))


async def serve(name: str, factory: Factory, settings: Settings) -> None:
    """A service's server, with the relay of its outbox and the registration of its subscriptions."""
    async with process(name, "grpc", factory, settings) as own, backend(own) as back:
        if "grpc" not in own.service.roles:
            raise ConfigurationError(f"`{name}` has no handlers; run its other roles: {', '.join(own.service.roles)}.")
        stopped = stop_signal()
        server = GrpcServer(back.dispatcher, host=settings.host, port=settings.grpc_port, options=own.service.grpc)
        await server.start()  # before the duties, which would only talk if it cannot
        async with running(*_duties(own, back)):
            gc.freeze()  # what a server is made of stays: the collector need not look at it again
            own.health.begin()
            log.info("serving", extra={"port": settings.grpc_port})
            await stopped.wait()
            own.health.end()
            await server.stop(settings.grace_seconds, drain=settings.drain_seconds)


def _duties(own: Process, back: Backend) -> list[Coroutine[Any, Any, None]]:
    """What a server does beside serving; each is for one replica at a time, by lease, or harmless in several."""
    duties = [register_all(own.service, own.lanes)]
    if back.store is None or back.broker is None or back.pressure is None:
        return duties
    settings = own.settings
    relay = Relay(
        back.store,
        back.broker,
        service=own.service.name,
        holder=settings.instance,
        tracing=own.tracing,
        metrics=own.metrics,
        queues=own.service.queues,
        upcasters=own.service.upcasters,
        methods=own.service.contract,
        pressure=back.pressure,
    )
    keep = settings.inbox_keep_seconds
    retention = Retention(
        back.store,
        holder=settings.instance,
        keep_operations=settings.operations_keep_seconds,
        inbox=Forgetting(back.store, own.lanes, service=own.service.name, keep=keep, clock=time),
        outbox=Withdrawing(back.store, own.lanes, service=own.service.name, clock=time),
    )
    duties += [relay.run(), back.pressure.keep(), retention.run()]
    own.metrics.follow("laneway_outbox_messages", back.pressure.messages)
    own.metrics.follow("laneway_outbox_oldest_seconds", back.pressure.oldest)
    own.metrics.follow("laneway_outbox_full", back.pressure.full)
    duties.append(_looking_at_the_log(own, back.store))
    duties += [projector.run() for projector in projectors(own, back.store)]
    return duties


def _looking_at_the_log(own: Process, store: Store) -> Coroutine[Any, Any, None]:
    census = Census(store, own.service.name, {kind.__name__: kind.stream("") for kind in own.service.sagas})
    own.metrics.follow("laneway_events_withheld_seconds", census.withheld)
    own.metrics.follow("laneway_sagas_open", census.open)
    own.metrics.follow("laneway_sagas_silent_seconds", census.silent)
    return census.keep()


def projectors(own: Process, store: Store) -> list[Projector]:
    """The keepers of a service's views."""
    return [
        Projector(
            store,
            projection,
            holder=own.settings.instance,
            metrics=own.metrics,
            upcasters=own.service.upcasters,
            tracing=None if isinstance(projection, SagaView) else own.tracing,  # what is of no author is no news
        )
        for projection in own.service.projections
    ]


async def register_all(service: Service, lanes: Lanes) -> None:
    """Register the service's subscriptions with the producers, until each has answered."""
    waiting = [method for method in service.contract if method.policy.subscription is not None]
    pause, longest = REGISTER_AGAIN
    while waiting := [method for method in waiting if not await _registered(method, service, lanes)]:
        await asyncio.sleep(pause)
        pause = min(pause * 2, longest)


async def _registered(method: Method, service: Service, lanes: Lanes) -> bool:
    subscription = method.policy.subscription
    if subscription is None:
        return True
    request = system_pb2.RegisterRequest(
        method=method.full_name,
        service=service.name,
        queue=subscription.queue,
        event=method.input.DESCRIPTOR.full_name,
        from_start=subscription.from_start,
        order_by=subscription.order_by,
    )
    try:
        await lanes.call(REGISTER.at(method.event_producer), request)
    except LanewayError as error:
        log.info("subscription not registered yet", extra={"method": method.full_name, "cause": error.message})
        return False
    return True
