"""When a server wants to be called again, as gRPC has it (gRFC A6). Must not know who waits, nor for how long."""

import math
import re
from typing import Any

PUSHBACK = "grpc-retry-pushback-ms"

NEVER = -1.0
"""The wish not to be called again at all."""

_LONGEST = 2**31 - 1
"""Milliseconds; the header is a signed number of 32 bits."""

_MILLISECONDS = re.compile(r"[0-9]{1,10}", re.ASCII)


def wish_of(trailers: Any) -> float | None:
    """Seconds until the server wants the call again. `NEVER` if it says a negative number, or what is none."""
    for key, value in trailers or ():
        if key == PUSHBACK:
            known = isinstance(value, str) and _MILLISECONDS.fullmatch(value) and int(value) <= _LONGEST
            return int(value) / 1000 if known else NEVER
    return None


def trailers_of(retry_after: float | None) -> tuple[tuple[str, str], ...]:
    """The wish for clients that do not read `google.rpc.RetryInfo`."""
    if retry_after is None:
        return ()
    milliseconds = -1 if retry_after < 0 else min(_LONGEST, math.ceil(retry_after * 1000))
    return ((PUSHBACK, str(milliseconds)),)
