"""The system services that every service answers besides its own contract.

`laneway.v1.Acceptor` takes queued calls for callers without a database, `laneway.v1.Subscriptions` registers
subscribers of the service's events, `laneway.v1.Outbox` tells consumers what they may forget,
`google.longrunning.Operations` (`operations.py`) tells how queued calls stand, `laneway.v1.Sagas` lets a saga that got
stuck act again.
"""

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from google.longrunning import operations_pb2
from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError, Message
from opentelemetry.trace import SpanKind

from laneway.call import Call
from laneway.contract.model import Contract, Method, owner_of, path_problem, published
from laneway.contract.policy import Priority
from laneway.domain.saga import Action, Saga
from laneway.errors import InvalidArgument, NotFound
from laneway.lanes.everywhere import ALL, HOLDS, REGISTER, RESUME, START, UNWANTED
from laneway.lanes.operation import Timing, caller_of, operation_name, queued
from laneway.lanes.operations import OperationHandlers
from laneway.store import Store, operations, outbox, subscriptions
from laneway.telemetry import names
from laneway.telemetry.tracing import Tracing
from laneway.v1 import call_pb2, saga_pb2, system_pb2

MOST_IDS = 1_000
"""Messages that may be asked about at once."""

Act = Callable[[Any, Action], Awaitable[None]]
"""How a service does what a saga of its says."""


def start_request(method: Method, request: Message, when: Timing) -> system_pb2.StartRequest:
    """A queued call, as its owner is asked to accept it."""
    start = system_pb2.StartRequest(method=method.full_name, payload=request.SerializeToString())
    if when.at is not None:
        start.at.FromNanoseconds(round(when.at * 1e9))
    if when.after:
        start.after.FromNanoseconds(round(when.after * 1e9))
    if when.priority is not None:
        start.priority = _NUMBERS[when.priority]
    return start


_NUMBERS = {
    Priority.HIGH: call_pb2.Queue.HIGH,
    Priority.NORMAL: call_pb2.Queue.NORMAL,
    Priority.LOW: call_pb2.Queue.LOW,
}
_PRIORITIES = {number: priority for priority, number in _NUMBERS.items()}


def _timing(request: system_pb2.StartRequest) -> Timing:
    after = request.after.ToNanoseconds() / 1e9
    if after < 0:
        raise InvalidArgument(f"after is {after:g} s; a start cannot lie before now.")
    try:
        at = request.at.ToNanoseconds() / 1e9 if request.HasField("at") else None
    except ValueError as error:
        raise InvalidArgument(f"at is no moment of the years 1 to 9999: {error}") from None
    if request.priority and request.priority not in _PRIORITIES:
        raise InvalidArgument(f"priority is {request.priority}; it is HIGH, NORMAL or LOW, or not set.")
    return Timing(at=at, after=after, priority=_PRIORITIES.get(request.priority))


