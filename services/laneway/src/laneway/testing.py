"""The same services in one process, for tests: real handlers, databases in memory, a broker in memory, a clock that
stands still until it is told.

    async with serve(orders.service, catalog.service) as world:
        orders = OrdersClient(world.lanes)
        order = await orders.place_order(PlaceOrderRequest(...))
        await world.settle()        # everything that is queued or subscribed, until nothing is left to do now
        world.clock.advance(900)    # what is delayed becomes due
        await world.settle()

Calls travel as bytes and obey their policy as they do over gRPC.
"""

from bisect import insort
from collections import defaultdict
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from operator import itemgetter

from google.protobuf.message import Message
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span

from laneway.call import Lane, Surroundings
from laneway.contract.model import Contract, Method
from laneway.errors import Unavailable
from laneway.history.projector import Projector
from laneway.history.sagas import SagaView
from laneway.lanes.dispatch import Arrival, Dispatcher
from laneway.lanes.everywhere import REGISTER
from laneway.lanes.outgoing import Lanes
from laneway.lanes.queue.broker import COPY_TTL, Outcome, Published, Report
from laneway.lanes.queue.delivery import Deliveries
from laneway.lanes.queue.envelope import Delivery, queue_of
from laneway.lanes.queue.relay import Relay
from laneway.lanes.queue.watch import Watch
from laneway.lanes.system import SystemHandlers
from laneway.lanes.transport import Answer
from laneway.resilience.pipeline import Pipelines
from laneway.scaling.wire import Demand
from laneway.service import Service
from laneway.store import Store
from laneway.store.outbox import OutboxMessage
from laneway.telemetry import names
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from laneway.v1 import system_pb2

ROUNDS = 1_000
"""Rounds of deliveries after which `settle` takes the services to be going in circles."""


