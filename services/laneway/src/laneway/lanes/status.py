"""Errors as `google.rpc.Status`: the one form in which they cross lanes and are stored."""

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from laneway.errors import Internal, LanewayError, error_of

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
    return status


def _add(status: Status, detail: ErrorInfo | RetryInfo) -> None:
    packed = Any()
    packed.Pack(detail)
    status.details.append(packed)


def error_from(status: Status) -> LanewayError:
    """The error that a status stands for."""
    info, retry = ErrorInfo(), RetryInfo()
    for detail in status.details:
        if not detail.Unpack(info):
            detail.Unpack(retry)
    return error_of(
        status.code,
        status.message,
        reason=info.reason or None,
        metadata=dict(info.metadata),
        retry_after=retry.retry_delay.ToNanoseconds() / 1e9 if retry.HasField("retry_delay") else None,
    )
