"""What JSON means: names and shapes, which bytes do not carry. The REST lane speaks it."""

from collections.abc import Iterator

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from laneway.contract.breaking.pairs import fields, kept
from laneway.contract.breaking.wire import TYPES, reads, type_of
from laneway.contract.findings import Finding, Rule
from laneway.contract.sources import Source

FIELD_NAME = Rule("FIELD_SAME_NAME", "A field has another name.")
FIELD_JSON_NAME = Rule("FIELD_SAME_JSON_NAME", "A field has another name in JSON.")
FIELD_JSON_TYPE = Rule("FIELD_WIRE_JSON_COMPATIBLE_TYPE", "A field is written otherwise in JSON.")
VALUE_NAME = Rule("ENUM_VALUE_SAME_NAME", "A value of an enum has another name.")
RULES = (FIELD_NAME, FIELD_JSON_NAME, FIELD_JSON_TYPE, VALUE_NAME)

_SHAPES = {
    **dict.fromkeys(("INT32", "UINT32", "SINT32", "FIXED32", "SFIXED32"), "a number"),
    **dict.fromkeys(("INT64", "UINT64", "SINT64", "FIXED64", "SFIXED64"), "a string of digits"),
    "BOOL": "true or false",
    "STRING": "a string",
    "BYTES": "base64",
}


def check(before: Source, after: Source) -> Iterator[Finding]:
    """Applies the rules to every field and every value of an enum."""
    for was, now in fields(before, after):
        yield from _of_field(was, now)
    for enum_was, enum in kept(before.enums, after.enums):
        yield from _of_enum(enum_was, enum)


def _of_field(was: FieldDescriptor, now: FieldDescriptor) -> Iterator[Finding]:
    name = now.full_name
    if was.name != now.name:
        yield FIELD_NAME.at(name, f"it was `{was.name}`: paths, masks and queries have that name", "name it as it was")
    elif was.json_name != now.json_name:
        yield FIELD_JSON_NAME.at(
            name, f"it was `{was.json_name}` in JSON and is `{now.json_name}`", f'set `json_name = "{was.json_name}"`'
        )
    old, new = _SHAPES.get(TYPES[was.type]), _SHAPES.get(TYPES[now.type])
    if reads(was, now) and old is not None and new is not None and old != new:
        yield FIELD_JSON_TYPE.at(
            name, f"it was {type_of(was)} ({old}) and is {type_of(now)} ({new})", "add a field beside it"
        )


def _of_enum(was: EnumDescriptor, now: EnumDescriptor) -> Iterator[Finding]:
    names = {value.name for value in now.values}
    for value in was.values:
        if value.number in now.values_by_number and value.name not in names:
            yield VALUE_NAME.at(
                now.full_name,
                f"{value.number} was `{value.name}` and is `{now.values_by_number[value.number].name}`",
                f"keep `{value.name}`, as an alias if need be",
            )
