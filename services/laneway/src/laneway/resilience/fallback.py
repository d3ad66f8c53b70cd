"""The last good answers to calls, for when no new one is to be had. Must not know what they answer."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

CAPACITY = 1_024
"""Answers kept, at most."""

CAPACITY_BYTES = 16 * 1024 * 1024
"""Bytes of answers kept, at most."""


class LastGood:
    """Serialized answers by what was asked; those used least of late go first."""

    def __init__(
        self,
        *,
        capacity: int = CAPACITY,
        capacity_bytes: int = CAPACITY_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._clock = clock
        self._bytes = 0
        self._kept: OrderedDict[Hashable, tuple[bytes, float]] = OrderedDict()

    def keep(self, question: Hashable, answer: bytes) -> None:
        """Remember an answer in the place of the one before."""
        self._drop(question)
        self._kept[question] = answer, self._clock()
        self._bytes += len(answer)
        while len(self._kept) > self._capacity or self._bytes > self._capacity_bytes:
            self._drop(next(iter(self._kept)))

    def find(self, question: Hashable, *, max_age: float) -> tuple[bytes, float] | None:
        """The answer and its age in seconds, if there is one that is not older."""
        if question not in self._kept:
            return None
        answer, since = self._kept[question]
        age = self._clock() - since
        if age > max_age:
            return None
        self._kept.move_to_end(question)
        return answer, age

    def _drop(self, question: Hashable) -> None:
        answer, _ = self._kept.pop(question, (b"", 0.0))
        self._bytes -= len(answer)
