"""The rules of `buf.validate` as keywords of JSON Schema.

What has no keyword (a CEL expression, the bounds of a duration) is said in the description: the schema then takes more
than the service does.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask

from buf.validate import validate_pb2
from laneway.contract.layers import stated

Schema = dict[str, Any]

LONG = frozenset(
    {
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT64,
        FieldDescriptor.TYPE_SINT64,
        FieldDescriptor.TYPE_FIXED64,
        FieldDescriptor.TYPE_SFIXED64,
    }
)
"""Numbers that JSON writes as text."""

_FORMATS = {
    "email": "email",
    "hostname": "hostname",
    "ipv4": "ipv4",
    "ipv6": "ipv6",
    "uri": "uri",
    "uri_ref": "uri-reference",
    "uuid": "uuid",
}
_STRING = {"const": "const", "min_len": "minLength", "max_len": "maxLength", "pattern": "pattern"}
_NUMBER = {
    "const": "const",
    "gt": "exclusiveMinimum",
    "gte": "minimum",
    "lt": "exclusiveMaximum",
    "lte": "maximum",
}
_HAS = re.compile(r"has\(this\.([\w.]+)\)")


def rules(field: FieldDescriptor) -> Any:
    """What the contract states of a field."""
    return stated(field, validate_pb2.field)


def constrained(schema: Schema, field: FieldDescriptor, stated: Any) -> Schema:
    """A schema with the rules of its field."""
    if stated.ignore == validate_pb2.IGNORE_ALWAYS:
        return schema
    kind = stated.WhichOneof("type")
    of_kind: Any = getattr(stated, kind) if kind else None
    keywords = dict(_KEYWORDS.get(str(kind), _of_number)(of_kind, field)) if kind else {}
    result = {**schema, **keywords}
    if kind == "repeated" and of_kind.HasField("items"):
        result["items"] = constrained(schema["items"], field, of_kind.items)
    if kind == "map" and of_kind.HasField("values"):
        value = _entry(field)["value"]
        result["additionalProperties"] = constrained(schema["additionalProperties"], value, of_kind.values)
    return _said(result, [rule.message or rule.expression for rule in stated.cel])


def demanded(kind: Descriptor) -> set[str]:
    """The paths of the fields that a message needs: `required` ones, and those of rules that ask for nothing else."""
    paths = {field.name for field in kind.fields if _is_needed(field)}
    for rule in stated(kind, validate_pb2.message).cel:
        paths |= _asked(rule.expression) or set()
    return paths


def beyond(kind: Descriptor) -> list[str]:
    """What a message's own rules say that no keyword does."""
    own = stated(kind, validate_pb2.message).cel
    return [rule.message or rule.expression for rule in own if _asked(rule.expression) is None]


def exclusive(kind: Descriptor) -> Iterator[tuple[list[FieldDescriptor], bool]]:
    """The groups of which one member at most is set, and whether one must be."""
    for oneof in kind.oneofs:
        needed = bool(stated(oneof, validate_pb2.oneof).required)
        if len(oneof.fields) > 1 or needed:
            yield list(oneof.fields), needed
    for group in stated(kind, validate_pb2.message).oneof:
        yield [kind.fields_by_name[name] for name in group.fields], group.required


def _asked(expression: str) -> set[str] | None:
    """The paths of an expression that is nothing but `has(this.a) && has(this.b.c)`."""
    found = [_HAS.fullmatch(part.strip()) for part in expression.split("&&")]
    return None if None in found else {match[1] for match in found if match is not None}


def _is_needed(field: FieldDescriptor) -> bool:
    own = rules(field)
    if own.ignore == validate_pb2.IGNORE_ALWAYS:
        return False
    if own.required:
        return True
    # Without presence an absent field has its default, and that is held to the rules.
    if field.has_presence or own.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE:
        return False
    lowest: int = own.repeated.min_items or own.map.min_pairs or own.string.min_len or own.string.len
    return lowest > 0


def _entry(field: FieldDescriptor) -> Any:
    """The fields of a map's entries."""
    entry: Any = field.message_type
    return entry.fields_by_name


