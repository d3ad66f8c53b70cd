"""A circuit breaker for one target, safe on asyncio.

It is told about calls and never makes them: `acquire()` gives a permit or refuses at once, and the permit is
settled when the call has ended. Nothing here awaits or locks, and each step costs the same however many calls
are under way. Use a breaker from one event loop only. Must not know what is called, or what an error means.

Three defects of other breakers on asyncio are ruled out by construction:
- half-open admits a fixed number of probes, leased with the permit, and a neutral end gives the lease back;
- a call that its caller cancelled is neutral: it says nothing about the target;
- every change of state begins a new generation, and a permit of an earlier one changes nothing.
"""

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

from laneway.contract.policy import Breaker as BreakerPolicy
from laneway.errors import ConfigurationError, Unavailable

OPEN_TIME_DOUBLINGS = 4
"""Open time stops growing at 16 times the policy's: recovery of the target must not go unnoticed for long."""

OPEN_TIME_JITTER = 0.25
"""Open time is spread this share to each side, so that many callers do not probe at the same moment."""

PROBE_LEASE = 30.0
"""Seconds after which unanswered probes are written off: a silent stream must not hold the breaker."""

_log = logging.getLogger(__name__)


class State(Enum):
    """As Resilience4j names them."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class StateListener(Protocol):
    """Is told of each change of state, after it happened; for metrics and logs."""

    def __call__(self, target: str, before: State, after: State) -> None: ...


class Permit:
    """Leave to make one call. Settle it once, whatever the call's end; later settlements change nothing."""

    __slots__ = ("_breaker", "_generation", "_settled")

    def __init__(self, breaker: "Breaker", generation: int) -> None:
        self._breaker = breaker
        self._generation = generation
        self._settled = False

    def success(self) -> None:
        """The target answered; a business error is an answer, too."""
        self._settle(self._breaker._succeeded)

    def failure(self) -> None:
        """The target failed, or did not answer by the deadline."""
        self._settle(self._breaker._failed)

    def neutral(self) -> None:
        """The call says nothing about the target: cancelled by its caller, or turned away by a limit."""
        self._settle(self._breaker._gave_back)

    def _settle(self, apply: Callable[[], None]) -> None:
        if self._settled:
            return
        self._settled = True
        if self._generation == self._breaker._generation:
            apply()


class Breaker:
    """Stops calling a target that fails, and finds out with few probes when it works again.

    An open breaker becomes half-open with the first call after its open time; without calls it stays open.
    `consecutive_failures` of zero in the policy switches that rule off.
    """

    def __init__(
        self,
        target: str,
        policy: BreakerPolicy,
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random.random,
        listeners: Sequence[StateListener] = (),
    ) -> None:
        _check(target, policy)
        self.target = target
        self._policy = policy
        self._clock = clock
        self._random = random
        self._listeners = tuple(listeners)
        self._state = State.CLOSED
        self._generation = 0
        self._window = _Window(policy.window)
        self._consecutive = 0
        self._openings = 0  # since it was last closed
        self._until = 0.0  # open: when it ends; half-open: when the latest lease ends
        self._leased = 0
        self._answered = 0

    @property
    def state(self) -> State:
        return self._state

    @property
    def refuses(self) -> bool:
        """Whether it is open and not yet willing to probe."""
        return self._state is State.OPEN and self._clock() < self._until

    def acquire(self) -> Permit:
        """Leave to make one call now.

        Raises:
            Unavailable: the breaker refuses (reason `BREAKER_OPEN`); `retry_after` says when it may not.
        """
        if self._state is State.CLOSED:
            return Permit(self, self._generation)
        now = self._clock()
        if now >= self._until and (self._state is State.OPEN or self._all_leased):
            self._move(State.HALF_OPEN)
        elif self._state is State.OPEN or self._all_leased:
            raise self._refusal(now)
        self._leased += 1
        self._until = now + PROBE_LEASE
        return Permit(self, self._generation)

    @property
    def _all_leased(self) -> bool:
        return self._leased + self._answered >= self._policy.half_open_calls

    def _refusal(self, now: float) -> Unavailable:
        wait = self._until - now if self._state is State.OPEN else self._policy.open_time
        return Unavailable(
            f"{self.target} has been failing; its breaker is {self._state.value.replace('_', '-')}.",
            reason="BREAKER_OPEN",
            metadata={"target": self.target},
            retry_after=wait,
        )

    def _succeeded(self) -> None:
        if self._state is State.CLOSED:
            self._consecutive = 0
            self._window.add(failed=False)
            return
        self._leased -= 1
        self._answered += 1
        if self._answered >= self._policy.half_open_calls:
            self._openings = 0
            self._move(State.CLOSED)

    def _failed(self) -> None:
        if self._state is State.HALF_OPEN:
            self._open()
            return
        self._consecutive += 1
        self._window.add(failed=True)
        if 0 < self._policy.consecutive_failures <= self._consecutive or self._rate_reached:
            self._open()

    def _gave_back(self) -> None:
        if self._state is State.HALF_OPEN:
            self._leased -= 1

    @property
    def _rate_reached(self) -> bool:
        enough = min(self._policy.minimum_calls, self._policy.window)
        return self._window.calls >= enough and self._window.failure_rate >= self._policy.failure_rate

    def _open(self) -> None:
        base = self._policy.open_time * 2 ** min(self._openings, OPEN_TIME_DOUBLINGS)
        self._openings += 1
        self._until = self._clock() + base * (1 + OPEN_TIME_JITTER * (2 * self._random() - 1))
        self._move(State.OPEN)

    def _move(self, after: State) -> None:
        before, self._state = self._state, after
        self._generation += 1
        self._leased = self._answered = self._consecutive = 0
        if after is State.CLOSED:
            self._window = _Window(self._policy.window)
        if before is not after:
            self._tell(before, after)

    def _tell(self, before: State, after: State) -> None:
        for listener in self._listeners:
            try:
                listener(self.target, before, after)
            except Exception:  # a metric that fails must not fail the call
                _log.exception("A listener of the breaker of %s failed.", self.target)


class _Window:
    """The last calls, counted; adding one costs the same at any size."""

    __slots__ = ("_failures", "_outcomes", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._outcomes: deque[bool] = deque()
        self._failures = 0

    @property
    def calls(self) -> int:
        return len(self._outcomes)

    @property
    def failure_rate(self) -> float:
        return self._failures / len(self._outcomes) if self._outcomes else 0.0

    def add(self, *, failed: bool) -> None:
        if len(self._outcomes) == self._size:
            self._failures -= self._outcomes.popleft()
        self._outcomes.append(failed)
        self._failures += failed


def _check(target: str, policy: BreakerPolicy) -> None:
    for problem in policy.problems():
        raise ConfigurationError(f"The breaker of {target}: {problem}")
