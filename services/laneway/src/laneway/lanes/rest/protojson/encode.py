"""Messages → JSON values, by Python source that is generated for each type.

Reading a field of a upb message costs less than anything that could be done to avoid it, so the source reads each field
by its name and asks for its presence only where the value does not tell. Measured: docs/decisions.
"""

from collections.abc import Callable
from keyword import iskeyword
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from laneway.lanes.rest.protojson import scalars, well_known
from laneway.lanes.rest.protojson.decode import is_special, map_entry

Encode = Callable[[Any], Any]

_64_BIT = {
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_SINT64,
    FieldDescriptor.TYPE_FIXED64,
    FieldDescriptor.TYPE_SFIXED64,
}
_FLOATING = {FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE}


class Encoders:
    """The encoders of an edge."""

    def __init__(self) -> None:
        self._names: dict[Descriptor | FieldDescriptor, str] = {}
        self._scope: dict[str, Any] = {
            "text_of_bytes": scalars.text_of_bytes,
            "json_of_float": scalars.json_of_float,
            "json_of_double": scalars.json_of_double,
            "is_negative_zero": scalars.is_negative_zero,
            "extensions_of": self._extensions_of,
        }

    def message(self, message: Descriptor) -> Encode:
        """Gives the JSON value of messages of this type."""
        encode: Encode = self._scope[self._name(message)]
        return encode

    def field(self, field: FieldDescriptor) -> Encode:
        """Gives the JSON value of a field's value, repeated and maps included."""
        name = self._names.get(field)
        if name is None:
            name = self._names[field] = f"field_{len(self._names)}"
            self._define(name, [f"def {name}(v):", f"    return {self._expression(field)}"])
        encode: Encode = self._scope[name]
        return encode

    def _name(self, message: Descriptor) -> str:
        name = self._names.get(message)
        if name is not None:
            return name
        # Named before its source is written: its fields may be of this type again.
        name = self._names[message] = f"encode_{len(self._names)}"
        full_name = message.full_name
        if full_name in well_known.ENCODERS:
            self._scope[name] = well_known.ENCODERS[full_name]
        elif full_name in well_known.WRAPPERS:
            value = message.fields_by_name["value"]
            self._define(name, [f"def {name}(m):", "    v = m.value", f"    return {self._single(value, 'v')}"])
        elif full_name == well_known.ANY:
            self._scope[name] = self._any
        else:
            self._define(name, self._source(name, message))
        return name

    def _source(self, name: str, message: Descriptor) -> list[str]:
        lines = [f"def {name}(m):", "    o = {}"]
        for field in sorted(message.fields, key=lambda field: field.number):
            lines += self._statement(field)
        if message.is_extendable:
            lines.append("    extensions_of(m, o)")
        return [*lines, "    return o"]

    def _statement(self, field: FieldDescriptor) -> list[str]:
        target = f"o[{field.json_name!r}]"
        if field.message_type is not None and not field.is_repeated:
            return [
                f"    if m.HasField({field.name!r}):",
                f"        v = {_read(field)}",
                f"        {target} = {self._expression(field)}",
            ]
        return [
            f"    v = {_read(field)}",
            f"    if {_is_set(field)}:",
            f"        {target} = {self._expression(field)}",
        ]

    def _expression(self, field: FieldDescriptor) -> str:
        entry = map_entry(field)
        if entry is not None:
            key, value = _key(entry.fields_by_name["key"]), self._single(entry.fields_by_name["value"], "x")
            return f"{{{key}: {value} for k, x in v.items()}}"
        if field.is_repeated:
            single = self._single(field, "x")
            return "list(v)" if single == "x" else f"[{single} for x in v]"
        return self._single(field, "v")

    def _single(self, field: FieldDescriptor, value: str) -> str:
        if field.message_type is not None:
            return f"{self._name(field.message_type)}({value})"
        if field.enum_type is not None:
            return self._enum(field.enum_type, value)
        if field.type in _64_BIT:
            return f"str({value})"
        conversion = {
            FieldDescriptor.TYPE_BYTES: "text_of_bytes",
            FieldDescriptor.TYPE_FLOAT: "json_of_float",
            FieldDescriptor.TYPE_DOUBLE: "json_of_double",
        }.get(field.type)
        return value if conversion is None else f"{conversion}({value})"

    def _enum(self, enum: EnumDescriptor, value: str) -> str:
        if scalars.is_null_value(enum):
            return "None"
        names = f"names_{len(self._scope)}"
        # Of several names of a number the first one is written.
        self._scope[names] = {value.number: value.name for value in reversed(list(enum.values))}.get
        return f"{names}({value}, {value})"

    def _define(self, name: str, lines: list[str]) -> None:
        # The source is made of names that protoc has checked, and of our own.
        exec(compile("\n".join(lines), f"<json of {name}>", "exec"), self._scope)  # noqa: S102

    def _any(self, message: Any) -> dict[str, Any]:
        url = message.type_url
        if not url:
            return {}
        try:
            kind: Descriptor = message.DESCRIPTOR.file.pool.FindMessageTypeByName(url.rpartition("/")[2])
        except KeyError:
            raise ValueError(f"an Any holds {url}, which is not known here") from None
        content = GetMessageClass(kind).FromString(message.value)
        value = self.message(kind)(content)
        return {"@type": url, "value": value} if is_special(kind) else {"@type": url, **value}

    def _extensions_of(self, message: Message, into: dict[str, Any]) -> None:
        for field, value in message.ListFields():
            if field.is_extension:
                into[f"[{field.full_name}]"] = self.field(field)(value)


def _read(field: FieldDescriptor) -> str:
    return f"getattr(m, {field.name!r})" if iskeyword(field.name) else f"m.{field.name}"


def _is_set(field: FieldDescriptor) -> str:
    """Asked of `v`, the field's value: what is not the default is set, whatever the presence."""
    if field.is_repeated or (not field.has_presence and field.type not in _FLOATING):
        return "v"
    if not field.has_presence:
        return "v or is_negative_zero(v)"
    has = f"m.HasField({field.name!r})"
    return has if field.default_value else f"v or {has}"


def _key(field: FieldDescriptor) -> str:
    if field.type == FieldDescriptor.TYPE_STRING:
        return "k"
    return "('true' if k else 'false')" if field.type == FieldDescriptor.TYPE_BOOL else "str(k)"
