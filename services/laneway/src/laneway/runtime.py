"""The composition of a process: what each role of a service is made of, started in order and stopped in reverse.

One event loop per process. Heavy imports are inside the roles, so that a worker loads no web framework and an
edge no Celery.
"""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from time import monotonic, time
from traceback import extract_tb
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message
from prometheus_client import disable_created_metrics

from laneway.call import Surroundings
from laneway.contract.model import Contract, Method
from laneway.contract.tuning import Tuning
from laneway.errors import ConfigurationError, FailedPrecondition, LanewayError
from laneway.history.census import Census
from laneway.history.projector import Projector
from laneway.lanes.backpressure import Backpressure, Limits
from laneway.lanes.dispatch import Dispatcher
from laneway.lanes.everywhere import REGISTER
from laneway.lanes.faults import Faults
from laneway.lanes.outgoing import Lanes
from laneway.lanes.retention import Retention
from laneway.lanes.system import SystemHandlers
from laneway.lanes.transport import Answer
from laneway.resilience.breaker import State
from laneway.resilience.pipeline import Pipelines
from laneway.service import Service
from laneway.settings import Settings
from laneway.store import Store, outbox
from laneway.telemetry import logs
from laneway.telemetry.admin import Health, serve_admin
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from laneway.v1 import system_pb2

if TYPE_CHECKING:
    from laneway.lanes.queue.delivery import Deliveries
    from laneway.lanes.queue.outages import Outages
    from laneway.lanes.queue.valkey import ValkeyBroker

log = logging.getLogger(__name__)

WAIT_FOR_DATABASE = 1.0
"""Seconds between looks at a database that is not ready yet."""

Factory = Callable[[Lanes], Service]

SERVICES = "laneway.services"
"""The entry-point group in which distributions name their services' factories."""

REGISTER_AGAIN = (0.2, 5.0)
"""Seconds between attempts to register with a producer that is away: the first pause, doubled up to the last."""


def factory_of(name: str) -> Factory:
    """The factory of an installed service.

    Raises:
        ConfigurationError: no such service is installed, or its module cannot be imported.
    """
    for entry in entry_points(group=SERVICES, name=name):
        try:
            factory: Factory = entry.load()
        except LanewayError:
            raise
        except Exception as error:
            raise _not_importable(name, entry, error) from error
        return factory
    known = ", ".join(sorted(entry_points(group=SERVICES).names)) or "none"
    raise ConfigurationError(
        f"There is no service `{name}`; installed are: {known}. "
        f"A distribution names its services in the entry-point group `{SERVICES}`."
    )


def _not_importable(name: str, entry: EntryPoint, error: Exception) -> ConfigurationError:
    frames = [each for each in extract_tb(error.__traceback__) if not each.filename.startswith("<frozen ")]
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 else ""
    cause = f"{type(error).__name__}: {error}".rstrip(".")
    return ConfigurationError(
        f"The service `{name}` cannot be loaded: importing `{entry.value}` fails with {cause}{place}; "
        "mend the module, or install what it needs."
    )


def run(name: str, role: str, settings: Settings) -> None:
    """Run one role of an installed service until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: the service, the role or its surroundings are not as they must be.
    """
    logs.configure(name, settings.log_format, settings.log_level)
    disable_created_metrics()  # type: ignore[no-untyped-call] # a second series for each counter, which nobody asks for
    factory = factory_of(name)
    if role == "worker":
        run_worker(name, factory, settings)
    elif role in ("rest", "grpc"):
        import uvloop

        uvloop.run(serve_rest(name, factory, settings) if role == "rest" else serve_grpc(name, factory, settings))
    else:
        raise ConfigurationError(f"There is no role `{role}`; the roles are rest, grpc and worker.")


def describe(name: str) -> Service:
    """An installed service as its author declared it, for reading only: its lanes lead nowhere."""
    return factory_of(name)(
        Lanes(_Nowhere(), pipelines=Pipelines(), tracing=Tracing(name, name, None), metrics=Metrics())
    )


class _Nowhere:
    """The transport of a service that is only looked at."""

    async def unary(self, method: Method, *_: object) -> Answer:
        raise FailedPrecondition(f"{method.full_name} was called in a service that does not run.")

    def stream(self, method: Method, *_: object) -> AsyncIterator[Message]:
        raise FailedPrecondition(f"{method.full_name} was called in a service that does not run.")

    async def close(self) -> None:
        """Nothing to close."""


