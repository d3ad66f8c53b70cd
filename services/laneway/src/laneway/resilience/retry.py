"""When to try again: backoff with jitter, the server's own wish, the deadline, and a budget per target.

Must not know what is called, nor wait itself: it answers with a delay, and the pipeline sleeps.
"""

import random
import time
from collections.abc import Callable

from laneway.contract.policy import Retry as RetryPolicy
from laneway.errors import Code, LanewayError

EXHAUSTED = "exhausted"
"""Key in an error's metadata: a layer below has retried already, so no layer above may."""


UNNAMED = "ATTEMPTS_EXHAUSTED"
"""The reason of an error that had none when its attempts were: nobody wrote its text for whoever reads it."""


def exhausted(error: LanewayError) -> bool:
    """Whether a layer below has given up on it."""
    return error.metadata.get(EXHAUSTED) == "true"


def mark_exhausted(error: LanewayError) -> None:
    """Tell the layers above not to retry. The mark crosses lanes in `ErrorInfo`, which needs a reason."""
    error.reason = error.reason or UNNAMED
    error.metadata[EXHAUSTED] = "true"


class RetryBudget:
    """A token bucket for one target: each first attempt pays in a share of a token, each retry takes a whole one.

    Keeps the load of retries at a share of the load, however many calls fail at once (Finagle's RetryBudget).
    `floor` tokens a second come in besides, so that a rarely called target may be retried at all.
    """

    def __init__(
        self, *, floor: float = 1.0, capacity: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._floor = floor
        self._capacity = capacity
        self._clock = clock
        self._tokens = capacity
        self._filled_at = clock()
        self.refusals = 0
        """Retries that were not made because there was no token for them."""

    @property
    def tokens(self) -> float:
        """Retries that may be made at once. May be asked from any thread."""
        return min(self._capacity, self._tokens + (self._clock() - self._filled_at) * self._floor)

    def attempted(self, share: float) -> None:
        """A first attempt is being made, of a method whose retries may be this share of the first attempts."""
        self._tokens = min(self._capacity, self._tokens + share)

    def withdraw(self) -> bool:
        """Take the token of one retry, if there is one."""
        self._tokens, self._filled_at = self.tokens, self._clock()
        if self._tokens < 1:
            self.refusals += 1
            return False
        self._tokens -= 1
        return True


class Retrying:
    """Decides, for one target, whether a failed attempt is followed by another and after how long."""

    def __init__(
        self, policy: RetryPolicy, budget: RetryBudget, *, random: Callable[[], float] = random.random
    ) -> None:
        self._policy = policy
        self._budget = budget
        self._random = random

    @property
    def enabled(self) -> bool:
        """Whether this layer retries at all."""
        return self._policy.max_attempts > 1

    def first_attempt(self) -> None:
        """A call begins."""
        self._budget.attempted(self._policy.budget)

    def delay(self, number: int, error: LanewayError, remaining: float | None) -> float | None:
        """Seconds to wait after attempt `number` (from 1) ended with `error`; None when it was the last.

        `remaining` is the time left until the deadline: what could not start before it is not waited for.
        """
        if number >= self._policy.max_attempts or exhausted(error):
            return None
        delay = self._backoff(number, error)
        if delay is None or (remaining is not None and delay >= remaining):
            return None
        return delay if self._budget.withdraw() else None

    def _backoff(self, number: int, error: LanewayError) -> float | None:
        if error.retry_after is not None:
            return self._pushed_back(error.retry_after)
        if error.code is Code.RESOURCE_EXHAUSTED:  # it asked for less: as late as the policy allows
            return self._policy.max_backoff * (0.5 + self._random() / 2)
        # Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        ceiling = self._policy.initial_backoff * 2.0 ** min(number - 1, 60)
        return min(self._policy.max_backoff, ceiling) * self._random()

    def _pushed_back(self, retry_after: float) -> float | None:
        """Never earlier than the server asked, and not all callers at once; a negative wish means never."""
        if retry_after < 0:
            return None
        return retry_after + min(retry_after, self._policy.max_backoff) * 0.1 * self._random()
