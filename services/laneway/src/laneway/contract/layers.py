"""Where a policy comes from: the contract's layers method › service › file › built-in, and the deployment's over them.

A layer is a message of the vocabulary. Laying them over each other walks the vocabulary's descriptor, so that a field
which is added there has its precedence, its origin and its place in the policy without a line here.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from laneway.contract.policy import (
    FALLBACK_RESERVE,
    Breaker,
    BreakerMode,
    Fallback,
    Idempotency,
    Limit,
    Policy,
    Priority,
    Queue,
    QueueUse,
    Retry,
    Subscription,
)
from laneway.contract.schedule import Missed, Schedule
from laneway.v1 import call_pb2


class Origin(Enum):
    """Who says something of a method's calls; each says it over those before."""

    BUILT_IN = "built-in"
    FILE = "file"
    SERVICE = "service"
    METHOD = "method"
    DEPLOYMENT = "deployment"
    CALL_SITE = "call site"


@dataclass(frozen=True, slots=True)
class Layer:
    """What is said in one place, which is named as people know it."""

    origin: Origin
    place: str
    says: call_pb2.CallPolicy


@dataclass(frozen=True, slots=True)
class Setting:
    """The value in force of one field of the vocabulary, and the layers that say it: several, where they add up."""

    value: Any
    layers: tuple[Layer, ...]


def layers_of(method: MethodDescriptor) -> tuple[Layer, ...]:
    """What a contract says of a method, the built-in first."""
    service = method.containing_service
    return (
        BUILT_IN,
        Layer(Origin.FILE, service.file.name, stated(service.file, call_pb2.file_defaults)),
        Layer(Origin.SERVICE, service.full_name, stated(service, call_pb2.service_defaults)),
        Layer(Origin.METHOD, method.full_name, stated(method, call_pb2.call)),
    )


def settings_of(layers: Iterable[Layer]) -> dict[str, Setting]:
    """What is in force by path (`retry.max_attempts`); a part that the method does not declare has none."""
    found: dict[str, Setting] = {}
    declared: set[str] = set()
    for layer in layers:
        if layer.origin is Origin.METHOD:
            declared = {field.name for field, _ in layer.says.ListFields()}
        for path, field, value in _said(layer.says):
            known = found.get(path)
            if field.is_repeated and known is not None:
                found[path] = Setting((*known.value, *value), (*known.layers, layer))
            else:
                found[path] = Setting(value, (layer,))
    away = DECLARED - declared
    return _capped({path: setting for path, setting in found.items() if path.partition(".")[0] not in away})


def policy_of(layers: Iterable[Layer]) -> Policy:
    """The policy that some layers make."""
    layers = tuple(layers)
    values = _values(Policy, "", settings_of(layers))
    lists = {name: frozenset(values.get(name) or ()) for name in ("errors", "calls")}
    return Policy(**{**values, **lists, "group": values.get("group") or None})


def built_in() -> Policy:
    """The policy of a queued and subscribed method of which the contract says nothing else."""
    return policy_of([BUILT_IN, QUEUED_AND_SUBSCRIBED])


def stated(described: Any, option: Any) -> Any:
    """What an option of our vocabulary says on a descriptor; its type is the option's, which no stub knows."""
    return described.GetOptions().Extensions[option]


def is_part(field: FieldDescriptor) -> bool:
    """Whether a field of the vocabulary holds fields of it, each with an origin of its own."""
    own = field.message_type is not None and field.message_type.file.package == call_pb2.DESCRIPTOR.package
    return own and not field.is_repeated


def knobs() -> Iterator[tuple[str, FieldDescriptor]]:
    """Every field of the vocabulary that holds a value, by its path."""
    return _knobs(cast(Descriptor, call_pb2.CallPolicy.DESCRIPTOR), "")


