"""The policy of a method, as a value: what is in force for its calls.

All durations are seconds. This module must not know where a value came from, nor how it is obeyed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, IntEnum

from laneway.contract.schedule import Schedule

FALLBACK_RESERVE = 0.1
"""Seconds before the deadline that attempts leave to a fallback which says nothing of it."""

LARGEST_REPLY = 1024 * 1024
"""Bytes of a reply that is kept for replay: it is a row of each call's transaction."""


class QueueUse(Enum):
    """Whether a call may be awaited as well as started."""

    ALLOWED = "allowed"
    ONLY = "only"


class Priority(IntEnum):
    """Which messages of a queue go first; the numbers are kombu's, whose workers take 0 first."""

    HIGH = 0
    NORMAL = 3
    LOW = 6


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
        slow_call_duration: from this long on a call counts as slow, and one that nobody answers as a failure in the
            row while it hangs; zero: none does.
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
    """How a worker runs the messages of a queue; those of one key, the request's field `order_by`, in order.

    Those of a queue that is `cpu_bound` run in processes of their own, the others on one event loop.
    """

    queue: str
    run_timeout: float
    max_attempts: int
    initial_backoff: float
    max_backoff: float
    order_by: str | None = None
    cpu_bound: bool = False

    def problems(self) -> Iterator[str]:
        """What cannot be obeyed."""
        yield from _outside(self, run_timeout=_SHORTEST, max_attempts=1, initial_backoff=0, max_backoff=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue(Work):
    """The method can be started."""

    use: QueueUse
    start_within: float | None
    priority: Priority = Priority.NORMAL
    schedule: Schedule | None = None

    def problems(self) -> Iterator[str]:
        """What cannot be obeyed."""
        yield from Work.problems(self)
        if self.schedule is not None:
            yield from (f"schedule.{problem}" for problem in self.schedule.problems())


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription(Work):
    """The method runs for each event of its request's type."""

    from_start: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the contract says of one method's calls.

    `max_deadline` is the owner's ceiling, which no tuning raises; without it, `deadline` is the callers' ceiling. A
    stream that stands still for `idle_timeout` ends, if that is not zero.
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
    idle_timeout: float = 0.0
    calls: frozenset[str] = frozenset()
    """What the handler calls and waits for, by full name; where it says nothing, anything."""

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
        yield from _outside(self, deadline=_SHORTEST, idle_timeout=0)
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
