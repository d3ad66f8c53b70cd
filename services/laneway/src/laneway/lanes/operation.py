"""A queued call as a row and as a `google.longrunning.Operation`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from google.longrunning import operations_pb2
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.status_pb2 import Status

from laneway.call import Identity
from laneway.contract.model import Method, read_path
from laneway.contract.policy import Priority
from laneway.errors import Cancelled, FailedPrecondition, InvalidArgument, Violation
from laneway.store.operations import Caller, Operation, State
from laneway.store.outbox import OutboxMessage
from laneway.telemetry import names
from laneway.v1 import system_pb2

PUBLISH_GRACE = 2.0
"""Seconds a committing process has to publish its own messages before the relay does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When a queued call may start, and before which others.

    Attributes:
        at: not before this moment, in seconds since the epoch.
        after: not before so many seconds have passed; counts where `at` is not said.
        priority: what the call itself says; the contract's, if nothing.
    """

    at: float | None = None
    after: float = 0.0
    priority: Priority | None = None

    @property
    def is_now(self) -> bool:
        """Whether it may start at once."""
        return self.at is None and not self.after

    def starts(self, now: float) -> float:
        """The moment from which on it may start."""
        return max(now, now + self.after if self.at is None else self.at)


NOW = Timing()


def timing(*, at: datetime | None = None, after: float | timedelta = 0.0, priority: Priority | None = None) -> Timing:
    """What a caller said of a start.

    Raises:
        InvalidArgument: both `at` and `after` were said, `after` is before now, or `at` has no time zone.
    """
    seconds = after.total_seconds() if isinstance(after, timedelta) else float(after)
    if not 0 <= seconds < float("inf"):
        raise InvalidArgument(f"after is {seconds:g} s; a start cannot lie before now.")
    if at is not None and seconds:
        raise InvalidArgument("A start is either `at` a moment or `after` some time; leave one away.")
    if at is not None and at.tzinfo is None:
        raise InvalidArgument(f"at is {at.isoformat()}, of no time zone; write `datetime(…, tzinfo=UTC)`.")
    return Timing(at=None if at is None else at.timestamp(), after=seconds, priority=priority)


def operation_name(owner: str, operation: str) -> str:
    """`operations/<service>/<id>`: any door finds the owner by the name."""
    return f"operations/{owner}/{operation}"


def caller_of(identity: Identity) -> Caller:
    """Who may ask about an operation that somebody starts."""
    return Caller(identity.tenant, identity.principal or "")


def caller_told(headers: Mapping[str, str]) -> Caller | None:
    """Who may ask about the operation of a message; nobody, when it is a tick of a schedule."""
    return None if names.SCHEDULED_AT in headers else caller_of(Identity.of(headers))


def cancelled(method: str) -> Cancelled:
    """How a call ends that was cancelled."""
    return Cancelled(f"{method} was cancelled by its caller.", reason="OPERATION_CANCELLED")


def queued(
    method: Method,
    request: Message,
    operation: str,
    headers: Mapping[str, str],
    now: float,
    timing: Timing = NOW,
) -> OutboxMessage:
    """The outbox row of a queued call."""
    work = method.policy.queue
    if work is None:
        raise FailedPrecondition(f"{method.full_name} cannot be started; declare `queue {{}}` in its contract.")
    starts, key = timing.starts(now), _order_key(method, request, work.order_by)
    return OutboxMessage(
        id=operation,
        service=method.owner,
        queue=work.queue,
        method=method.full_name,
        payload=request.SerializeToString(),
        headers=dict(headers),
        due_at=now + PUBLISH_GRACE if timing.is_now and key is None else starts,
        start_by=None if work.start_within is None else starts + work.start_within,
        created_at=starts,
        priority=work.priority if timing.priority is None else timing.priority,
        order_key=key,
    )


def _order_key(method: Method, request: Message, order_by: str | None) -> str | None:
    if order_by is None:
        return None
    key = read_path(request, order_by)
    if not key:
        sentence = f"{method.full_name} is ordered by `{order_by}`, which is empty."
        raise InvalidArgument(sentence, violations=[Violation(order_by, "must not be empty")])
    return key


def as_message(owner: str, operation: Operation) -> operations_pb2.Operation:
    """The operation as its callers see it."""
    seen = operations_pb2.Operation(name=operation_name(owner, operation.id))
    seen.metadata.Pack(_metadata(operation))
    if operation.state is State.SUCCEEDED:
        seen.done = True
        seen.response.CopyFrom(
            Any(type_url=f"type.googleapis.com/{operation.reply_type}", value=operation.reply or b"")
        )
    elif operation.error is not None:
        seen.done = True
        seen.error.CopyFrom(Status.FromString(operation.error))
    return seen


def _metadata(operation: Operation) -> system_pb2.OperationMetadata:
    told = system_pb2.OperationMetadata(
        method=operation.method or None,
        state=operation.state.name,
        create_time=_timestamp(operation.created_at),
        update_time=_timestamp(operation.updated_at),
    )
    if operation.cancelled_at is not None and not operation.done:
        told.cancelling = True
    if operation.progress is not None:
        told.progress.MergeFromString(operation.progress)
    return told


def _timestamp(seconds: float) -> Timestamp:
    moment = Timestamp()
    moment.FromMicroseconds(round(seconds * 1e6))
    return moment
