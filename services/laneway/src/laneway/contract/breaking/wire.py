"""What bytes mean: buf's rules of the category WIRE, and the messages and enums themselves."""

from collections.abc import Iterable, Iterator

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto

from laneway.contract.breaking.pairs import fields, gone, kept
from laneway.contract.findings import Finding, Rule
from laneway.contract.sources import Source

MESSAGE_NO_DELETE = Rule("MESSAGE_NO_DELETE", "A message is gone.")
ENUM_NO_DELETE = Rule("ENUM_NO_DELETE", "An enum is gone.")
FIELD_NO_DELETE = Rule("FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED", "A field is gone, and its number is free.")
FIELD_TYPE = Rule("FIELD_WIRE_COMPATIBLE_TYPE", "A field has a type that reads its bytes otherwise.")
FIELD_CARDINALITY = Rule("FIELD_WIRE_COMPATIBLE_CARDINALITY", "A field became repeated, or single.")
FIELD_ONEOF = Rule("FIELD_SAME_ONEOF", "A field moved into a oneof, or out of one.")
FIELD_DEFAULT = Rule("FIELD_SAME_DEFAULT", "A field that is not sent means something else.")
REQUIRED = Rule("MESSAGE_SAME_REQUIRED_FIELDS", "A message requires other fields.")
VALUE_NO_DELETE = Rule("ENUM_VALUE_NO_DELETE_UNLESS_NUMBER_RESERVED", "A value of an enum is gone, its number free.")
RESERVED_MESSAGE = Rule("RESERVED_MESSAGE_NO_DELETE", "A message's reserved number or name is free again.")
RESERVED_ENUM = Rule("RESERVED_ENUM_NO_DELETE", "An enum's reserved number or name is free again.")
RULES = (
    MESSAGE_NO_DELETE, ENUM_NO_DELETE, FIELD_NO_DELETE, FIELD_TYPE, FIELD_CARDINALITY, FIELD_ONEOF, FIELD_DEFAULT,
    REQUIRED, VALUE_NO_DELETE, RESERVED_MESSAGE, RESERVED_ENUM,
)  # fmt: skip

_ALIKE = {
    **dict.fromkeys(("INT32", "INT64", "UINT32", "UINT64", "BOOL"), "varint"),
    **dict.fromkeys(("SINT32", "SINT64"), "zigzag"),
    **dict.fromkeys(("FIXED32", "SFIXED32"), "fixed 32"),
    **dict.fromkeys(("FIXED64", "SFIXED64"), "fixed 64"),
}
"""Types of which one reads the other's bytes, by https://protobuf.dev/programming-guides/proto3/#updating."""

TYPES = {
    number: name.removeprefix("TYPE_")
    for name, number in vars(FieldDescriptor).items()
    if name.startswith("TYPE_") and isinstance(number, int)
}
"""The names of the types of fields."""


def check(before: Source, after: Source) -> Iterator[Finding]:
    """Applies the rules to every message and enum."""
    for name in gone(before.messages, after.messages):
        yield MESSAGE_NO_DELETE.at(name, "it was there", "bring it back; to retire it, mark it deprecated")
    for name in gone(before.enums, after.enums):
        yield ENUM_NO_DELETE.at(name, "it was there", "bring it back; to retire it, mark it deprecated")
    for message_was, message in kept(before.messages, after.messages):
        yield from _of_message(message_was, message)
    for enum_was, enum in kept(before.enums, after.enums):
        yield from _of_enum(enum_was, enum)
    for was, now in fields(before, after):
        yield from _of_field(was, now)


def type_of(field: FieldDescriptor) -> str:
    """A field's type as a contract spells it."""
    named = field.message_type or field.enum_type
    return str(named.full_name) if named is not None else TYPES[field.type].lower()


