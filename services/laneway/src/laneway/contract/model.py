"""The methods of a contract, read from its descriptors and checked.

A mistake in a contract is a `ConfigurationError` with the place and the remedy. Must not know how calls travel.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import reduce
from typing import cast

from google.api import annotations_pb2
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from laneway.contract.layers import Layer, Origin, layers_of, policy_of, stated
from laneway.contract.policy import Fallback, Policy, QueueUse, Work
from laneway.contract.rules import Rules, rules_of
from laneway.errors import ConfigurationError
from laneway.v1 import call_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method of a contract, with the policy of its calls."""

    full_name: str
    name: str
    python_name: str
    service_name: str
    owner: str
    """The service that runs it: the package's component before the version."""
    input: type[Message]
    output: type[Message]
    client_streaming: bool
    server_streaming: bool
    safe: bool
    """The contract says that a repeated call changes nothing (`idempotency_level`)."""
    reads: bool
    """The contract says that the call changes nothing at all (`NO_SIDE_EFFECTS`)."""
    policy: Policy
    layers: tuple[Layer, ...] = field(repr=False, compare=False)
    """What the contract says of its calls, and where: what `policy` was made of."""
    http: tuple[HttpRule, ...]
    rules: Rules | None = field(compare=False)
    """What `check` holds a request to; None where the contract demands nothing."""

    @property
    def path(self) -> str:
        """The method's path in gRPC."""
        return f"/{self.service_name}/{self.name}"

    @property
    def streaming(self) -> bool:
        return self.client_streaming or self.server_streaming

    @property
    def work(self) -> Work | None:
        """How workers run it; None for a method that is only called."""
        return self.policy.work

    @property
    def queue_name(self) -> str:
        """The queue's name in the broker."""
        if self.work is None:
            raise LookupError(f"{self.full_name} has no queue")
        return f"{self.owner}.{self.work.queue}"

    @property
    def cpu_bound(self) -> bool:
        """Whether it runs in a process of its own."""
        return self.work is not None and self.work.cpu_bound

    @property
    def awaitable(self) -> bool:
        """Whether callers may wait for its answer."""
        only = self.policy.queue is not None and self.policy.queue.use is QueueUse.ONLY
        return not only and self.policy.subscription is None

    @property
    def repeatable(self) -> bool:
        """Whether a repeated call has one effect."""
        return self.safe or self.policy.idempotency is not None

    def declares(self, part: str) -> bool:
        """Whether the method itself, and not only a default, names a part of the policy."""
        return any(layer.says.HasField(part) for layer in self.layers if layer.origin is Origin.METHOD)

    def check(self, request: Message) -> None:
        """Hold a request to the contract's rules: before it is run, and before it is queued.

        Raises:
            InvalidArgument: it breaks one; the violations name the fields.
        """
        if self.rules is not None:
            self.rules.check(request)

    @property
    def event_producer(self) -> str:
        """The service that publishes the event a subscription listens to."""
        return owner_of(self.input.DESCRIPTOR.file.package)


@dataclass(frozen=True, slots=True)
class Contract:
    """A set of methods by full name."""

    methods: dict[str, Method] = field(default_factory=dict)

    @classmethod
    def of(cls, services: Iterable[ServiceDescriptor]) -> "Contract":
        """The contract that the descriptors of some services state.

        Raises:
            ConfigurationError: a method's policy contradicts itself or its messages.
        """
        methods = [method_of(method) for service in services for method in service.methods]
        refuse_mixed_queues(methods)
        return cls({method.full_name: method for method in methods})

    def __iter__(self) -> Iterator[Method]:
        return iter(self.methods.values())


def owner_of(package: str) -> str:
    """The service that owns a package: `shop.orders.v1` belongs to `orders`."""
    parts = [part for part in package.split(".") if not re.fullmatch(r"v\d+\w*", part)]
    return parts[-1] if parts else package


