"""What the end of a call says about its target. Must not know breakers, retries or transports."""

from enum import Enum

from laneway.errors import Code, LanewayError

BREAKER_OPEN = "BREAKER_OPEN"
"""The reason of a breaker's refusal."""

_ANSWERED = frozenset({"REPLY_TOO_LARGE", "REPLY_OF_ANOTHER_CONTRACT"})
"""The reasons of a target that has done its work, and whose answer is none of the contract's: a stranger who asks for
much could open a breaker for all.
"""

_FAILURES = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS})


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

        `answers` are the reasons that the contract declares as answers of the business. An `OSError` (no
        connection, a socket's timeout) is the target's; any other foreign error is the caller's own mistake, and
        `asyncio.CancelledError` its wish.
        """
        if not isinstance(error, LanewayError):
            return cls.FAILING if isinstance(error, OSError) else cls.NOTHING
        if error.reason in answers or error.reason in _ANSWERED:
            return cls.HEALTHY
        # A breaker further down refuses: who tells it is well, and counting it would open one breaker on the other,
        # each to be probed in its turn until a chain recovers.
        if error.code is Code.RESOURCE_EXHAUSTED or error.reason == BREAKER_OPEN:
            return cls.THROTTLING
        if error.code in _FAILURES:
            return cls.FAILING
        return cls.NOTHING if error.code is Code.CANCELLED else cls.HEALTHY
