"""What a breaker judges by, whenever a bad call is added: how the calls of late ended.

Adding one costs the same at any size.
"""

from collections import deque
from typing import Protocol

BUCKETS = 10
"""A window of time is counted in so many parts; the oldest goes as a whole."""


class Window(Protocol):
    """The calls that count: how many, how many of them failed, how many were slow, how many failed in a row at last."""

    row: int
    total: int
    """All that ever ended; less the row, it is another number after each answer."""

    @property
    def calls(self) -> int: ...
    @property
    def failures(self) -> int: ...
    @property
    def slow(self) -> int: ...

    def add(self, now: float, *, failed: bool, slow: bool) -> None:
        """A call ended at `now`, on a monotonic clock. The numbers hold until the next one is added."""


class CountWindow:
    """The last `size` calls. Only the bad ones are remembered; a good one raises `total` and ends the `row`."""

    __slots__ = ("_bad", "_size", "failures", "row", "slow", "total")

    def __init__(self, size: int) -> None:
        self._size = size
        self._bad: deque[tuple[int, bool, bool]] = deque()
        self.total = self.failures = self.slow = self.row = 0

    @property
    def calls(self) -> int:
        return min(self.total, self._size)

    def add(self, now: float, *, failed: bool, slow: bool) -> None:  # noqa: ARG002 (the other window's need)
        self.total += 1
        self.row = self.row + 1 if failed else 0
        if not (failed or slow):
            return
        self._bad.append((self.total, failed, slow))
        self.failures += failed
        self.slow += slow
        while self._bad[0][0] <= self.total - self._size:
            _, failed_then, slow_then = self._bad.popleft()
            self.failures -= failed_then
            self.slow -= slow_then


class TimeWindow:
    """The calls of the last `seconds`, to a tenth of them."""

    __slots__ = ("_buckets", "_now", "_width", "calls", "failures", "row", "slow", "total")

    def __init__(self, seconds: float) -> None:
        self._width = seconds / BUCKETS
        self._buckets: deque[list[int]] = deque(maxlen=BUCKETS)
        self._now = 0
        self.total = self.calls = self.failures = self.slow = self.row = 0

    def add(self, now: float, *, failed: bool, slow: bool) -> None:
        self.total += 1
        self.row = self.row + 1 if failed else 0
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
