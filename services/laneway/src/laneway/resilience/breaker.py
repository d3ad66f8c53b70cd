"""A circuit breaker for one target, safe on asyncio.

It is told about calls and never makes them: `acquire()` gives a permit or refuses at once, and the permit is
settled when the call has ended. Nothing here awaits or locks, and each step costs the same however many calls
are under way. Use a breaker from one event loop only. Must not know what is called.

    with breaker.admit():
        answer = await call()

Three defects of other breakers on asyncio are ruled out by construction:
- half-open admits a fixed number of probes, leased with the permit, and a neutral end gives the lease back;
- a call that its caller cancelled is neutral: it says nothing about the target;
- every change of state begins a new generation, and a permit of an earlier one changes nothing.

Where the policy says what a slow call is, a target that says nothing at all is found out by the calls that hang, not
when their time is over.
"""

import logging
import math
import random
import time
from collections.abc import Callable, Sequence
from enum import Enum
from types import TracebackType
from typing import Protocol

from laneway.contract.policy import Breaker as BreakerPolicy
from laneway.contract.policy import BreakerMode
from laneway.errors import ConfigurationError, Unavailable
from laneway.resilience.health import BREAKER_OPEN, Classify, Health
from laneway.resilience.silence import Silence, Unanswered
from laneway.resilience.window import CountWindow, TimeWindow, Window

OPEN_TIME_DOUBLINGS = 4
"""Open time stops growing at 16 times the policy's: recovery of the target must not go unnoticed for long."""

OPEN_TIME_JITTER = 0.25
"""Open time is spread this share to each side, so that many callers do not probe at the same moment."""

PROBE_LEASE = 30.0
"""Seconds after which unanswered probes are written off: a silent stream must not hold the breaker."""

_SETTLED = -1
"""The generation of a permit that changes nothing any more; a breaker's own begin at 0."""

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
    """Leave to make one call. Settle it once, whatever the call's end; later settlements change nothing.

    As a context manager it is settled by how the block ends.
    """

    __slots__ = ("_began", "_breaker", "_generation")

    def __init__(self, breaker: "Breaker", generation: int, began: float) -> None:
        self._breaker = breaker
        self._generation = generation
        self._began = began

    @property
    def current(self) -> bool:
        """Whether the breaker is still in the state in which it gave this permit."""
        return self._generation == self._breaker._generation

    def hold(self) -> None:
        """The call waits for what is not the target's doing: no time of it is slow, and it does not hang."""
        self._began = math.inf
        if self._breaker._silence is not None:
            self._breaker._silence.drop(self)

    def begin(self) -> None:
        """The call begins only now, after it was held up: its time counts from here."""
        self._began = self._breaker._clock()
        if self.current and self._breaker._silence is not None:
            self._breaker._silence.add(self, self._began)

    def success(self) -> None:
        """The target answered; a business error is an answer, too."""
        generation, self._generation = self._generation, _SETTLED
        if generation == self._breaker._generation:
            self._breaker._ended(self, failed=False)

    def failure(self) -> None:
        """The target failed, or did not answer by the deadline."""
        generation, self._generation = self._generation, _SETTLED
        if generation == self._breaker._generation:
            self._breaker._ended(self, failed=True)

    def neutral(self) -> None:
        """The call says nothing about the target: cancelled by its caller, or turned away by a limit."""
        generation, self._generation = self._generation, _SETTLED
        if generation == self._breaker._generation:
            self._breaker._gave_back(self)

    def gave_up(self, seconds: float, full_time: float) -> None:
        """Our own deadline ended the call after `seconds`, which are less than the target may take.

        It says little about the target if others are answered meanwhile. While nobody is, it failed if it hung, or
        once attempts that gave up waited `full_time` in all; otherwise the call is neutral.
        """
        if self.current and self._breaker._says_nothing(self, seconds, full_time):
            self.failure()
        else:
            self.neutral()

    def settle(self, health: Health) -> None:
        """Tell the breaker how the call ended."""
        if health is Health.HEALTHY:
            self.success()
        elif health is Health.FAILING:
            self.failure()
        else:
            self.neutral()

    def __enter__(self) -> "Permit":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.success()
        else:
            self.settle(self._breaker._classify(error))


