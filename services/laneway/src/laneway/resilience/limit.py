"""How many calls to one target run at a time. A short queue takes the next; it sheds what can no longer be in time.

Use a limit from one event loop only. Must not know what is called.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from laneway.contract.policy import Limit as LimitPolicy
from laneway.errors import ConfigurationError, ResourceExhausted

REACHED = "CONCURRENCY_LIMIT"
"""The reason of a rejection."""

_SMOOTHING = 0.1
"""Weight of the latest call in the time that a call usually takes, and in how far calls are from it."""

_DEVIATIONS = 2.0
"""How much longer than usual a call may take and still be expected, as TCP expects answers (RFC 6298)."""


class Limit:
    """Leaves to run, as many as the policy permits; `max_concurrent` of zero means that all run.

    Take a leave by `take()` or, when there is none, `await wait()`; give it back with `give_back()`, once.
    """

    def __init__(self, target: str, policy: LimitPolicy, *, clock: Callable[[], float] = time.monotonic) -> None:
        for problem in policy.problems():
            raise ConfigurationError(f"The limit of {target}: {problem}")
        self.target = target
        self.running = 0
        self._policy = policy
        self._clock = clock
        self._usual = 0.0
        self._deviation = 0.0
        self._queue: deque[tuple[asyncio.Future[None], float | None]] = deque()

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return len(self._queue)

    def take(self) -> bool:
        """A leave, if there is one now and nobody waits for it."""
        if self._policy.max_concurrent and (self._queue or self.running >= self._policy.max_concurrent):
            return False
        self.running += 1
        return True

    async def wait(self, deadline: float | None) -> None:
        """A leave, after those who came first.

        Raises:
            ResourceExhausted: the queue is full, or the call could not end by its deadline any more.
        """
        if len(self._queue) >= self._policy.max_waiting or not self._in_time(deadline, len(self._queue) + 1):
            raise self._rejection()
        place = asyncio.get_running_loop().create_future(), deadline
        self._queue.append(place)
        try:
            async with asyncio.timeout(None if deadline is None else deadline - self._clock() - self._expected):
                await place[0]
        except BaseException as error:
            self._leave(place)
            if isinstance(error, TimeoutError):
                raise self._rejection() from None
            raise

    def give_back(self, seconds: float | None) -> None:
        """A call has ended that took `seconds`; None: it was not made after all."""
        if seconds is not None and self._usual:
            self._deviation += _SMOOTHING * (abs(seconds - self._usual) - self._deviation)
            self._usual += _SMOOTHING * (seconds - self._usual)
        elif seconds is not None:
            self._usual = seconds
        self._pass_on()

    def _pass_on(self) -> None:
        self.running -= 1
        while self._queue and self.running < self._policy.max_concurrent:
            place, deadline = self._queue.popleft()
            if place.done():
                continue
            if not self._in_time(deadline, 0):
                place.set_exception(self._rejection())
                continue
            self.running += 1
            place.set_result(None)

    def _leave(self, place: "tuple[asyncio.Future[None], float | None]") -> None:
        """Out of the queue; or, if a leave was given in the same moment, hand it on."""
        if place in self._queue:
            self._queue.remove(place)
        elif place[0].done() and not place[0].cancelled() and place[0].exception() is None:
            self._pass_on()

    def _in_time(self, deadline: float | None, place: int) -> bool:
        """Whether a call at this place of the queue would end by its deadline, by what calls usually take."""
        if deadline is None:
            return True
        wait = self._usual * place / self._policy.max_concurrent
        return self._clock() + wait + self._expected < deadline

    @property
    def _expected(self) -> float:
        """Seconds within which nearly every call ends."""
        return self._usual + _DEVIATIONS * self._deviation

    def _rejection(self) -> ResourceExhausted:
        return ResourceExhausted(
            f"{self.target} has {self.running} calls running and {self.waiting} waiting; this one was shed.",
            reason=REACHED,
            metadata={"target": self.target},
            retry_after=self._usual or None,
        )