def python_name(name: str) -> str:
    """`SyncStock` → `sync_stock`, `GetHTTPRoute` → `get_http_route`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def descriptor_of(message: type[Message]) -> Descriptor:
    """A message class's descriptor; the stubs know two kinds of it, which are one."""
    return cast(Descriptor, message.DESCRIPTOR)


def published(event: Descriptor) -> bool:
    """Whether other services may subscribe to an event."""
    return bool(stated(event, call_pb2.event).published)


def method_of(descriptor: MethodDescriptor) -> Method:
    """Read and check one method.

    Raises:
        ConfigurationError: it contradicts itself or its messages.
    """
    method = declared(descriptor)
    for found in contradictions(method):
        raise ConfigurationError(f"{method.full_name}: {found.text}", reason=found.code)
    return method


def declared(descriptor: MethodDescriptor) -> Method:
    """Read one method as it is declared, whether or not that can be obeyed."""
    service = descriptor.containing_service
    options = descriptor.GetOptions()
    rule, layers = stated(descriptor, annotations_pb2.http), layers_of(descriptor)
    return Method(
        full_name=descriptor.full_name,
        name=descriptor.name,
        python_name=python_name(descriptor.name),
        service_name=service.full_name,
        owner=owner_of(service.file.package),
        input=GetMessageClass(descriptor.input_type),
        output=GetMessageClass(descriptor.output_type),
        client_streaming=descriptor.client_streaming,
        server_streaming=descriptor.server_streaming,
        safe=options.idempotency_level != options.IDEMPOTENCY_UNKNOWN,
        reads=options.idempotency_level == options.NO_SIDE_EFFECTS,
        policy=policy_of(layers),
        layers=layers,
        http=(rule, *rule.additional_bindings) if rule.WhichOneof("pattern") else (),
        rules=rules_of(descriptor.input_type),
    )


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Why a method cannot be obeyed, and what to do; the code is the lint rule's that finds it earlier."""

    code: str
    why: str
    remedy: str

    @property
    def text(self) -> str:
        return f"{self.why}; {self.remedy}." if self.remedy else f"{self.why}."


def refuse_mixed_queues(methods: Iterable[Method]) -> None:
    """Make sure that methods of one queue agree on who runs it.

    Raises:
        ConfigurationError: they do not.
    """
    for method, found in mixed_queues(methods):
        raise ConfigurationError(f"{method.full_name}: {found.text}", reason=found.code)


def mixed_queues(methods: Iterable[Method]) -> Iterator[tuple[Method, Contradiction]]:
    """Methods that are not `cpu_bound`, in a queue of which another says that it is: one kind of worker consumes it."""
    queued = [method for method in methods if method.work is not None]
    bound = {method.queue_name: method for method in queued if method.cpu_bound}
    for method in queued:
        other = bound.get(method.queue_name)
        if other is not None and not method.cpu_bound:
            why = f"its queue `{method.queue_name}` is cpu_bound for {other.full_name}, and not for it"
            remedy = "set `cpu_bound: true` on both, or give one of them a queue of another name"
            yield method, Contradiction("QUEUE_MIXED", why, remedy)


_QUEUE_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


def contradictions(method: Method) -> Iterator[Contradiction]:
    """What cannot be obeyed: in its numbers, among its lanes, and in what it names of its messages."""
    for problem in method.policy.problems():
        why, _, remedy = problem.rstrip(".").partition("; ")
        yield Contradiction("VALUE_OUT_OF_RANGE", why, remedy)
    yield from _of_its_queue(method)
    if method.policy.subscription:
        yield from _of_its_subscription(method)
    if method.policy.idempotency:
        yield from _of_its_key(method, method.policy.idempotency.key)
    if method.policy.fallback:
        yield from _of_its_fallback(method, method.policy.fallback)


