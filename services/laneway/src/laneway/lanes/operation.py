"""A queued call as a row and as a `google.longrunning.Operation`."""

from collections.abc import Mapping

from google.longrunning import operations_pb2
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from laneway.contract.model import Method
from laneway.errors import FailedPrecondition
from laneway.store.operations import Operation, State
from laneway.store.outbox import OutboxMessage

PUBLISH_GRACE = 2.0
"""Seconds a committing process has to publish its own messages before the relay does."""


def operation_name(owner: str, operation: str) -> str:
    """`operations/<service>/<id>`: any door finds the owner by the name."""
    return f"operations/{owner}/{operation}"


def queued(
    method: Method, request: Message, operation: str, headers: Mapping[str, str], now: float, after: float = 0
) -> OutboxMessage:
    """The outbox row of a call that is to run `after` seconds from now."""
    work = method.policy.queue
    if work is None:
        raise FailedPrecondition(f"{method.full_name} cannot be started; declare `queue {{}}` in its contract.")
    return OutboxMessage(
        id=operation,
        service=method.owner,
        queue=work.queue,
        method=method.full_name,
        payload=request.SerializeToString(),
        headers=dict(headers),
        due_at=now + (after or PUBLISH_GRACE),
        start_by=None if work.start_within is None else now + after + work.start_within,
        created_at=now,
    )


def as_message(owner: str, operation: Operation) -> operations_pb2.Operation:
    """The operation as its callers see it."""
    seen = operations_pb2.Operation(name=operation_name(owner, operation.id))
    if operation.state is State.SUCCEEDED:
        seen.done = True
        seen.response.CopyFrom(
            Any(type_url=f"type.googleapis.com/{operation.reply_type}", value=operation.reply or b"")
        )
    elif operation.error is not None:
        seen.done = True
        seen.error.CopyFrom(Status.FromString(operation.error))
    return seen
