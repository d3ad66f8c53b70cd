"""What a breaker judges by: how the calls of late ended. Adding one costs the same at any size."""

from collections import deque
from typing import Protocol

BUCKETS = 10
"""A window of time is counted in so many parts; the oldest goes as a whole."""


class Window(Protocol):
    """The calls that count, with how many of them failed and how many were slow."""

    calls: int
    failures: int
    slow: int

    def add(self, now: float, *, failed: bool, slow: bool) -> None:
        """A call ended at `now`, on a monotonic clock."""


class CountWindow:
    """The last `size` calls."""

    __slots__ = ("_ends", "_size", "calls", "failures", "slow")

    def __init__(self, size: int) -> None:
        self._size = size
        self._ends: deque[tuple[bool, bool]] = deque()
        self.calls = self.failures = self.slow = 0

    def add(self, now: float, *, failed: bool, slow: bool) -> None:  # noqa: ARG002 (the other window's need)
        if self.calls == self._size:
            failed_then, slow_then = self._ends.popleft()
            self.failures -= failed_then
            self.slow -= slow_then
        else:
            self.calls += 1
        self._ends.append((failed, slow))
        self.failures += failed
        self.slow += slow


class TimeWindow:
    """The calls of the last `seconds`, to a tenth of them."""

    __slots__ = ("_buckets", "_now", "_width", "calls", "failures", "slow")

    def __init__(self, seconds: float) -> None:
        self._width = seconds / BUCKETS
        self._buckets: deque[list[int]] = deque(maxlen=BUCKETS)
        self._now = 0
        self.calls = self.failures = self.slow = 0

    def add(self, now: float, *, failed: bool, slow: bool) -> None:
        bucket = self._bucket(int(now / self._width))
        bucket[0] += 1
        bucket[1] += failed
        bucket[2] += slow
        self.calls += 1
        self.failures += failed
        self.slow += slow

    def _bucket(self, tick: int) -> list[int]:
        if not self._buckets or tick > self._now:
            missing = min(tick - self._now, BUCKETS) if self._buckets else BUCKETS
            for _ in range(missing):
                self._shift()
            self._now = tick
        return self._buckets[-1]

    def _shift(self) -> None:
        if len(self._buckets) == BUCKETS:
            calls, failures, slow = self._buckets[0]
            self.calls -= calls
            self.failures -= failures
            self.slow -= slow
        self._buckets.append([0, 0, 0])