@dataclass(slots=True)
class Clock:
    """Seconds, both since the epoch and monotonic, that pass only by `advance`."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@dataclass(slots=True)
class World:
    """Services that know each other."""

    lanes: Lanes
    clock: Clock
    spans: InMemorySpanExporter
    _hosts: dict[str, "_Host"] = field(default_factory=dict)
    _transport: "_LocalTransport" = field(default_factory=lambda: _LocalTransport())

    def store(self, service: str) -> Store:
        """The database of a service."""
        return self._hosts[service].store

    def stop(self, service: str) -> None:
        """From now on the service does not answer, and its workers take nothing."""
        self._transport.down.add(service)

    def resume(self, service: str) -> None:
        """The service is back."""
        self._transport.down.discard(service)

    async def settle(self) -> None:
        """Deliver what is published and due, and what follows from it, until nothing is left to do now."""
        for _ in range(ROUNDS):
            hosts = [host for name, host in self._hosts.items() if name not in self._transport.down]
            worked = [await host.work() for host in hosts]
            if not any(worked) and not any(host.waiting for host in hosts):
                return
        raise AssertionError(f"The services are still busy after {ROUNDS} rounds; do they start each other for ever?")


@asynccontextmanager
async def serve(*factories: Callable[[Lanes], Service], clock: Clock | None = None) -> AsyncIterator[World]:
    """Run services in this process; their databases and everything queued go when the block ends."""
    clock, spans, transport, broker = clock or Clock(), InMemorySpanExporter(), _LocalTransport(), _MemoryBroker()
    async with AsyncExitStack() as stack:
        world = World(_lanes("test", transport, spans, clock), clock, spans, _transport=transport)
        for factory in factories:
            host = await _Host.open(factory, transport, broker, spans, clock)
            stack.push_async_callback(host.close)
            transport.hosts[host.service.name] = world._hosts[host.service.name] = host
        for host in world._hosts.values():
            await host.subscribe(world._hosts)
        yield world


def _lanes(name: str, transport: "_LocalTransport", spans: InMemorySpanExporter, clock: Clock) -> Lanes:
    tracing = Tracing(name, name, spans)
    return Lanes(transport, pipelines=Pipelines(clock=clock), tracing=tracing, metrics=Metrics(), monotonic=clock)


class _LocalTransport:
    """Calls the dispatcher of the owner, by way of bytes."""

    def __init__(self) -> None:
        self.hosts: dict[str, _Host] = {}
        self.down: set[str] = set()

    async def unary(
        self, method: Method, request: Message, headers: Mapping[str, str], timeout: float | None
    ) -> Answer:
        host = self._host(method)
        arrival = Arrival(
            lane=Lane.GRPC,
            headers=headers,
            timeout=timeout,
            key=headers.get(names.IDEMPOTENCY_KEY),
            attempt=int(headers.get(names.ATTEMPT, 1)),
        )
        own = host.dispatcher.contract.methods[method.full_name]
        answer = await host.dispatcher.unary(own, method.input.FromString(request.SerializeToString()), arrival)
        message = method.output.FromString(answer.message.SerializeToString())
        return replace(answer, message=message)

    async def stream(
        self,
        method: Method,
        requests: Message | AsyncIterable[Message],
        headers: Mapping[str, str],
        timeout: float | None,
    ) -> AsyncIterator[Message]:
        arrival = Arrival(lane=Lane.GRPC, headers=headers, timeout=timeout)
        given = requests if isinstance(requests, Message) else aiter(requests)
        async with aclosing(self._host(method).dispatcher.stream(method, given, arrival)) as replies:
            async for reply in replies:
                yield method.output.FromString(reply.SerializeToString())

    async def close(self) -> None:
        """Nothing to close."""

    def _host(self, method: Method) -> "_Host":
        host = self.hosts.get(method.owner)
        if host is None or method.owner in self.down:
            raise Unavailable(f"{method.owner} cannot be reached.", reason="UNREACHABLE")
        return host


class _MemoryBroker:
    """A broker that forgets nothing and loses nothing; see `laneway.lanes.queue.broker.Broker`."""

    copy_ttl = COPY_TTL

    def __init__(self) -> None:
        self._queues: dict[str, list[tuple[int, Delivery]]] = defaultdict(list)
        self._copies: set[str] = set()
        self._started: dict[str, int] = defaultdict(int)
        self._ended: dict[str, int] = {}
        self._reports: dict[str, list[Report]] = defaultdict(list)

    async def publish(self, messages: Sequence[OutboxMessage], *, producer: str, now: float) -> list[Published]:
        return [self._push(message, producer, now) for message in messages]

    def _push(self, message: OutboxMessage, producer: str, now: float) -> Published:
        if message.id in self._copies:
            return Published.KNOWN
        self._copies.add(message.id)
        delivery = Delivery(
            id=message.id,
            method=message.method,
            payload=message.payload,
            producer=producer,
            attempt=message.attempts + 1,
            enqueued_at=now,
            start_by=message.start_by,
            headers=message.headers,
        )
        insort(self._queues[queue_of(message)], (message.priority, delivery), key=itemgetter(0))
        return Published.SENT

    def waits(self, queue: str) -> bool:
        """Whether there is a copy for a worker."""
        return bool(self._queues[queue])

    def take(self, queue: str) -> Delivery:
        """The next copy, as a worker takes it."""
        return self._queues[queue].pop(0)[1]

    async def room(self, queues: Sequence[str]) -> list[int]:
        """It takes everything."""
        return [ROUNDS for _ in queues]

    async def started(self, id: str, attempt: int, enqueued_at: float) -> int:  # noqa: ARG002 no copy is older
        if self._ended.get(id, 0) >= attempt:
            return 0
        self._started[id] += 1
        return self._started[id]

    async def refresh(self, ids: Sequence[str]) -> None:
        """Copies in memory do not expire."""

    async def report(self, producer: str, report: Report, *, enqueued_at: float) -> None:  # noqa: ARG002
        self._copies.discard(report.id)
        if report.outcome is Outcome.RETRY:
            self._ended[report.id] = report.attempt
        else:
            self._started.pop(report.id, None)
            self._ended.pop(report.id, None)
        self._reports[producer].append(report)

    async def forget(self, id: str) -> None:
        self._copies.discard(id)

    async def wake(self, service: str) -> None:
        """`settle` looks for itself."""

    async def tell(self, producer: str, demands: Mapping[str, Demand]) -> None:
        """In memory nobody scales."""

    @asynccontextmanager
    async def reports(self, service: str, *, wait: float) -> AsyncIterator[list[Report]]:  # noqa: ARG002 a port's
        told = list(self._reports[service])
        yield told
        del self._reports[service][: len(told)]


class _Publishing:
    """Hands committed messages to the broker at the next `settle`."""

    def __init__(self) -> None:
        self.offered: list[OutboxMessage] = []

    def offer(self, messages: Sequence[OutboxMessage], spans: Sequence[Span]) -> None:
        self.offered += messages
        for span in spans:
            span.end()

    def wake(self) -> None:
        """`settle` looks for itself."""


class _Host:
    """One service of a world."""

    def __init__(
        self, service: Service, store: Store, dispatcher: Dispatcher, relay: Relay, deliveries: Deliveries,
        broker: _MemoryBroker, publishing: _Publishing, clock: Clock, projectors: Sequence[Projector],
    ) -> None:  # fmt: skip
        self.service = service
        self.store = store
        self.dispatcher = dispatcher
        self._relay = relay
        self._deliveries = deliveries
        self._broker = broker
        self._publishing = publishing
        self._clock = clock
        self._projectors = projectors

    @classmethod
    async def open(
        cls,
        factory: Callable[[Lanes], Service],
        transport: _LocalTransport,
        broker: _MemoryBroker,
        spans: InMemorySpanExporter,
        clock: Clock,
    ) -> "_Host":
        service = factory(_lanes("service", transport, spans, clock))
        store = await Store.open("sqlite://", pool=1)
        if service.migrations is not None:
            await store.migrate(service.migrations, service.name)
        tracing, metrics, publishing = Tracing(service.name, "test", spans), Metrics(), _Publishing()
        system = SystemHandlers(service.name, service.contract, store, tracing, service.sagas)
        dispatcher = Dispatcher(
            Contract({**service.contract.methods, **system.methods}),
            {**service.handlers, **system.handlers},
            surroundings=Surroundings(
                store=store, tracing=tracing, wall_clock=clock, monotonic=clock, upcasters=service.upcasters
            ),
            metrics=metrics,
            publishing=publishing,
            authorize=service.admit,
        )
        relay = Relay(
            store, broker, service=service.name, holder="test", tracing=tracing, metrics=metrics, clock=clock,
            methods=service.contract, upcasters=service.upcasters,
        )  # fmt: skip
        projectors = [
            Projector(
                store,
                each,
                holder="test",
                metrics=metrics,
                upcasters=service.upcasters,
                clock=clock,
                tracing=None if isinstance(each, SagaView) else tracing,
            )
            for each in service.projections
        ]
        watch = Watch(store, clock)
        deliveries = Deliveries(dispatcher, broker, service.contract.methods, watch=watch, metrics=metrics, clock=clock)
        return cls(service, store, dispatcher, relay, deliveries, broker, publishing, clock, projectors)

    async def subscribe(self, hosts: Mapping[str, "_Host"]) -> None:
        """Register this service's subscriptions with the services that are there."""
        for method in self.service.contract:
            subscription, producer = method.policy.subscription, hosts.get(method.event_producer)
            if subscription is None or producer is None:
                continue
            request = system_pb2.RegisterRequest(
                method=method.full_name,
                service=self.service.name,
                queue=subscription.queue,
                event=method.input.DESCRIPTOR.full_name,
                from_start=subscription.from_start,
                order_by=subscription.order_by,
            )
            at = REGISTER.at(producer.service.name)
            await producer.dispatcher.unary(at, request, Arrival(lane=Lane.GRPC))

    async def work(self) -> bool:
        """One round: relay what was committed, run what was published; whether there was anything."""
        offered, self._publishing.offered = self._publishing.offered, []
        await self._broker.publish(offered, producer=self.service.name, now=self._clock())
        more = await self._relay.go_round()
        ran = False
        for queue in self.service.queues:
            while self._broker.waits(queue):
                ran = True
                await self._deliveries.run(self._broker.take(queue))
        for projector in self._projectors:
            while await projector.go_round():
                """A batch further."""
        return bool(offered or more or ran)

    @property
    def waiting(self) -> bool:
        """Whether copies wait for this service's workers."""
        return any(self._broker.waits(queue) for queue in self.service.queues)

    async def close(self) -> None:
        await self.dispatcher.close()
        await self.store.close()
