"""What a breaker judges by while nobody is answered: the calls that hang, and those that gave up early.

A call that is never answered is a failure only when its time is over. That a target says nothing at all is seen before:
by the calls that began since its last answer and wait for longer than any should. And it is seen by calls of which
none waited for long enough to tell: together they did. Must not know what becomes of them.
"""

from collections import OrderedDict


class Silence:
    """The calls under way that began since the target last answered, in their order. Each is looked at once."""

    __slots__ = ("_hanging", "_patience", "_young")

    def __init__(self, patience: float) -> None:
        """A call hangs from `patience` seconds on."""
        self._patience = patience
        self._young: OrderedDict[object, float] = OrderedDict()
        self._hanging: set[object] = set()

    def add(self, call: object, now: float) -> None:
        """A call began at `now`, on a monotonic clock, and none that was added began later."""
        self._young[call] = now

    def drop(self, call: object) -> None:
        """A call has ended without an answer, or says nothing about the target."""
        if self._young.pop(call, None) is None:
            self._hanging.discard(call)

    def end(self) -> None:
        """The target has answered a call: those that wait beside it are slow at most."""
        self._young.clear()
        if self._hanging:
            self._hanging.clear()

    def hangs(self, call: object, now: float) -> bool:
        """Whether this call hangs at `now`."""
        began = self._young.get(call)
        return call in self._hanging if began is None else now - began >= self._patience

    def lasts(self, now: float, calls: int) -> bool:
        """Whether so many calls hang at `now`."""
        young, hanging = self._young, self._hanging
        while young and len(hanging) < calls:
            call = next(iter(young))
            if now - young[call] < self._patience:
                break
            del young[call]
            hanging.add(call)
        return len(hanging) >= calls


class Unanswered:
    """For how long a target was asked and answered nobody, by attempts of which each gave up early."""

    __slots__ = ("_mark", "_seconds", "_until")

    def __init__(self) -> None:
        self._mark: object = None
        self._seconds = 0.0
        self._until = 0.0

    def add(self, now: float, seconds: float, mark: object) -> float:
        """The time in all, after an attempt that took `seconds` has ended at `now`, none of them counted twice.

        `mark` is another one after each answer; what was counted before it is forgotten. The first attempt after it
        adds nothing: the answer may have come while it ran.
        """
        if mark == self._mark:
            self._seconds += min(seconds, now - self._until)
        else:
            self._mark, self._seconds = mark, 0.0
        self._until = now
        return self._seconds
