"""What a breaker judges by while nothing ends: the calls that hang.

A call that is never answered is a failure only when its time is over. That a target says nothing at all is seen before:
by the calls that began since its last answer and wait for longer than any should. Must not know what becomes of them.
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
