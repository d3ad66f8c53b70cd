"""A clock that moves when told to, and policies small enough to reason about."""

import pytest

from laneway.contract.policy import Breaker as BreakerPolicy


class FakeClock:
    """Monotonic seconds; `sleep` moves them."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def policy() -> BreakerPolicy:
    return BreakerPolicy(
        failure_rate=0.5, minimum_calls=10, window=20, consecutive_failures=5, open_time=1.0, half_open_calls=3
    )