def _knobs(descriptor: Descriptor, prefix: str) -> Iterator[tuple[str, FieldDescriptor]]:
    for field in descriptor.fields:
        if is_part(field):
            yield from _knobs(cast(Descriptor, field.message_type), f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", field


def _capped(settings: dict[str, Setting]) -> dict[str, Setting]:
    """A deployment's deadline goes no higher than the owner's ceiling; a contract's that does is a mistake in it."""
    deadline, ceiling = settings.get("deadline"), settings.get("max_deadline")
    if deadline and ceiling and deadline.layers[-1].origin is Origin.DEPLOYMENT and deadline.value > ceiling.value:
        settings["deadline"] = ceiling
    return settings


def _said(message: Message, prefix: str = "") -> Iterator[tuple[str, FieldDescriptor, Any]]:
    """The values that a layer sets; an explicit zero is one, an unspecified enum is none."""
    for field, given in message.ListFields():
        path = f"{prefix}{field.name}"
        if is_part(field):
            yield from _said(given, f"{path}.")
        elif field.enum_type is None:
            yield path, field, _plain(field, given)
        elif (chosen := field.enum_type.values_by_number.get(given)) is not None and given:
            yield path, field, _ENUMS[field.enum_type.full_name][chosen.name]


def _plain(field: FieldDescriptor, given: Any) -> Any:
    if isinstance(given, Duration):
        return given.ToNanoseconds() / 1e9
    return tuple(given) if field.is_repeated else given


def _values(part: type[Any], prefix: str, settings: dict[str, Setting]) -> dict[str, Any]:
    """The attributes of a part; one that nobody says has its own default, or is None."""
    values = {}
    for attribute in dataclasses.fields(part):
        field = _FIELDS.get(f"{prefix}{attribute.name}", attribute.name)
        value = _value(f"{prefix}{field}", settings)
        if value is not None or attribute.default is dataclasses.MISSING:
            values[attribute.name] = value
    return values


def _value(path: str, settings: dict[str, Setting]) -> Any:
    part = _PARTS.get(path)
    if part is None:
        return settings[path].value if path in settings else None
    said = any(known.startswith(f"{path}.") for known in settings)
    return part(**_values(part, f"{path}.", settings)) if said else None


_PARTS: dict[str, type[Any]] = {
    "idempotency": Idempotency,
    "retry": Retry,
    "limit": Limit,
    "breaker": Breaker,
    "fallback": Fallback,
    "queue": Queue,
    "queue.schedule": Schedule,
    "subscribe": Subscription,
}
_FIELDS = {"subscription": "subscribe", "queue.queue": "name"}
"""Attributes of the policy whose field in the vocabulary has another name."""

_ENUMS: dict[str, type[Enum]] = {
    call_pb2.Queue.Use.DESCRIPTOR.full_name: QueueUse,
    call_pb2.Queue.Priority.DESCRIPTOR.full_name: Priority,
    call_pb2.Schedule.Missed.DESCRIPTOR.full_name: Missed,
    call_pb2.Breaker.Mode.DESCRIPTOR.full_name: BreakerMode,
}

DECLARED = frozenset({"idempotency", "fallback", "queue", "subscribe"})
"""Parts that a method has only if it names them itself; other layers say with what values."""


def _seconds(value: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(value * 1e9))
    return duration


BUILT_IN = Layer(
    Origin.BUILT_IN,
    "laneway",
    call_pb2.CallPolicy(
        deadline=_seconds(10),
        idle_timeout=_seconds(300),
        idempotency=call_pb2.Idempotency(
            keep=_seconds(86_400), required=False, exclusive=False, lease=_seconds(30), max_reply_bytes=65_536
        ),
        retry=call_pb2.Retry(max_attempts=3, initial_backoff=_seconds(0.1), max_backoff=_seconds(1), budget=0.1),
        limit=call_pb2.Limit(max_concurrent=256, max_waiting=256),
        breaker=call_pb2.Breaker(
            failure_rate=0.5,
            minimum_calls=20,
            window=100,
            consecutive_failures=5,
            open_time=_seconds(1),
            half_open_calls=2,
            window_time=_seconds(0),
            slow_call_rate=1.0,
            slow_call_duration=_seconds(0),
            mode=call_pb2.Breaker.AUTOMATIC,
        ),
        fallback=call_pb2.Fallback(queue=False, reserve=_seconds(FALLBACK_RESERVE)),
        queue=call_pb2.Queue(
            use=call_pb2.Queue.ALLOWED,
            name="default",
            run_timeout=_seconds(60),
            max_attempts=8,
            initial_backoff=_seconds(1),
            max_backoff=_seconds(300),
            priority=call_pb2.Queue.NORMAL,
            cpu_bound=False,
        ),
        subscribe=call_pb2.Subscribe(
            queue="events",
            from_start=False,
            run_timeout=_seconds(60),
            max_attempts=16,
            initial_backoff=_seconds(0.5),
            max_backoff=_seconds(300),
            cpu_bound=False,
        ),
    ),
)
QUEUED_AND_SUBSCRIBED = Layer(
    Origin.METHOD, "any", call_pb2.CallPolicy(queue=call_pb2.Queue(), subscribe=call_pb2.Subscribe())
)