def _of_string(own: Any, _: FieldDescriptor) -> Iterator[tuple[str, Any]]:
    for rule, keyword in _STRING.items():
        if own.HasField(rule):
            yield keyword, getattr(own, rule)
    if own.HasField("len"):
        yield "minLength", own.len
        yield "maxLength", own.len
    if own.HasField("prefix"):
        yield "pattern", "^" + re.escape(own.prefix)
    known = own.WhichOneof("well_known")
    if known in _FORMATS:
        yield "format", _FORMATS[known]
    yield from _of_choice(own)


def _of_number(own: Any, field: FieldDescriptor) -> Iterator[tuple[str, Any]]:
    set_rules = {rule.name for rule, _ in own.ListFields()}
    if field.type in LONG:
        yield from _of_long(own, set_rules)
        return
    for rule, keyword in _NUMBER.items():
        if rule in set_rules:
            yield keyword, getattr(own, rule)
    yield from _of_choice(own)


def _of_long(own: Any, set_rules: set[str]) -> Iterator[tuple[str, Any]]:
    """Text has no bounds; a sign and a zero it can be denied."""
    if "const" in set_rules:
        yield "const", str(own.const)
    if "gte" in set_rules and own.gte >= 0:
        yield "pattern", "^[0-9]+$" if own.gte == 0 else "^[1-9][0-9]*$"
    if "gt" in set_rules and own.gt >= -1:
        yield "pattern", "^[0-9]+$" if own.gt == -1 else "^[1-9][0-9]*$"
    if "in" in set_rules:
        yield "enum", [str(value) for value in getattr(own, "in")]


def _of_choice(own: Any) -> Iterator[tuple[str, Any]]:
    if getattr(own, "in"):
        yield "enum", list(getattr(own, "in"))
    if own.not_in:
        yield "not", {"enum": list(own.not_in)}


def _of_enum(own: Any, field: FieldDescriptor) -> Iterator[tuple[str, Any]]:
    enum: Any = field.enum_type
    names = {value.number: value.name for value in enum.values}
    if own.HasField("const"):
        yield "const", names.get(own.const, own.const)
    if getattr(own, "in"):
        yield "enum", [names.get(number, number) for number in getattr(own, "in")]
    if own.not_in:
        yield "not", {"enum": [names.get(number, number) for number in own.not_in]}


def _of_bool(own: Any, _: FieldDescriptor) -> Iterator[tuple[str, Any]]:
    if own.HasField("const"):
        yield "const", own.const


def _of_repeated(own: Any, _: FieldDescriptor) -> Iterator[tuple[str, Any]]:
    if own.HasField("min_items"):
        yield "minItems", own.min_items
    if own.HasField("max_items"):
        yield "maxItems", own.max_items
    if own.unique:
        yield "uniqueItems", True


def _of_map(own: Any, field: FieldDescriptor) -> Iterator[tuple[str, Any]]:
    if own.HasField("min_pairs"):
        yield "minProperties", own.min_pairs
    if own.HasField("max_pairs"):
        yield "maxProperties", own.max_pairs
    key = _entry(field)["key"]
    if own.HasField("keys") and key.type == FieldDescriptor.TYPE_STRING:
        yield "propertyNames", constrained({}, key, own.keys)


def _of_mask(own: Any, _: FieldDescriptor) -> Iterator[tuple[str, Any]]:
    if getattr(own, "in"):
        path = "|".join(re.escape(FieldMask(paths=[path]).ToJsonString()) for path in getattr(own, "in"))
        yield "pattern", f"^({path})(,({path}))*$"


def _in_words(own: Any, _: FieldDescriptor) -> Iterator[tuple[str, Any]]:
    said = str(own).replace("\n", " ").strip()
    if said:
        yield "description", f"Held to {said}."


_KEYWORDS: Mapping[str, Callable[[Any, FieldDescriptor], Iterator[tuple[str, Any]]]] = {
    "string": _of_string,
    "enum": _of_enum,
    "bool": _of_bool,
    "repeated": _of_repeated,
    "map": _of_map,
    "field_mask": _of_mask,
    "bytes": _in_words,
    "any": _in_words,
    "duration": _in_words,
    "timestamp": _in_words,
}


def _said(schema: Schema, sentences: list[str]) -> Schema:
    if not sentences:
        return schema
    return {**schema, "description": "\n\n".join(filter(None, [schema.get("description", ""), *sentences]))}