class SystemHandlers:
    """Answers the system methods for one service with a database."""

    def __init__(
        self,
        service: str,
        contract: Contract,
        store: Store,
        tracing: Tracing,
        sagas: Mapping[type[Saga], Act] = MappingProxyType({}),
    ) -> None:
        self._service = service
        self._contract = contract
        self._store = store
        self._tracing = tracing
        self._sagas = sagas

    @property
    def handlers(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """The handlers by the methods' full names."""
        return {
            START.method.full_name: self.start,
            UNWANTED.method.full_name: self.unwanted,
            REGISTER.method.full_name: self.register,
            HOLDS.method.full_name: self.holds,
            RESUME.method.full_name: self.resume_saga,
            **OperationHandlers(self._service, self._store).handlers,
        }

    @property
    def methods(self) -> dict[str, Method]:
        return {system.method.full_name: system.at(self._service) for system in ALL}

    async def start(self, request: system_pb2.StartRequest, call: Call) -> operations_pb2.Operation:
        """Accept a queued call: its operation and its message, in one transaction."""
        method = self._contract.methods.get(request.method)
        if method is None or method.policy.queue is None:
            raise InvalidArgument(f"{self._service} has no queued method {request.method}; check the contract.")
        try:
            payload = method.input.FromString(request.payload)
        except DecodeError:
            raise InvalidArgument(f"The payload is not a {method.input.DESCRIPTOR.full_name}.") from None
        method.check(payload)
        operation = str(uuid.uuid4())
        span = self._tracing.start_span(
            names.publish_span(method.queue_name),
            SpanKind.PRODUCER,
            names.messaging(method.queue_name, operation, "send"),
        )
        headers = {**call.identity.headers, **({names.IDEMPOTENCY_KEY: call.facts.key} if call.facts.key else {})}
        self._tracing.inject(headers, span)
        when = _timing(request)
        message = queued(method, payload, operation, headers, call.now(), when)
        call.execute_write(
            operations.create(
                operation,
                method.full_name,
                now=call.now(),
                caller=caller_of(call.identity),
                start_by=message.start_by,
            )
        )
        collect = call.start if when.is_now and message.order_key is None else call.start_later
        collect(message, span)
        return operations_pb2.Operation(name=operation_name(self._service, operation))

    async def unwanted(self, request: system_pb2.UnwantedRequest, _: Call) -> system_pb2.UnwantedResponse:
        """Which of some calls are to be cancelled, and by whose word."""
        _refuse_many(request.ids)
        found = await operations.unwanted(self._store, request.ids)
        wishes = [
            system_pb2.UnwantedResponse.Wish(id=id, tenant=by.tenant, principal=by.principal)
            for id, by in found.items()
        ]
        return system_pb2.UnwantedResponse(wishes=wishes)

    async def register(self, request: system_pb2.RegisterRequest, call: Call) -> system_pb2.RegisterResponse:
        """Register a subscription; it exists already after the first time."""
        _refuse_nobody(request)
        self._refuse_what_nobody_may_hear(request.event, request.order_by)
        call.execute_write(
            subscriptions.register(
                request.method,
                service=request.service,
                queue=request.queue,
                event_type=request.event,
                from_start=request.from_start,
                now=call.now(),
                order_by=request.order_by or None,
            )
        )
        return system_pb2.RegisterResponse()

    async def holds(self, request: system_pb2.HoldsRequest, _: Call) -> system_pb2.HoldsResponse:
        """Which of some messages this service may still deliver."""
        _refuse_many(request.ids)
        return system_pb2.HoldsResponse(ids=await outbox.held(self._store, request.ids))

    def _refuse_what_nobody_may_hear(self, event: str, order_by: str) -> None:
        try:
            descriptor = descriptor_pool.Default().FindMessageTypeByName(event)
        except KeyError:
            raise InvalidArgument(f"{self._service} knows no event {event}.", reason="EVENT_UNKNOWN") from None
        if owner_of(descriptor.file.package) != self._service or not published(descriptor):
            raise InvalidArgument(
                f"{event} is not an event that {self._service} publishes; subscribe to one that is `published`.",
                reason="EVENT_NOT_PUBLISHED",
            )
        if order_by and (problem := path_problem(descriptor, order_by)):
            raise InvalidArgument(f"order_by `{order_by}`: {problem}.", reason="ORDER_UNKNOWN")

    async def resume_saga(self, request: saga_pb2.ResumeSagaRequest, call: Call) -> saga_pb2.ResumeSagaResponse:
        """Do once more what a saga says is due."""
        kind, id = self._saga(request.stream)
        saga = await call.load(kind, id)
        if not saga.exists:
            raise NotFound(f"{self._service} has no saga {request.stream}.", reason="NO_SAGA")
        due = saga.resume()
        for action in due:
            await self._sagas[kind](saga, action)
        call.save(saga)
        return saga_pb2.ResumeSagaResponse(actions=[action.name for action in due])

    def _saga(self, stream: str) -> tuple[type[Saga], str]:
        for kind in self._sagas:
            if stream.startswith(kind.stream("")):
                return kind, stream.removeprefix(kind.stream(""))
        known = ", ".join(f"{kind.stream('')}…" for kind in self._sagas) or "none"
        raise InvalidArgument(f"{self._service} has no sagas whose stream is like {stream}; it has: {known}.")


def _refuse_nobody(request: system_pb2.RegisterRequest) -> None:
    """Deliveries to no service would be taken for tasks of a plain application, which they are not."""
    if unsaid := [name for name in ("method", "service", "queue") if not getattr(request, name)]:
        raise InvalidArgument(
            f"A subscription says whose it is; give its {', '.join(unsaid)}.", reason="SUBSCRIBER_UNKNOWN"
        )


def _refuse_many(ids: Sequence[str]) -> None:
    if len(ids) > MOST_IDS:
        raise InvalidArgument(f"These are {len(ids)} ids; ask about {MOST_IDS} at most.")
