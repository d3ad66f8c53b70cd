"""Messages as JSON Schema, in the form in which ProtoJSON writes them.

It reads more than it writes (a number as text, an enum by its number, null for what is not set): a schema says the form
that every client can send and will get.
"""

from collections.abc import Callable, Collection, Iterable
from itertools import combinations

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from laneway.contract.comments import Comments
from laneway.lanes.rest.openapi.constraints import LONG, Schema, beyond, constrained, demanded, exclusive, rules
from laneway.lanes.rest.protojson import well_known
from laneway.lanes.rest.protojson.decode import map_entry

EMPTY = "google.protobuf.Empty"

_DOUBLE: Schema = {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
_FLOAT: Schema = {
    "anyOf": [
        {"type": "number", "format": "float", "minimum": -3.4028234e38, "maximum": 3.4028234e38},
        {"enum": ["NaN", "Infinity", "-Infinity"]},
    ]
}
_INT: Schema = {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1}
_UINT: Schema = {"type": "integer", "format": "uint32", "minimum": 0, "maximum": 2**32 - 1}
_LONG: Schema = {"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"}
_ULONG: Schema = {"type": "string", "format": "uint64", "pattern": "^[0-9]+$"}

_SCALARS: dict[int, Schema] = {
    FieldDescriptor.TYPE_DOUBLE: _DOUBLE,
    FieldDescriptor.TYPE_FLOAT: _FLOAT,
    FieldDescriptor.TYPE_INT32: _INT,
    FieldDescriptor.TYPE_SINT32: _INT,
    FieldDescriptor.TYPE_SFIXED32: _INT,
    FieldDescriptor.TYPE_UINT32: _UINT,
    FieldDescriptor.TYPE_FIXED32: _UINT,
    FieldDescriptor.TYPE_INT64: _LONG,
    FieldDescriptor.TYPE_SINT64: _LONG,
    FieldDescriptor.TYPE_SFIXED64: _LONG,
    FieldDescriptor.TYPE_UINT64: _ULONG,
    FieldDescriptor.TYPE_FIXED64: _ULONG,
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}
_KEYS: dict[int, str] = {FieldDescriptor.TYPE_BOOL: "^(true|false)$"} | {
    kind: str(schema.get("pattern", "^[0-9]+$" if schema is _UINT else "^-?[0-9]+$"))
    for kind, schema in _SCALARS.items()
    if kind in LONG or schema in (_INT, _UINT)
}
_WELL_KNOWN: dict[str, Schema] = {
    well_known.TIMESTAMP: {"type": "string", "format": "date-time"},
    well_known.DURATION: {"type": "string", "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$", "examples": ["1.5s"]},
    well_known.FIELD_MASK: {"type": "string"},
    well_known.STRUCT: {"type": "object"},
    well_known.VALUE: {},
    well_known.LIST: {"type": "array"},
    well_known.ANY: {"type": "object", "properties": {"@type": {"type": "string"}}, "required": ["@type"]},
    EMPTY: {"type": "object", "additionalProperties": False},
}


class Schemas:
    """The schemas of a document; those that have a name are its components."""

    def __init__(self, comments: Comments, *, lenient: bool) -> None:
        """`lenient`: an edge passes over members that it does not know, and so may a schema."""
        self.components: dict[str, Schema] = {}
        self.comments = comments
        self._lenient = lenient

    def message(self, kind: Descriptor) -> Schema:
        """A message, by reference where it has a name of its own."""
        if kind.full_name in well_known.WRAPPERS:
            inner = self._scalar(kind.fields_by_name["value"])
            return {"anyOf": [inner, {"type": "null"}]}
        if kind.full_name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[kind.full_name])
        return self._named(kind.full_name, lambda: self.object(kind))

    def object(self, kind: Descriptor, *, omit: Collection[str] = (), demand: Collection[str] = ()) -> Schema:
        """A message's own schema, without the fields at the paths of `omit`, which are sent elsewhere.

        What `demand` names is required, besides what the message itself demands.
        """
        needed = demanded(kind) | set(demand)
        fields = [field for field in kind.fields if field.name not in omit]
        parts = {field.json_name: self._part(field, under(field, omit), under(field, needed)) for field in fields}
        schema: Schema = {"type": "object", "properties": parts}
        required = [field.json_name for field in fields if field.name in needed]
        if required:
            schema["required"] = required
        if not self._lenient:
            schema["additionalProperties"] = False
        text = "\n\n".join(filter(None, [self.comments.of(kind.full_name), *beyond(kind)]))
        described = {"description": text, **schema} if text else schema
        return {**described, **_choices(kind, omit)}

    def field(self, field: FieldDescriptor) -> Schema:
        """A field, with its rules and its comment."""
        return self._part(field, (), ())

    def _part(self, field: FieldDescriptor, omit: Collection[str], demand: Collection[str]) -> Schema:
        if (omit or demand) and field.message_type is not None and not field.is_repeated:
            schema = self.object(field.message_type, omit=omit, demand=demand)
        else:
            schema = self._whole(field)
        text = self.comments.of(field.full_name)
        return constrained({**schema, "description": text} if text else schema, field, rules(field))

    def _whole(self, field: FieldDescriptor) -> Schema:
        entry = map_entry(field)
        if entry is not None:
            key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
            names = {"propertyNames": {"pattern": _KEYS[key.type]}} if key.type in _KEYS else {}
            return {"type": "object", "additionalProperties": self._element(value), **names}
        element = self._element(field)
        return {"type": "array", "items": element} if field.is_repeated else element

    def _element(self, field: FieldDescriptor) -> Schema:
        return self._scalar(field) if field.message_type is None else self.message(field.message_type)

    def _scalar(self, field: FieldDescriptor) -> Schema:
        enum = field.enum_type
        if enum is None:
            return dict(_SCALARS[field.type])
        if enum.full_name == "google.protobuf.NullValue":
            return {"type": "null"}
        return self._named(enum.full_name, lambda: self._enum(enum))

    def _enum(self, enum: EnumDescriptor) -> Schema:
        said = [(value.name, self.comments.of(f"{enum.full_name}.{value.name}")) for value in enum.values]
        texts = [self.comments.of(enum.full_name), "\n".join(f"- `{name}`: {text}" for name, text in said if text)]
        schema: Schema = {"type": "string", "enum": [name for name, _ in said]}
        text = "\n\n".join(filter(None, texts))
        return {"description": text, **schema} if text else schema

    def _named(self, name: str, make: Callable[[], Schema]) -> Schema:
        if name not in self.components:
            self.components[name] = {}  # it may contain itself
            self.components[name] = make()
        return {"$ref": f"#/components/schemas/{name}"}


def under(field: FieldDescriptor, paths: Iterable[str]) -> list[str]:
    """What paths name inside a field."""
    prefix = f"{field.name}."
    return [path.removeprefix(prefix) for path in paths if path.startswith(prefix)]


def _choices(kind: Descriptor, omit: Collection[str]) -> Schema:
    """That of some fields one at most is set, or exactly one."""
    forbidden, demands = [], []
    for fields, needed in exclusive(kind):
        names = [field.json_name for field in fields if field.name not in omit]
        forbidden += [{"required": list(pair)} for pair in combinations(names, 2)]
        if needed and len(names) == len(fields):
            demands.append({"anyOf": [{"required": [name]} for name in names]})
    schema: Schema = {"not": {"anyOf": forbidden}} if forbidden else {}
    return {**schema, "allOf": demands} if demands else schema