def _of_message(was: Descriptor, now: Descriptor) -> Iterator[Finding]:
    old, new = DescriptorProto(), DescriptorProto()
    was.CopyToProto(old)
    now.CopyToProto(new)
    free = [(each.start, each.end) for each in new.reserved_range]
    for number, field in was.fields_by_number.items():
        if number not in now.fields_by_number and not _covered((number, number + 1), free):
            yield FIELD_NO_DELETE.at(
                now.full_name,
                f"`{field.name}` = {number} is gone, and another field may take its number",
                f"write `reserved {number};`, or bring it back",
            )
    required = [{field.name for field in each.fields if field.is_required} for each in (was, now)]
    if required[0] != required[1]:
        names = ", ".join(sorted(required[0] ^ required[1]))
        yield REQUIRED.at(now.full_name, f"whether {names} must be there has changed", "leave it as it was")
    yield from _of_reserved(RESERVED_MESSAGE, now.full_name, old, new, inclusive=0)


def _of_enum(was: EnumDescriptor, now: EnumDescriptor) -> Iterator[Finding]:
    old, new = EnumDescriptorProto(), EnumDescriptorProto()
    was.CopyToProto(old)
    now.CopyToProto(new)
    free = [(each.start, each.end + 1) for each in new.reserved_range]
    for number, value in was.values_by_number.items():
        if number not in now.values_by_number and not _covered((number, number + 1), free):
            yield VALUE_NO_DELETE.at(
                now.full_name,
                f"`{value.name}` = {number} is gone, and another value may take its number",
                f"write `reserved {number};`, or bring it back",
            )
    yield from _of_reserved(RESERVED_ENUM, now.full_name, old, new, inclusive=1)


Reserving = DescriptorProto | EnumDescriptorProto


def _of_reserved(rule: Rule, name: str, old: Reserving, new: Reserving, *, inclusive: int) -> Iterator[Finding]:
    """An enum's ranges include their ends, a message's do not."""
    now = [(each.start, each.end + inclusive) for each in new.reserved_range]
    for each in old.reserved_range:
        if not _covered((each.start, each.end + inclusive), now):
            numbers = f"{each.start} to {each.end + inclusive - 1}"
            yield rule.at(name, f"the numbers {numbers} are not all reserved any more", "reserve them again")
    for free in sorted(set(old.reserved_name) - set(new.reserved_name)):
        yield rule.at(name, f'the name "{free}" is not reserved any more', "reserve it again")


def _covered(numbers: tuple[int, int], ranges: Iterable[tuple[int, int]]) -> bool:
    at, end = numbers
    for start, stop in sorted(ranges):
        if start <= at < stop:
            at = stop
    return at >= end


def _of_field(was: FieldDescriptor, now: FieldDescriptor) -> Iterator[Finding]:
    name = now.full_name
    if not reads(was, now):
        yield FIELD_TYPE.at(name, f"it was {type_of(was)} and is {type_of(now)}", "add a field beside it")
    if was.is_repeated != now.is_repeated:
        shape = "repeated and is single" if was.is_repeated else "single and is repeated"
        yield FIELD_CARDINALITY.at(name, f"it was {shape}", "add a field beside it")
    if (old := _oneof(was)) != (new := _oneof(now)):
        yield FIELD_ONEOF.at(
            name, f"it was {_place(old)} and is {_place(new)}: who sets two of them loses one", "add a field beside it"
        )
    comparable = was.type == now.type and not was.is_repeated and not now.is_repeated
    if comparable and was.default_value != now.default_value:
        yield FIELD_DEFAULT.at(name, f"its default was {was.default_value!r} and is {now.default_value!r}", "keep it")


def reads(was: FieldDescriptor, now: FieldDescriptor) -> bool:
    """Whether a field as it is now reads what was written of it before."""
    old, new = TYPES[was.type], TYPES[now.type]
    if (old, new) == ("STRING", "BYTES"):
        return True
    same = old == new or (old in _ALIKE and _ALIKE[old] == _ALIKE.get(new))
    return same and (old not in ("MESSAGE", "GROUP", "ENUM") or type_of(was) == type_of(now))


def _oneof(field: FieldDescriptor) -> str | None:
    """The oneof that the author wrote; `optional` makes one of its own, named after its field."""
    oneof = field.containing_oneof
    if oneof is None or (len(oneof.fields) == 1 and oneof.name == f"_{field.name}"):
        return None
    return str(oneof.name)


def _place(oneof: str | None) -> str:
    return "in no oneof" if oneof is None else f"in `{oneof}`"