def _of_its_queue(method: Method) -> Iterator[Contradiction]:
    if method.work is not None and not _QUEUE_NAME.fullmatch(method.work.queue):
        yield Contradiction(
            "QUEUE_NAME",
            f"the queue's name `{method.work.queue}` becomes part of keys, of a Deployment's name and of labels",
            "use up to 40 lower-case letters, digits and inner hyphens",
        )
    if method.policy.queue and method.policy.subscription:
        yield Contradiction("QUEUE_AND_SUBSCRIBE", "a subscription cannot be started", "remove `queue` or `subscribe`")
    if method.work and method.streaming:
        yield Contradiction(
            "QUEUE_ON_STREAM", "a stream cannot be queued", "remove `queue`/`subscribe`, or make the method unary"
        )
    if method.policy.queue and not method.repeatable:
        yield Contradiction(
            "QUEUE_NOT_IDEMPOTENT",
            "a queued call is delivered at least once",
            "declare `idempotency {}` or an idempotency_level",
        )
    order_by = method.work.order_by if method.work else None
    problem = path_problem(descriptor_of(method.input), order_by) if order_by is not None else None
    if problem:
        part = "queue" if method.policy.queue else "subscribe"
        remedy = "name a single string field of the request"
        yield Contradiction("ORDER_FIELD", f"{part}.order_by `{order_by}`: {problem}", remedy)


def _of_its_subscription(method: Method) -> Iterator[Contradiction]:
    if not published(descriptor_of(method.input)):
        yield Contradiction(
            "SUBSCRIBE_UNPUBLISHED",
            f"{method.input.DESCRIPTOR.full_name} is not published",
            "set `option (laneway.v1.event) = {published: true}` on it",
        )
    if method.output.DESCRIPTOR.full_name != Empty.DESCRIPTOR.full_name:
        yield Contradiction(
            "SUBSCRIBE_RETURNS", "nobody waits for a subscription", "let it return google.protobuf.Empty"
        )
    if method.http:
        yield Contradiction("SUBSCRIBE_HTTP", "a subscription cannot be called", "remove its google.api.http")


def _of_its_key(method: Method, path: str | None) -> Iterator[Contradiction]:
    if method.streaming:
        yield Contradiction("KEY_ON_STREAM", "idempotency of streams is not supported", "remove `idempotency`")
    problem = path_problem(descriptor_of(method.input), path) if path else None
    if problem:
        yield Contradiction(
            "KEY_FIELD", f"idempotency.key `{path}`: {problem}", "name a single string field of the request"
        )


def path_problem(message: Descriptor, path: str) -> str | None:
    """Why a path leads to no single string of a message."""
    *parents, last = path.split(".")
    for name in parents:
        found = message.fields_by_name.get(name)
        if found is None:
            return f"{message.full_name} has no field `{name}`"
        if found.message_type is None or found.is_repeated:
            return f"`{name}` is not a single message"
        message = found.message_type
    found = message.fields_by_name.get(last)
    if found is None:
        return f"{message.full_name} has no field `{last}`"
    if found.type != FieldDescriptor.TYPE_STRING or found.is_repeated:
        return f"`{last}` is not a single string"
    return None


def _of_its_fallback(method: Method, fallback: Fallback) -> Iterator[Contradiction]:
    if method.streaming:
        yield Contradiction("FALLBACK_ON_STREAM", "a stream has no fallback", "remove `fallback`")
    if fallback.last_good is not None and not method.reads:
        yield Contradiction(
            "FALLBACK_LAST_GOOD_OF_WRITE",
            "fallback.last_good needs `idempotency_level = NO_SIDE_EFFECTS`",
            "declare it, or fall back to the queue, as a write may",
        )
    if fallback.queue and (method.policy.queue is None or not method.awaitable):
        yield Contradiction(
            "FALLBACK_QUEUE_UNQUEUED",
            "fallback.queue needs a method that can be awaited and queued",
            "declare `queue {use: ALLOWED}`",
        )


def read_path(message: Message, path: str) -> str:
    """The string at a checked field path."""
    return str(reduce(getattr, path.split("."), message))


def write_path(message: Message, path: str, value: str) -> None:
    """Set the string at a checked field path."""
    *parents, last = path.split(".")
    setattr(reduce(getattr, parents, message), last, value)
