"""The messages of google/protobuf that JSON writes in a form of their own.

A decoder gives what the constructor of the message (or of the field of its type) takes.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.message import Message

from laneway.lanes.rest.protojson.mismatch import Mismatch

WRAPPERS = frozenset(
    f"google.protobuf.{kind}Value"
    for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
ANY = "google.protobuf.Any"
STRUCT = "google.protobuf.Struct"
VALUE = "google.protobuf.Value"
LIST = "google.protobuf.ListValue"
TIMESTAMP = "google.protobuf.Timestamp"
DURATION = "google.protobuf.Duration"
FIELD_MASK = "google.protobuf.FieldMask"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_DURATION = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?s")
_LONGEST_DURATION = 315_576_000_000
_NANOS = 1_000_000_000
_CAMEL = re.compile(r"[A-Z]")
_SNAKE = re.compile(r"_([a-z])")


def timestamp(value: Any) -> dict[str, int]:
    """RFC 3339, in the years 1 to 9999."""
    found = _TIMESTAMP.fullmatch(value) if type(value) is str else None
    if found is None:
        raise Mismatch("a time is expected, like 2026-01-02T03:04:05.678Z")
    try:
        instant = datetime.fromisoformat(found[1] + ("+00:00" if found[3] == "Z" else found[3]))
        since = instant - _EPOCH
        instant.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Mismatch(f"{value} is no time of the years 1 to 9999") from None
    return {"seconds": since.days * 86_400 + since.seconds, "nanos": _nanos(found[2])}


def text_of_timestamp(message: Any) -> str:
    """RFC 3339 in UTC, with as many groups of three digits as needed."""
    try:
        instant = _EPOCH + timedelta(seconds=message.seconds)
    except OverflowError:
        raise ValueError("a Timestamp is outside the years 1 to 9999") from None
    if not 0 <= message.nanos < _NANOS:
        raise ValueError("a Timestamp's nanos are outside 0 to 999999999")
    return f"{instant.isoformat()[:19]}{_fraction(message.nanos)}Z"


def duration(value: Any) -> dict[str, int]:
    """Seconds with up to nine digits of fraction, like `1.5s`."""
    found = _DURATION.fullmatch(value) if type(value) is str else None
    if found is None:
        raise Mismatch("a duration is expected, like 1.5s")
    seconds, nanos = int(found[2]), _nanos(found[3])
    if seconds > _LONGEST_DURATION or (seconds == _LONGEST_DURATION and nanos):
        raise Mismatch(f"{value} is longer than 10,000 years")
    return {"seconds": -seconds, "nanos": -nanos} if found[1] else {"seconds": seconds, "nanos": nanos}


def text_of_duration(message: Any) -> str:
    """Seconds with as many groups of three digits as needed."""
    seconds, nanos = message.seconds, message.nanos
    if abs(seconds) > _LONGEST_DURATION or abs(nanos) >= _NANOS or seconds * nanos < 0:
        raise ValueError("a Duration is outside its range, or its parts have different signs")
    sign = "-" if seconds < 0 or nanos < 0 else ""
    return f"{sign}{abs(seconds)}{_fraction(abs(nanos))}s"


def field_mask(value: Any) -> dict[str, list[str]]:
    """Paths in lowerCamelCase, with commas between them."""
    if type(value) is not str:
        raise Mismatch("a field mask is expected, like title,author.name")
    if "_" in value:
        raise Mismatch("a field mask has its names in lowerCamelCase")
    return {"paths": [_CAMEL.sub(lambda found: f"_{found[0].lower()}", path) for path in value.split(",") if path]}


def text_of_field_mask(message: Any) -> str:
    """Paths in lowerCamelCase, with commas between them."""
    for path in message.paths:
        if _CAMEL.search(path) or _SNAKE.sub("", path).count("_"):
            raise ValueError(f"a FieldMask's path `{path}` has no form in JSON")
    return ",".join(_SNAKE.sub(lambda found: found[1].upper(), path) for path in message.paths)


def struct(value: Any) -> dict[str, Any]:
    """Any JSON object; fields of type Struct take it as it is."""
    if type(value) is not dict:
        raise Mismatch("an object is expected")
    return value


def struct_fields(value: Any) -> dict[str, Any]:
    """Any JSON object, as the constructor of Struct itself takes it."""
    return {"fields": {name: any_value(member) for name, member in struct(value).items()}}


def list_value(value: Any) -> dict[str, Any]:
    """Any JSON array."""
    if type(value) is not list:
        raise Mismatch("an array is expected")
    return {"values": [any_value(item) for item in value]}


def any_value(value: Any) -> dict[str, Any]:
    """Any JSON value."""
    if value is None:
        return {"null_value": 0}
    kind, convert = _KINDS[type(value)]
    return {kind: convert(value)}


def json_of_value(message: Any) -> Any:
    """What a Value says; one that says nothing is null."""
    kind = message.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    if kind == "struct_value":
        return json_of_struct(message.struct_value)
    if kind == "list_value":
        return json_of_list(message.list_value)
    value = getattr(message, kind)
    if kind == "number_value" and not abs(value) <= 1.7976931348623157e308:
        raise ValueError("JSON has no number for a Value's NaN or Infinity")
    return value


def json_of_struct(message: Any) -> dict[str, Any]:
    """An object of whatever the Struct holds."""
    return {name: json_of_value(value) for name, value in message.fields.items()}


def json_of_list(message: Any) -> list[Any]:
    """An array of whatever the ListValue holds."""
    return [json_of_value(value) for value in message.values]


DECODERS: dict[str, Callable[[Any], dict[str, Any]]] = {
    TIMESTAMP: timestamp,
    DURATION: duration,
    FIELD_MASK: field_mask,
    STRUCT: struct,
    LIST: list_value,
    VALUE: any_value,
}
ENCODERS: dict[str, Callable[[Message], Any]] = {
    TIMESTAMP: text_of_timestamp,
    DURATION: text_of_duration,
    FIELD_MASK: text_of_field_mask,
    STRUCT: json_of_struct,
    LIST: json_of_list,
    VALUE: json_of_value,
}

_KINDS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    bool: ("bool_value", bool),
    str: ("string_value", str),
    int: ("number_value", float),
    float: ("number_value", float),
    dict: ("struct_value", struct),
    list: ("list_value", list_value),
}


def _nanos(digits: str | None) -> int:
    return int(digits.ljust(9, "0")) if digits else 0


def _fraction(nanos: int) -> str:
    if not nanos:
        return ""
    digits = f"{nanos:09d}"
    return f".{digits[:3]}" if nanos % 1_000_000 == 0 else f".{digits[:6]}" if nanos % 1000 == 0 else f".{digits}"
