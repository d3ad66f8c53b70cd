"""Errors as `google.rpc.Status`: the one form in which they cross lanes and are stored."""

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from laneway.errors import Internal, LanewayError, Violation, error_of

DOMAIN = "laneway.dev"


def status_of(error: BaseException) -> Status:
    """The status a caller sees. An error that is not ours says nothing of its insides."""
    if not isinstance(error, LanewayError):
        error = Internal("The service failed; its log has the cause.", reason="UNHANDLED")
    status = Status(code=int(error.code), message=error.message)
    if error.reason is not None:
        _add(status, ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata))
    if error.retry_after is not None:
        delay = Duration()
        delay.FromNanoseconds(round(error.retry_after * 1e9))
        _add(status, RetryInfo(retry_delay=delay))
    if error.violations:
        wrong = [BadRequest.FieldViolation(field=each.field, description=each.description) for each in error.violations]
        _add(status, BadRequest(field_violations=wrong))
    return status


def _add(status: Status, detail: ErrorInfo | RetryInfo | BadRequest) -> None:
    packed = Any()
    packed.Pack(detail)
    status.details.append(packed)


def error_from(status: Status) -> LanewayError:
    """The error that a status stands for."""
    info, retry, request = ErrorInfo(), RetryInfo(), BadRequest()
    for detail in status.details:
        if not detail.Unpack(info) and not detail.Unpack(retry):
            detail.Unpack(request)
    return error_of(
        status.code,
        status.message,
        reason=info.reason or None,
        metadata=dict(info.metadata),
        retry_after=retry.retry_delay.ToNanoseconds() / 1e9 if retry.HasField("retry_delay") else None,
        violations=[Violation(wrong.field, wrong.description) for wrong in request.field_violations],
    )
