"""What can go wrong, in one hierarchy.

Every error has a `google.rpc.Code` and, where a program may want to react, a `reason` (the `reason` of
`google.rpc.ErrorInfo`: stable, UPPER_SNAKE_CASE). Errors are raised where the cause is known and translated
once, at the edge of a lane. This module must not know any transport.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar


class Code(IntEnum):
    """The codes of google/rpc/code.proto."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


TRANSIENT = frozenset(
    {
        Code.UNKNOWN,
        Code.DEADLINE_EXCEEDED,
        Code.RESOURCE_EXHAUSTED,
        Code.ABORTED,
        Code.INTERNAL,
        Code.UNAVAILABLE,
        Code.CANCELLED,
    }
)
"""Codes after which the same request may succeed later; the others are answers."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A field of a request that is not as it must be (`google.rpc.BadRequest.FieldViolation`)."""

    field: str
    """Its path in the request: `lines[3].quantity`; empty for the request itself."""
    description: str


class LanewayError(Exception):
    """An error that crosses lanes.

    `message` is for people; `reason` and `metadata` are for programs; `retry_after` (seconds) tells a caller
    when trying again makes sense; `violations` name the fields that are wrong. `replayed` is what an earlier call with
    the same idempotency key was told.
    """

    code: ClassVar[Code] = Code.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        violations: Sequence[Violation] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after
        self.violations = tuple(violations)
        self.replayed = False

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later."""
        return self.code in TRANSIENT


class Cancelled(LanewayError):
    code = Code.CANCELLED


class Unknown(LanewayError):
    code = Code.UNKNOWN


class InvalidArgument(LanewayError):
    code = Code.INVALID_ARGUMENT


class DeadlineExceeded(LanewayError):
    code = Code.DEADLINE_EXCEEDED


class NotFound(LanewayError):
    code = Code.NOT_FOUND


class AlreadyExists(LanewayError):
    code = Code.ALREADY_EXISTS


class PermissionDenied(LanewayError):
    code = Code.PERMISSION_DENIED


class ResourceExhausted(LanewayError):
    code = Code.RESOURCE_EXHAUSTED


class FailedPrecondition(LanewayError):
    code = Code.FAILED_PRECONDITION


class Aborted(LanewayError):
    code = Code.ABORTED


class OutOfRange(LanewayError):
    code = Code.OUT_OF_RANGE


class Unimplemented(LanewayError):
    code = Code.UNIMPLEMENTED


class Internal(LanewayError):
    code = Code.INTERNAL


class Unavailable(LanewayError):
    code = Code.UNAVAILABLE


class DataLoss(LanewayError):
    code = Code.DATA_LOSS


class Unauthenticated(LanewayError):
    code = Code.UNAUTHENTICATED


class ConfigurationError(LanewayError):
    """A mistake found at start, by the author or the operator of a service: one sentence with its remedy."""

    code = Code.FAILED_PRECONDITION


_BY_CODE: dict[Code, type[LanewayError]] = {
    cls.code: cls
    for cls in (
        Cancelled, Unknown, InvalidArgument, DeadlineExceeded, NotFound, AlreadyExists, PermissionDenied,
        ResourceExhausted, FailedPrecondition, Aborted, OutOfRange, Unimplemented, Internal, Unavailable,
        DataLoss, Unauthenticated,
    )
}  # fmt: skip


def error_of(
    code: int,
    message: str,
    *,
    reason: str | None = None,
    metadata: Mapping[str, str] | None = None,
    retry_after: float | None = None,
    violations: Sequence[Violation] = (),
) -> LanewayError:
    """The error for a `google.rpc.Code` that came over a wire; an unknown number is `Unknown`."""
    cls = _BY_CODE.get(Code(code), Unknown) if code in Code._value2member_map_ else Unknown
    return cls(message, reason=reason, metadata=metadata, retry_after=retry_after, violations=violations)
