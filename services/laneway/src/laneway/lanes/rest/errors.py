"""Errors as HTTP answers (AIP-193), by the table of google/rpc/code.proto. Nothing of our insides is in them."""

import math
from typing import Any

from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as Packed
from google.rpc.status_pb2 import Status

from laneway.errors import Code, LanewayError
from laneway.lanes.status import error_from, status_of
from laneway.resilience.retry import UNNAMED

_HTTP = {
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}
_BY_REASON = {
    "BODY_TOO_LARGE": 413,
    "BODY_TOO_SLOW": 408,
    "HEADERS_TOO_LARGE": 431,
    "HEADERS_TOO_SLOW": 408,
    "IDEMPOTENCY_KEY_REUSED": 422,
    "METHOD_NOT_ALLOWED": 405,
    "UNSUPPORTED_ENCODING": 415,
}
CLOSING = frozenset({408, 413, 431})
"""After these the rest of the request is not read: the connection ends with the answer."""

DEFAULT_RETRY_AFTER = 1.0
"""Seconds, where the service is unavailable or late and says no time."""

_UNREACHABLE = "A service behind this one cannot be reached; try again."
_HIDDEN = {
    Code.UNKNOWN: "The service failed; its log has the cause.",
    Code.INTERNAL: "The service failed; its log has the cause.",
    Code.DATA_LOSS: "The service failed; its log has the cause.",
    Code.UNAVAILABLE: _UNREACHABLE,
    Code.DEADLINE_EXCEEDED: "The call did not end within its time.",
    Code.CANCELLED: "The call was cancelled.",
}
"""Said in place of what came without a reason: no author wrote it for the public, it may be a library's, with an
address or a stack trace in it."""


def status_code(error: LanewayError) -> int:
    """The HTTP status of an error."""
    return _BY_REASON.get(error.reason or "", _HTTP[error.code])


def body_of(error: BaseException) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, JSON body and headers."""
    status = status_of(error)
    known = error if isinstance(error, LanewayError) else None
    code = 500 if known is None else status_code(known)
    details = [found for detail in status.details if (found := _detail(detail)) is not None]
    body = {"code": code, "message": _message(known, status.message), "status": Code(status.code).name}
    after = known.retry_after if known is not None else None
    if after is None and code in (503, 504):
        after = DEFAULT_RETRY_AFTER
    headers = {} if after is None else {"Retry-After": str(max(1, math.ceil(after)))}
    if code in CLOSING:
        headers["Connection"] = "close"
    return code, {"error": {**body, "details": details}}, headers


def public(kept: Status) -> Status:
    """A status that was kept for who started a call, as the public may see it."""
    shown = Status()
    shown.CopyFrom(kept)
    shown.message = _message(error_from(kept), kept.message)
    return shown


def _message(error: LanewayError | None, said: str) -> str:
    if error is None:
        return said
    if error.reason == "UNREACHABLE":
        return _UNREACHABLE
    return _HIDDEN.get(error.code, said) if error.reason in (None, UNNAMED) else said


def _detail(detail: Packed) -> Any:
    try:
        return json_format.MessageToDict(detail)
    except (TypeError, ValueError):
        return None