@dataclass(frozen=True, slots=True)
class Process:
    """What every role of a service has."""

    service: Service
    settings: Settings
    tracing: Tracing
    metrics: Metrics
    tuning: Tuning
    health: Health
    lanes: Lanes
    pipelines: Pipelines


@asynccontextmanager
async def process(name: str, role: str, factory: Factory, settings: Settings) -> AsyncIterator[Process]:
    """Open what every role of a service needs; closes it at exit."""
    from laneway.lanes.grpc.channel import GrpcTransport
    from laneway.lanes.grpc.connections import Connections

    async with AsyncExitStack() as stack:
        tracing = Tracing.for_settings(name, settings)
        stack.callback(tracing.shutdown)
        metrics, health = Metrics(), Health(asyncio.get_running_loop())
        tuning = Tuning(settings.policy_folder, refused=metrics.policy_file, levels=logs.Levels().set)
        if settings.admin_port is not None:
            stack.enter_context(serve_admin(health, metrics.render, host=settings.host, port=settings.admin_port))
        transport = GrpcTransport(settings.target)
        stack.push_async_callback(transport.close)
        pipelines = Pipelines(listeners=[metrics.breaker_changed], refused=metrics.refused)
        lanes = Lanes(transport, pipelines=pipelines, tracing=tracing, metrics=metrics, tuning=tuning)
        metrics.registry.register(Connections())
        metrics.follow("laneway_process_info", lambda: [((name, role), 1.0)])
        _follow(metrics, pipelines)
        await stack.enter_async_context(running(tuning.keep()))
        service = factory(lanes)
        for method in (*service.contract, *service.exposed):
            tuning.of(method)  # a policy file that does not suit one of them ends the start
        transport.options = service.grpc
        yield Process(service, settings, tracing, metrics, tuning, health, lanes, pipelines)


def _follow(metrics: Metrics, pipelines: Pipelines) -> None:
    """Tell of breakers and budgets as they are when somebody asks."""
    levels = {State.CLOSED: 0.0, State.HALF_OPEN: 1.0, State.OPEN: 2.0}
    metrics.follow_by("laneway_breaker_state", lambda: {of: levels[it] for of, it in pipelines.states().items()})
    metrics.follow_by("laneway_retry_budget_tokens", lambda: {of: it.tokens for of, it in pipelines.budgets().items()})
    metrics.follow_by(
        "laneway_retry_budget_exhausted_total", lambda: {of: it.refusals for of, it in pipelines.budgets().items()}
    )


async def serve_rest(name: str, factory: Factory, settings: Settings) -> None:
    """The edge: REST in, gRPC out."""
    from laneway.lanes.rest.app import rest_app
    from laneway.lanes.rest.server import serve

    async with process(name, "rest", factory, settings) as own:
        if "rest" not in own.service.roles:
            raise ConfigurationError(f"`{name}` exposes nothing over REST; give it `expose` or `routers`.")
        app = rest_app(
            own.lanes,
            own.service.exposed,
            own.service.routers,
            tracing=own.tracing,
            metrics=own.metrics,
            title=name,
            options=own.service.edge,
            authenticate=own.service.authenticate,
        )
        await serve(
            app,
            host=settings.host,
            port=settings.rest_port,
            stopped=stop_signal(),
            grace=settings.grace_seconds,
            drain=settings.drain_seconds,
            health=own.health,
            options=own.service.edge,
        )


async def serve_grpc(name: str, factory: Factory, settings: Settings) -> None:
    """A service's server, with the relay of its outbox and the registration of its subscriptions."""
    from laneway.lanes.grpc.server import GrpcServer
    from laneway.lanes.queue.relay import Relay

    async with process(name, "grpc", factory, settings) as own, backend(own) as back:
        if "grpc" not in own.service.roles:
            raise ConfigurationError(f"`{name}` has no handlers; run its other roles: {', '.join(own.service.roles)}.")
        stopped = stop_signal()
        server = GrpcServer(back.dispatcher, host=settings.host, port=settings.grpc_port, options=own.service.grpc)
        await server.start()  # before the duties, which would only talk if it cannot
        duties = [register_all(own.service, own.lanes)]
        if back.store is not None and back.broker is not None and back.pressure is not None:
            relay = Relay(
                back.store,
                back.broker,
                service=name,
                holder=settings.instance,
                tracing=own.tracing,
                metrics=own.metrics,
                queues=own.service.queues,
                upcasters=own.service.upcasters,
                methods=own.service.contract,
                pressure=back.pressure,
            )
            retention = Retention(
                back.store, holder=settings.instance, keep_operations=settings.operations_keep_seconds
            )
            duties += [relay.run(), back.pressure.keep(), retention.run()]
            own.metrics.follow("laneway_outbox_messages", back.pressure.messages)
            own.metrics.follow("laneway_outbox_oldest_seconds", back.pressure.oldest)
            own.metrics.follow("laneway_outbox_full", back.pressure.full)
            if own.service.sagas:
                duties.append(_counting_sagas(own, back.store))
            duties += [projector.run() for projector in projectors(own.service, back.store, settings, own.metrics)]
        async with running(*duties):
            own.health.begin()
            log.info("serving", extra={"port": settings.grpc_port})
            await stopped.wait()
            own.health.end()
            await server.stop(settings.grace_seconds, drain=settings.drain_seconds)


