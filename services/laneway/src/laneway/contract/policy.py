"""The policy of a method: what its contract says, resolved over the layers method › service › file › built-in.

All durations are seconds. This module must not know how a policy is obeyed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from laneway.v1 import call_pb2

LARGEST_REPLY = 1024 * 1024
"""Bytes of a reply that is kept for replay: it is a row of each call's transaction."""


class QueueUse(Enum):
    """Whether a call may be awaited as well as started."""

    ALLOWED = "allowed"
    ONLY = "only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Idempotency:
    """One effect per key. `key` is the request's field that holds it, if any; `keep` counts from completion.

    A reply is kept for replay, and is no larger than `max_reply_bytes`.
    """

    key: str | None
    keep: float
    required: bool
    exclusive: bool
    lease: float
    max_reply_bytes: int = 65_536

    def problems(self) -> Iterator[str]:
        """What cannot be obeyed."""
        yield from _outside(self, keep=_SHORTEST, lease=_SHORTEST, max_reply_bytes=1)
        if self.max_reply_bytes > LARGEST_REPLY:
            yield (
                f"max_reply_bytes is {self.max_reply_bytes}; a reply that is kept has at most {LARGEST_REPLY}: "
                "keep what is larger elsewhere, and reply with its name."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often a caller tries, the first attempt included, and how long it waits in between.

    Retries stay below the share `budget` of the first attempts.
    """

    max_attempts: int
    initial_backoff: float
    max_backoff: float
    budget: float = 0.1

    def problems(self) -> Iterator[str]:
        """What cannot be obeyed."""
        yield from _outside(self, max_attempts=1, initial_backoff=0, max_backoff=0, budget=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How many calls run at a time (zero: any number), and how many may wait for their turn."""

    max_concurrent: int
    max_waiting: int

    def problems(self) -> Iterator[str]:
        """What cannot be obeyed."""
        yield from _outside(self, max_concurrent=0, max_waiting=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """What stands in for an answer: the last good one, `last_good` seconds old at most, or the queued call.

    Attempts leave it `reserve` seconds before the deadline.
    """

    last_good: float | None
    queue: bool
    reserve: float

    def problems(self) -> Iterator[str]:
        """What cannot be obeyed."""
        yield from _outside(self, reserve=0)
        if self.last_good is not None:
            yield from _outside(self, last_good=_SHORTEST)
        if (self.last_good is not None) == self.queue:
            yield "last_good or queue is needed, and not both: the one is for reads, the other for writes."


class BreakerMode(Enum):
    """What a breaker does about what it counts."""

    AUTOMATIC = "automatic"
    FORCED_OPEN = "forced_open"
    FORCED_CLOSED = "forced_closed"
    OBSERVE_ONLY = "observe_only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """When a caller stops calling: see `laneway.resilience.breaker`.

    Attributes:
        failure_rate: share of failures in the window at which it opens; `slow_call_rate` likewise of slow calls.
        minimum_calls: fewer calls than this in the window say nothing.
        window: how many of the last calls count, if `window_time` is zero.
        window_time: the calls of this last time count, if not zero.
        slow_call_duration: from this long on a call counts as slow; zero: none does.
        consecutive_failures: so many in a row open it at once; zero: the row does not count.
        open_time: how long it stays open the first time.
        half_open_calls: permitted calls in half-open.
    """

    failure_rate: float
    minimum_calls: int
    window: int
    consecutive_failures: int
    open_time: float
    half_open_calls: int
    window_time: float = 0.0
    slow_call_rate: float = 1.0
    slow_call_duration: float = 0.0
    mode: BreakerMode = BreakerMode.AUTOMATIC

    def problems(self) -> Iterator[str]:
        """What cannot be obeyed."""
        yield from _outside(
            self,
            window=1,
            half_open_calls=1,
            minimum_calls=0,
            consecutive_failures=0,
            open_time=_SHORTEST,
            window_time=0,
            slow_call_duration=0,
        )
        for name in ("failure_rate", "slow_call_rate"):
            if not 0 < getattr(self, name) <= 1:
                yield f"{name} is {getattr(self, name):g}; it must be above 0 and at most 1."


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How a worker runs the messages of a queue."""

    queue: str
    run_timeout: float
    max_attempts: int
    initial_backoff: float
    max_backoff: float

    def problems(self) -> Iterator[str]:
        """What cannot be obeyed."""
        yield from _outside(self, run_timeout=_SHORTEST, max_attempts=1, initial_backoff=0, max_backoff=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue(Work):
    """The method can be started."""

    use: QueueUse
    start_within: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription(Work):
    """The method runs for each event of its request's type."""

    from_start: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the contract says of one method's calls.

    `max_deadline` is the owner's ceiling, which no tuning raises; without it, `deadline` is the callers' ceiling.
    """

    deadline: float
    idempotency: Idempotency | None
    retry: Retry
    breaker: Breaker
    queue: Queue | None
    subscription: Subscription | None
    errors: frozenset[str]
    limit: Limit = Limit(max_concurrent=0, max_waiting=0)
    attempt_timeout: float | None = None
    fallback: Fallback | None = None
    max_deadline: float | None = None
    group: str | None = None

    def granted(self, asked: float | None) -> float:
        """The seconds of a call whose caller asked for some, or for nothing."""
        if asked is None:
            return self.deadline
        return min(asked, self.deadline if self.max_deadline is None else self.max_deadline)

    @property
    def work(self) -> Work | None:
        """How workers run it; None for a method that is only called."""
        return self.queue or self.subscription

    def problems(self) -> Iterator[str]:
        """What cannot be obeyed: each a path in the policy, its value and its range."""
        yield from _outside(self, deadline=_SHORTEST)
        if self.max_deadline is not None and self.max_deadline < self.deadline:
            yield f"max_deadline is {self.max_deadline:g}; it must be at least the deadline, {self.deadline:g}."
        if self.attempt_timeout is not None:
            yield from _outside(self, attempt_timeout=_SHORTEST)
        if self.fallback is not None and self.fallback.reserve >= self.deadline:
            yield f"fallback.reserve is {self.fallback.reserve:g}; it must leave time to call before the deadline."
        for name in ("idempotency", "retry", "limit", "breaker", "fallback", "queue", "subscription"):
            part: Idempotency | Retry | Limit | Breaker | Fallback | Work | None = getattr(self, name)
            if part is not None:
                yield from (f"{name}.{problem}" for problem in part.problems())


_SHORTEST = 0.001
"""Seconds: the shortest time that means anything here."""


def _outside(value: object, **lowest: float) -> Iterator[str]:
    for name, limit in lowest.items():
        found = getattr(value, name)
        if found < limit:
            yield f"{name} is {found:g}; it must be at least {limit:g}."


def _seconds(value: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(value * 1e9))
    return duration


M = TypeVar("M", bound=Message)

FALLBACK_RESERVE = 0.1
"""Seconds before the deadline that attempts leave to a fallback which says nothing of it."""

BUILT_IN = call_pb2.CallPolicy(
    deadline=_seconds(10),
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
)
_IDEMPOTENCY = call_pb2.Idempotency(
    keep=_seconds(86_400), required=False, exclusive=False, lease=_seconds(30), max_reply_bytes=65_536
)
_FALLBACK = call_pb2.Fallback(queue=False, reserve=_seconds(FALLBACK_RESERVE))
_QUEUE = call_pb2.Queue(
    name="default",
    run_timeout=_seconds(60),
    max_attempts=8,
    initial_backoff=_seconds(1),
    max_backoff=_seconds(300),
)
_SUBSCRIBE = call_pb2.Subscribe(
    queue="events",
    from_start=False,
    run_timeout=_seconds(60),
    max_attempts=16,
    initial_backoff=_seconds(0.5),
    max_backoff=_seconds(300),
)


def resolve(method: MethodDescriptor) -> Policy:
    """The effective policy of a method."""
    service = method.containing_service
    own = stated(method, call_pb2.call)
    merged = call_pb2.CallPolicy()
    for layer in (
        BUILT_IN,
        stated(service.file, call_pb2.file_defaults),
        stated(service, call_pb2.service_defaults),
        own,
    ):
        _override(merged, layer)
    return _policy(merged, own)


def built_in() -> Policy:
    """The policy of a queued and subscribed method of which the contract says nothing else."""
    return _policy(BUILT_IN, call_pb2.CallPolicy(queue=_QUEUE, subscribe=_SUBSCRIBE))


def _policy(merged: call_pb2.CallPolicy, own: call_pb2.CallPolicy) -> Policy:
    return Policy(
        deadline=merged.deadline.ToNanoseconds() / 1e9,
        idempotency=_idempotency(merged) if own.HasField("idempotency") else None,
        retry=Retry(
            max_attempts=merged.retry.max_attempts,
            initial_backoff=_of(merged.retry.initial_backoff),
            max_backoff=_of(merged.retry.max_backoff),
            budget=merged.retry.budget,
        ),
        limit=Limit(max_concurrent=merged.limit.max_concurrent, max_waiting=merged.limit.max_waiting),
        attempt_timeout=_of(merged.attempt_timeout) if merged.HasField("attempt_timeout") else None,
        max_deadline=_of(merged.max_deadline) if merged.HasField("max_deadline") else None,
        breaker=_breaker(merged.breaker),
        fallback=_fallback(merged) if own.HasField("fallback") else None,
        queue=_queue(merged) if own.HasField("queue") else None,
        subscription=_subscription(merged) if own.HasField("subscribe") else None,
        errors=frozenset(merged.errors),
        group=merged.group or None,
    )


def stated(described: Any, option: Any) -> Any:
    """What an option of our vocabulary says on a descriptor; its type is the option's, which no stub knows."""
    return described.GetOptions().Extensions[option]


def _of(duration: Duration) -> float:
    return duration.ToNanoseconds() / 1e9


def _breaker(value: call_pb2.Breaker) -> Breaker:
    return Breaker(
        failure_rate=value.failure_rate,
        minimum_calls=value.minimum_calls,
        window=value.window,
        consecutive_failures=value.consecutive_failures,
        open_time=_of(value.open_time),
        half_open_calls=value.half_open_calls,
        window_time=_of(value.window_time),
        slow_call_rate=value.slow_call_rate,
        slow_call_duration=_of(value.slow_call_duration),
        mode=breaker_mode(value.mode),
    )


def breaker_mode(number: int) -> BreakerMode:
    """The mode of a number of the vocabulary; what is unspecified is automatic."""
    return _MODES.get(number, BreakerMode.AUTOMATIC)


_MODES: dict[int, BreakerMode] = {
    call_pb2.Breaker.FORCED_OPEN: BreakerMode.FORCED_OPEN,
    call_pb2.Breaker.FORCED_CLOSED: BreakerMode.FORCED_CLOSED,
    call_pb2.Breaker.OBSERVE_ONLY: BreakerMode.OBSERVE_ONLY,
}


def _idempotency(merged: call_pb2.CallPolicy) -> Idempotency:
    value = _over(_IDEMPOTENCY, merged.idempotency)
    return Idempotency(
        key=value.key if value.HasField("key") else None,
        keep=_of(value.keep),
        required=value.required,
        exclusive=value.exclusive,
        lease=_of(value.lease),
        max_reply_bytes=value.max_reply_bytes,
    )


def _fallback(merged: call_pb2.CallPolicy) -> Fallback:
    value = _over(_FALLBACK, merged.fallback)
    return Fallback(
        last_good=_of(value.last_good) if value.HasField("last_good") else None,
        queue=value.queue,
        reserve=_of(value.reserve),
    )


def _queue(merged: call_pb2.CallPolicy) -> Queue:
    value = _over(_QUEUE, merged.queue)
    return Queue(
        use=QueueUse.ONLY if value.use == call_pb2.Queue.ONLY else QueueUse.ALLOWED,
        queue=value.name,
        start_within=_of(value.start_within) if value.HasField("start_within") else None,
        run_timeout=_of(value.run_timeout),
        max_attempts=value.max_attempts,
        initial_backoff=_of(value.initial_backoff),
        max_backoff=_of(value.max_backoff),
    )


def _subscription(merged: call_pb2.CallPolicy) -> Subscription:
    value = _over(_SUBSCRIBE, merged.subscribe)
    return Subscription(
        queue=value.queue,
        from_start=value.from_start,
        run_timeout=_of(value.run_timeout),
        max_attempts=value.max_attempts,
        initial_backoff=_of(value.initial_backoff),
        max_backoff=_of(value.max_backoff),
    )


def _over(base: M, layer: M) -> M:
    result = type(base)()
    _override(result, base)
    _override(result, layer)
    return result


def _override(target: Message, layer: Message) -> None:
    """Lay the set fields of `layer` over `target`.

    Not `MergeFrom`: that would add an explicit zero duration to the one below instead of replacing it.
    """
    for field, value in layer.ListFields():
        if field.is_repeated:
            getattr(target, field.name).extend(value)
        elif isinstance(value, Duration):
            getattr(target, field.name).CopyFrom(value)
        elif isinstance(value, Message):
            getattr(target, field.name).SetInParent()
            _override(getattr(target, field.name), value)
        else:
            setattr(target, field.name, value)
