"""Hypothesis strategies for messages of any type."""

import math
import struct
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from laneway.lanes.rest.protojson.decode import map_entry

TEXT = st.text(max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | TEXT | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
NANOS = st.sampled_from([0, 1, 1_000, 1_000_000, 120_000_000, 123_456_789, 999_999_999])
SECONDS = st.integers(-62_135_596_800, 253_402_300_799)


def _float32(value: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def _one_nan(value: float) -> float:
    return math.nan if math.isnan(value) else value


_FLOATS = st.floats(width=32).map(_one_nan).map(_float32)
_BY_TYPE: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_DOUBLE: st.floats().map(_one_nan),
    FieldDescriptor.TYPE_FLOAT: _FLOATS,
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_STRING: TEXT,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=6),
}
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


@st.composite
def messages(draw: Callable[..., Any], descriptor: Descriptor, depth: int = 0) -> Message:
    """A message with a few of its fields set."""
    special = _SPECIAL.get(descriptor.full_name)
    if special is not None:
        return special(draw, descriptor, depth)
    if not descriptor.fields:
        return GetMessageClass(descriptor)()
    chosen = draw(st.lists(st.sampled_from(list(descriptor.fields)), max_size=5 if depth < 2 else 0, unique=True))
    taken: set[str] = set()
    fields: dict[str, Any] = {}
    for field in chosen:
        oneof = field.containing_oneof
        if oneof is not None and oneof.name in taken:
            continue
        taken |= {oneof.name} if oneof is not None else set()
        fields[field.name] = draw(_of(field, depth))
    return GetMessageClass(descriptor)(**fields)


def _of(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    entry = map_entry(field)
    if entry is not None:
        by_name = entry.fields_by_name
        return st.dictionaries(_single(by_name["key"], depth), _single(by_name["value"], depth), max_size=2)
    single = _single(field, depth)
    return st.lists(single, max_size=3) if field.is_repeated else single


def _single(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        return messages(field.message_type, depth + 1)
    if field.enum_type is not None:
        if field.enum_type.name == "NullValue":
            return st.just(0)
        return st.sampled_from([value.number for value in field.enum_type.values]) | st.integers(-(2**31), 2**31 - 1)
    bounds = _INTEGERS.get(field.cpp_type)
    return _BY_TYPE[field.type] if bounds is None else st.integers(*bounds) | st.sampled_from([0, *bounds])


def _timestamp(draw: Callable[..., Any], descriptor: Descriptor, depth: int) -> Message:
    return GetMessageClass(descriptor)(seconds=draw(SECONDS), nanos=draw(NANOS))


def _duration(draw: Callable[..., Any], descriptor: Descriptor, depth: int) -> Message:
    sign = draw(st.sampled_from([1, -1]))
    seconds = draw(st.integers(0, 315_575_999_999))
    return GetMessageClass(descriptor)(seconds=sign * seconds, nanos=sign * draw(NANOS))


def _field_mask(draw: Callable[..., Any], descriptor: Descriptor, depth: int) -> Message:
    return GetMessageClass(descriptor)(
        paths=draw(st.lists(st.from_regex(r"[a-z]+(_[a-z]+)?(\.[a-z]+)?", fullmatch=True)))
    )


def _struct(draw: Callable[..., Any], descriptor: Descriptor, depth: int) -> Message:
    message: Any = GetMessageClass(descriptor)()
    message.update(draw(st.dictionaries(TEXT, JSON, max_size=3)))
    return message


def _list(draw: Callable[..., Any], descriptor: Descriptor, depth: int) -> Message:
    message: Any = GetMessageClass(descriptor)()
    message.extend(draw(st.lists(JSON, max_size=3)))
    return message


def _value(draw: Callable[..., Any], descriptor: Descriptor, depth: int) -> Message:
    holder: Any = GetMessageClass(descriptor.fields_by_name["list_value"].message_type)()
    holder.extend([draw(JSON)])
    return holder.values[0]


def _any(draw: Callable[..., Any], descriptor: Descriptor, depth: int) -> Message:
    pool, names = (
        descriptor.file.pool,
        ["test.every.v1.Every", "google.protobuf.Duration", "google.protobuf.Int64Value"],
    )
    if depth > 2:
        return GetMessageClass(descriptor)()
    kind = pool.FindMessageTypeByName(
        draw(st.sampled_from([*names, "google.protobuf.Struct", "google.protobuf.Empty"]))
    )
    content = draw(messages(kind, depth + 1))
    url = f"type.googleapis.com/{kind.full_name}"
    return GetMessageClass(descriptor)(type_url=url, value=content.SerializeToString(deterministic=True))


_SPECIAL: dict[str, Callable[[Callable[..., Any], Descriptor, int], Message]] = {
    "google.protobuf.Any": _any,
    "google.protobuf.Duration": _duration,
    "google.protobuf.FieldMask": _field_mask,
    "google.protobuf.ListValue": _list,
    "google.protobuf.Struct": _struct,
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Value": _value,
}