def _counting_sagas(own: Process, store: Store) -> Coroutine[Any, Any, None]:
    census = Census(store, {kind.__name__: kind.stream("") for kind in own.service.sagas})
    own.metrics.follow("laneway_sagas_open", census.open)
    own.metrics.follow("laneway_sagas_silent_seconds", census.silent)
    return census.keep()


def run_worker(name: str, factory: Factory, settings: Settings) -> None:
    """Celery in the main thread, everything else on the one event loop in a thread of its own."""
    import uvloop

    from laneway.lanes.queue.hearing import Hearing
    from laneway.lanes.queue.worker import LoopThread, celery_app, report_capacity, run_celery

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
            deliver=lambda delivery: thread.submit(own.deliveries.run(delivery)).result(),
            outages=own.outages,
        )
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

        try:
            run_celery(
                app, slots=settings.worker_slots, name=settings.instance, consuming=consuming, stopping=stopping,
                outages=own.outages,
            )  # fmt: skip
        finally:
            thread.loop.call_soon_threadsafe(own.stopped.set)
            side.result()
    finally:
        thread.stop()


@dataclass(frozen=True, slots=True)
class Bench:
    """What a worker's pool threads hand their messages to. All of it belongs to the worker's loop."""

    methods: dict[str, Method]
    deliveries: "Deliveries"
    outages: "Outages"
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


async def worker_side(name: str, factory: Factory, settings: Settings, bench: "Future[Bench]") -> None:
    """The loop's side of a worker, from its opening until the bench is stopped."""
    from laneway.lanes.queue.delivery import Deliveries
    from laneway.lanes.queue.outages import Outages
    from laneway.lanes.queue.watch import Watch

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


def _worker_side_ended(ended: "Future[None]", bench: "Future[Bench]") -> None:
    error = ended.exception()
    if error is None:
        return
    if not bench.done():
        bench.set_exception(error)
    else:
        log.critical("the worker's loop has failed", exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Backend:
    """What carries a service's handlers: its dispatcher and, if it has a database, store and broker."""

    dispatcher: Dispatcher
    store: Store | None
    broker: "ValkeyBroker | None"
    pressure: Backpressure | None


@asynccontextmanager
async def backend(own: Process) -> AsyncIterator[Backend]:
    """Open the service's database and broker; closes them when what runs has committed."""
    async with AsyncExitStack() as stack:
        store, broker, publishing, pressure = None, None, None, None
        handlers, methods = dict(own.service.handlers), dict(own.service.contract.methods)
        if own.service.database:
            from laneway.lanes.queue.publisher import Publisher
            from laneway.lanes.queue.valkey import ValkeyBroker

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


def projectors(service: Service, store: Store, settings: Settings, metrics: Metrics) -> list[Projector]:
    """The keepers of a service's views."""
    return [
        Projector(store, projection, holder=settings.instance, metrics=metrics, upcasters=service.upcasters)
        for projection in service.projections
    ]


def _due_now(store: Store) -> Callable[[Sequence[str]], Awaitable[None]]:
    """What the queue's window refused is demand at once, not when the publisher's grace ends."""

    async def refused(ids: Sequence[str]) -> None:
        await store.commit([outbox.hasten(ids, time())])

    return refused


@asynccontextmanager
async def running(*duties: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Background duties of a process: cancelled at exit; one that fails ends the process.

    An error of the block or of a duty is raised as it is, not in the group that the tasks make of it.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(duty) for duty in duties]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def open_store(service: Service, settings: Settings) -> Store:
    """The service's database, whose schema must be of this code's version or the next; waits for it as set."""
    from laneway.store.migrations import check

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


def stop_signal() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    return stopped
