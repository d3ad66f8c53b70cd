"""What the end of a call says about its target. Must not know breakers, retries or transports."""

from collections.abc import Callable
from enum import Enum

from laneway.errors import Code, LanewayError

BREAKER_OPEN = "BREAKER_OPEN"
"""The reason of a breaker's refusal."""

_ANSWERED = frozenset({"REPLY_TOO_LARGE", "REPLY_OF_ANOTHER_CONTRACT"})
"""The reasons of a target that has done its work, and whose answer is none of the contract's: a stranger who asks for
much could open a breaker for all.
"""

_FAILURES = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS})


_MISTAKES = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, TypeError, ValueError)
"""What Python raises of code that is wrong, and of values that never left this side."""


class Health(Enum):
    """The class of an end."""

    HEALTHY = "healthy"
    """The target answered; a business error is an answer, too."""
    FAILING = "failing"
    """It failed, or did not answer by the deadline."""
    THROTTLING = "throttling"
    """It, or a limit on the way, wanted less: no failure, no sign of health, and a reason to come back late."""
    NOTHING = "nothing"
    """The call's own doing: its caller cancelled it or made a mistake."""

    @classmethod
    def after(cls, error: BaseException, answers: frozenset[str] = frozenset()) -> "Health":
        """The class of a call that ended with an error.

        `answers` are the reasons that the contract declares as answers of the business. A foreign error is the
        target's failure, unless it is of those that Python raises of a mistake on this side; `asyncio.CancelledError`
        is the caller's wish. A group is as its worst member. Whoever knows a library's errors better says so by a
        `Classify` of his own.
        """
        if isinstance(error, BaseExceptionGroup):
            members = {cls.after(each, answers) for each in error.exceptions}
            return next(each for each in (cls.FAILING, cls.THROTTLING, cls.HEALTHY, cls.NOTHING) if each in members)
        if not isinstance(error, LanewayError):
            foreign = isinstance(error, Exception) and not isinstance(error, _MISTAKES)
            return cls.FAILING if foreign else cls.NOTHING
        if error.reason in answers or error.reason in _ANSWERED:
            return cls.HEALTHY
        # A breaker further down refuses: who tells it is well, and counting it would open one breaker on the other,
        # each to be probed in its turn until a chain recovers.
        if error.code is Code.RESOURCE_EXHAUSTED or error.reason == BREAKER_OPEN:
            return cls.THROTTLING
        if error.code in _FAILURES:
            return cls.FAILING
        return cls.NOTHING if error.code is Code.CANCELLED else cls.HEALTHY


Classify = Callable[[BaseException], Health]
"""Says what the error with which a call ended tells of its target; `Health.after` is one."""
