"""Errors as HTTP answers (AIP-193), by the table of google/rpc/code.proto."""

import math
from typing import Any

from google.protobuf import json_format

from laneway.errors import Code, LanewayError, error_of
from laneway.lanes.status import status_of

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
_BY_REASON = {"IDEMPOTENCY_KEY_REUSED": 422, "BODY_TOO_LARGE": 413, "METHOD_NOT_ALLOWED": 405}

DEFAULT_RETRY_AFTER = 1.0
"""Seconds, where the service is unavailable or late and says no time."""

_HIDDEN = {"UNREACHABLE": "A service behind this one cannot be reached; try again."}


def status_code(error: LanewayError) -> int:
    """The HTTP status of an error."""
    return _BY_REASON.get(error.reason or "", _HTTP[error.code])


def body_of(error: BaseException) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, JSON body and headers; nothing of our insides is in them."""
    status = status_of(error)
    known = error if isinstance(error, LanewayError) else error_of(status.code, status.message)
    code = status_code(known)
    message = _HIDDEN.get(known.reason or "", status.message)
    details = json_format.MessageToDict(status).get("details", [])
    body = {"error": {"code": code, "message": message, "status": Code(status.code).name, "details": details}}
    after = known.retry_after
    if after is None and code in (503, 504):
        after = DEFAULT_RETRY_AFTER
    return code, body, {} if after is None else {"Retry-After": str(max(1, math.ceil(after)))}