class _Shared(Permit):
    """The permit of all calls since the breaker closed: none is made for each. Each of them settles it once."""

    __slots__ = ("_window",)

    def __init__(self, breaker: "Breaker", generation: int, window: CountWindow) -> None:
        super().__init__(breaker, generation, 0.0)
        self._window = window

    def end(self) -> None:
        """The breaker is closed no more: what comes late is counted where nobody looks."""
        self._window = CountWindow(1)

    def hold(self) -> None:
        """No call is slow where this is given."""

    def begin(self) -> None:
        """As `hold`."""

    def success(self) -> None:
        window = self._window
        window.total += 1
        window.row = 0

    def failure(self) -> None:
        if self._generation == self._breaker._generation:
            self._breaker._ended(self, failed=True)

    def neutral(self) -> None:
        """Nothing was leased."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:  # `success`, without its call
            window = self._window
            window.total += 1
            window.row = 0
        else:
            self.settle(self._breaker._classify(error))


class Breaker:
    """Stops calling a target that fails or is slow, and finds out with few probes when it works again.

    An open breaker becomes half-open with the first call after its open time; without calls it stays open. A
    slow probe is a failed one. A call that hangs, while nobody is answered, counts in the row of failures as soon as
    it is slow; the next call finds the breaker open.

    `classify` says what the error that ends a `with` tells of the target.
    """

    def __init__(
        self,
        target: str,
        policy: BreakerPolicy,
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random.random,
        listeners: Sequence[StateListener] = (),
        classify: Classify = Health.after,
    ) -> None:
        for problem in policy.problems():
            raise ConfigurationError(f"The breaker of {target}: {problem}")
        self.target = target
        self._policy = policy
        self._slow_after = policy.slow_call_duration or math.inf
        self._clock = clock
        self._random = random
        self._listeners = tuple(listeners)
        self._classify = classify
        self._state = State.CLOSED
        self._generation = 0
        self._window = self._new_window()
        self._silence: Silence | None = None  # while closed, if the policy says what hangs
        self._unanswered = Unanswered()
        self._openings = 0  # since it was last closed
        self._until = 0.0  # open: when it ends; half-open: when the latest lease ends
        self._leased = 0
        self._answered = 0
        self._mode = BreakerMode.AUTOMATIC
        self._shared: _Shared | None = None  # while closed, if no call's time matters
        self.switch(policy.mode)

    @property
    def state(self) -> State:
        return self._state

    @property
    def refuses(self) -> bool:
        """Whether it is open and not yet willing to probe."""
        observing = self._mode is BreakerMode.OBSERVE_ONLY
        return self._state is State.OPEN and self._clock() < self._until and not observing

    @property
    def mode(self) -> BreakerMode:
        return self._mode

    def switch(self, mode: BreakerMode) -> None:
        """Obey another mode from now on; what was counted is forgotten."""
        self._mode = mode
        self._openings = 0
        self._until = math.inf
        self._move(State.OPEN if mode is BreakerMode.FORCED_OPEN else State.CLOSED)

    def admit(self) -> Permit:
        """As `acquire`, for who settles each permit just once, as a `with` does; costs a fraction of a microsecond.

        Raises:
            Unavailable: as `acquire`.
        """
        return self._shared or self.acquire()

    def acquire(self) -> Permit:
        """Leave to make one call now.

        Raises:
            Unavailable: the breaker refuses (reason `BREAKER_OPEN`); `retry_after` says when it may not.
        """
        now = self._clock()
        if self._state is State.CLOSED:
            permit, silence = Permit(self, self._generation, now), self._silence
            if silence is None:
                return permit
            if not silence.lasts(now, self._policy.consecutive_failures - self._window.row):
                silence.add(permit, now)
                return permit
            self._open()  # so many calls hang that their end need not be waited for
        if now >= self._until and (self._state is State.OPEN or self._all_leased):
            self._move(State.HALF_OPEN)
        elif self._state is State.OPEN or self._all_leased:
            if self._mode is BreakerMode.OBSERVE_ONLY:
                return Permit(self, _SETTLED, now)
            raise self._refusal(now)
        self._leased += 1
        self._until = now + PROBE_LEASE
        return Permit(self, self._generation, now)

    @property
    def _all_leased(self) -> bool:
        return self._leased + self._answered >= self._policy.half_open_calls

    def _refusal(self, now: float) -> Unavailable:
        if self._mode is BreakerMode.FORCED_OPEN:
            message, wait = f"{self.target} is out of service: its breaker is forced open.", None
        else:
            message = f"{self.target} has been failing; its breaker is {self._state.value.replace('_', '-')}."
            wait = self._until - now if self._state is State.OPEN else self._policy.open_time
        return Unavailable(message, reason=BREAKER_OPEN, metadata={"target": self.target}, retry_after=wait)

    def _ended(self, permit: Permit, *, failed: bool) -> None:
        now = self._clock()
        slow = now - permit._began >= self._slow_after
        if self._silence is not None:
            if failed:
                self._silence.drop(permit)
            else:
                self._silence.end()
        if self._state is State.HALF_OPEN:
            self._probed(well=not (failed or slow))
            return
        self._window.add(now, failed=failed, slow=slow)
        if (failed or slow) and self._tripped and self._mode is not BreakerMode.FORCED_CLOSED:
            self._open()

    def _says_nothing(self, permit: Permit, seconds: float, full_time: float) -> bool:
        now, window = self._clock(), self._window
        answers = self._generation, window.total - window.row, self._answered
        if self._unanswered.add(now, seconds, answers) >= full_time:
            return True
        if self._state is State.HALF_OPEN:
            return now - permit._began >= self._slow_after
        return self._silence is not None and self._silence.hangs(permit, now)

    def _probed(self, *, well: bool) -> None:
        if not well:
            self._open()
            return
        self._leased -= 1
        self._answered += 1
        if self._answered >= self._policy.half_open_calls:
            self._openings = 0
            self._move(State.CLOSED)

    def _gave_back(self, permit: Permit) -> None:
        if self._silence is not None:
            self._silence.drop(permit)
        if self._state is State.HALF_OPEN:
            self._leased -= 1

    @property
    def _tripped(self) -> bool:
        policy, window = self._policy, self._window
        if 0 < policy.consecutive_failures <= window.row:
            return True
        enough = policy.minimum_calls if policy.window_time else min(policy.minimum_calls, policy.window)
        if window.calls < enough:
            return False
        return (window.failures >= policy.failure_rate * window.calls and window.failures > 0) or (
            window.slow >= policy.slow_call_rate * window.calls and window.slow > 0
        )

    def _open(self) -> None:
        base = self._policy.open_time * 2 ** min(self._openings, OPEN_TIME_DOUBLINGS)
        self._openings += 1
        self._until = self._clock() + base * (1 + OPEN_TIME_JITTER * (2 * self._random() - 1))
        self._move(State.OPEN)

    def _move(self, after: State) -> None:
        before, self._state = self._state, after
        self._generation += 1
        self._leased = self._answered = 0
        self._silence = None
        if self._shared is not None:
            self._shared.end()
            self._shared = None
        if after is State.CLOSED:
            self._window = window = self._new_window()
            slow, row = self._policy.slow_call_duration, self._policy.consecutive_failures
            if isinstance(window, CountWindow) and not slow:
                self._shared = _Shared(self, self._generation, window)
            elif slow and row and self._mode is not BreakerMode.FORCED_CLOSED:
                self._silence = Silence(slow)
        if before is not after:
            self._tell(before, after)

    def _new_window(self) -> Window:
        seconds = self._policy.window_time
        return TimeWindow(seconds) if seconds else CountWindow(self._policy.window)

    def _tell(self, before: State, after: State) -> None:
        for listener in self._listeners:
            try:
                listener(self.target, before, after)
            except Exception:  # a metric that fails must not fail the call
                _log.exception("A listener of the breaker of %s failed.", self.target)
