"""What a log may tell of a value: no secrets, and of messages no field that its contract marks `debug_redact`.

    optional string card_token = 4 [debug_redact = true];

Knows messages by their shape, so that what logs without protobuf can use it.
"""

import re
from collections.abc import Mapping
from typing import Any

REDACTED = "[redacted]"

LONGEST = 500
"""Characters of a text that are told."""

MOST = 20
"""Elements of a field that are told."""

_SECRET = re.compile(
    r"(?:^|[_-])(?:password|passwd|secret|token|authorization|cookie|credentials?)(?:$|[_-])", re.IGNORECASE
)
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^\s:/@]*):[^\s/@]+(?=@)")
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE)


def fact(name: str, value: object) -> object:
    """A named value as a log may tell it."""
    return REDACTED if _SECRET.search(name) and isinstance(value, str | bytes) else told(value)


def told(value: object) -> object:
    """A value as a log may tell it: messages, alone or in containers, become plain values."""
    if is_message(value):
        return _fields(value)
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, Mapping):
        return {str(key): fact(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [told(each) for each in value]
    return value


def without_secrets(text: str) -> str:
    """A text without the passwords in its URLs and its headers."""
    return _BEARER.sub(rf"\1 {REDACTED}", _PASSWORD_IN_URL.sub(rf"\1:{REDACTED}", text))


def is_message(value: object) -> bool:
    """Whether it is a protobuf message, of whatever implementation."""
    return hasattr(value, "DESCRIPTOR") and hasattr(value, "ListFields")


def _fields(message: Any) -> dict[str, object]:
    fields: dict[str, object] = {}
    for field, value in message.ListFields():
        if field.GetOptions().debug_redact:
            fields[field.name] = REDACTED
        elif isinstance(value, Mapping):
            redacted = field.message_type.fields_by_name["value"].GetOptions().debug_redact
            fields[field.name] = {str(key): REDACTED if redacted else _cut(value[key]) for key in list(value)[:MOST]}
        elif field.is_repeated:
            fields[field.name] = [_cut(each) for each in value[:MOST]]
        else:
            fields[field.name] = _cut(value)
    return fields


def _cut(value: object) -> object:
    plain = told(value)
    return plain[:LONGEST] + "…" if isinstance(plain, str) and len(plain) > LONGEST else plain
