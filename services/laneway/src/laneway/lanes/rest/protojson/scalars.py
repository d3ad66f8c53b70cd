"""Scalars from JSON values and to them."""

import math
import re
import struct
from binascii import Error as NotBase64
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from laneway.lanes.rest.protojson.mismatch import Mismatch

Convert = Callable[[Any], Any]

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,5})?")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_LONGEST = 400
"""Characters of a number in quotes; a double needs at most 327 to be written without an exponent."""
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

_INTEGERS = {
    FieldDescriptor.TYPE_INT32: ("int32", -(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_SINT32: ("int32", -(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_SFIXED32: ("int32", -(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: ("uint32", 0, 2**32 - 1),
    FieldDescriptor.TYPE_FIXED32: ("uint32", 0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: ("int64", -(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_SINT64: ("int64", -(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_SFIXED64: ("int64", -(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: ("uint64", 0, 2**64 - 1),
    FieldDescriptor.TYPE_FIXED64: ("uint64", 0, 2**64 - 1),
}


def converter(field: FieldDescriptor) -> Convert:
    """What makes a field's scalar of a JSON value; it raises `Mismatch`."""
    if field.type in _INTEGERS:
        return _integer(*_INTEGERS[field.type])
    if field.enum_type is not None:
        return _enum(field.enum_type)
    return {
        FieldDescriptor.TYPE_BOOL: _bool,
        FieldDescriptor.TYPE_STRING: string,
        FieldDescriptor.TYPE_BYTES: _bytes,
        FieldDescriptor.TYPE_FLOAT: _float,
        FieldDescriptor.TYPE_DOUBLE: _double,
    }[field.type]


def key_converter(field: FieldDescriptor) -> Convert:
    """What makes a map's key of the name of a JSON object's member."""
    if field.type == FieldDescriptor.TYPE_BOOL:
        return bool_of_text
    return converter(field)


def bool_of_text(value: str) -> bool:
    """`true` or `false`, as in map keys and in query parameters."""
    if value == "true":
        return True
    if value == "false":
        return False
    raise Mismatch("true or false is expected")


def _integer(name: str, low: int, high: int) -> Convert:
    def convert(value: Any) -> int:
        if type(value) is not int:
            value = _integral(value, name)
        if low <= value <= high:
            return int(value)
        raise Mismatch(f"{value} is out of range for {name}")

    return convert


def _integral(value: Any, name: str) -> int:
    """An integer that JSON wrote in another way: in quotes, or with a fraction of zero."""
    if type(value) is str:
        return _quoted(value, name)
    # An integer beyond 64 bits comes as a float: one below the lowest must not be rounded into the range.
    if type(value) is float and value.is_integer() and value > -(2.0**63):
        return int(value)
    raise Mismatch(f"an integer ({name}) is expected")


def _quoted(value: str, name: str) -> int:
    if len(value) <= 20:
        # Most are plain: what Python writes the same way again is an integer of JSON's grammar, too.
        try:
            plain = int(value)
        except ValueError:
            plain = None
        if plain is not None and str(plain) == value:
            return plain
    if len(value) <= _LONGEST and _NUMBER.fullmatch(value):
        number = Decimal(value)
        if number.adjusted() > 20:
            raise Mismatch(f"{value} is out of range for {name}")
        if number == number.to_integral_value():
            return int(number)
    raise Mismatch(f"an integer ({name}) is expected")


def _double(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        return float(value)
    if type(value) is str and len(value) <= _LONGEST:
        if value in _SPECIAL:
            return _SPECIAL[value]
        if _NUMBER.fullmatch(value):
            number = float(value)
            if math.isinf(number):
                raise Mismatch(f"{value} is out of range for double")
            return number
    raise Mismatch("a number is expected")


def _float(value: Any) -> float:
    number = _double(value)
    try:
        struct.pack("<f", number)
    except OverflowError:
        raise Mismatch(f"{value} is out of range for float") from None
    return number


def _bool(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise Mismatch("true or false is expected")


def string(value: Any) -> str:
    """A string."""
    if type(value) is str:
        return value
    raise Mismatch("a string is expected")


def _bytes(value: Any) -> bytes:
    """Either alphabet, padded or not: all that ProtoJSON accepts."""
    if type(value) is not str:
        raise Mismatch("a string in base64 is expected")
    try:
        bare = value.encode("ascii").translate(_URL_SAFE).rstrip(b"=")
        return a2b_base64(bare + b"=" * (-len(bare) % 4), strict_mode=True)
    except (NotBase64, UnicodeEncodeError):
        raise Mismatch("this is not base64") from None


def _enum(enum: EnumDescriptor) -> Convert:
    """By name or by number; an open enum keeps numbers it does not know."""
    numbers: Mapping[str, int] = {name: value.number for name, value in enum.values_by_name.items()}
    known = frozenset(numbers.values())
    nullable = is_null_value(enum)
    integer = _integer("int32", -(2**31), 2**31 - 1)

    def convert(value: Any) -> int:
        if type(value) is str and value in numbers:
            return numbers[value]
        if value is None and nullable:
            return 0
        try:
            number: int = integer(value)
        except Mismatch:
            raise Mismatch(f"{enum.name} has no value {str(value)[:64]!r}") from None
        if enum.is_closed and number not in known:
            raise Mismatch(f"{enum.name} has no value {number}")
        return number

    return convert


def is_null_value(enum: EnumDescriptor | None) -> bool:
    """Whether it is the enum that stands for JSON's null."""
    return enum is not None and enum.full_name == "google.protobuf.NullValue"


def text_of_bytes(value: bytes) -> str:
    """Bytes as base64."""
    return b2a_base64(value, newline=False).decode("ascii")


def json_of_double(value: float) -> float | str:
    """A double as JSON writes it: what is no number is a word."""
    if math.isfinite(value):
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def json_of_float(value: float) -> float | str:
    """A float by the fewest digits that mean the same float."""
    if not math.isfinite(value):
        return json_of_double(value)
    for digits in (6, 7, 8):
        short = float(f"{value:.{digits}g}")
        if abs(short) <= _FLOAT_MAX and struct.unpack("<f", struct.pack("<f", short))[0] == value:
            return short
    return float(f"{value:.9g}")


_FLOAT_MAX = 3.4028235e38


def is_negative_zero(value: float) -> bool:
    """-0.0, which a field without presence keeps although it equals its default."""
    return value == 0 and math.copysign(1, value) < 0
