"""JSON values → what the constructors of messages take, compiled for each type.

A decoder is a table and a loop over what was sent, so its cost follows the request and not the type. One call of the
constructor then makes the whole message, in C. Measured against setting fields one by one: docs/decisions.
"""

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from laneway.lanes.rest.protojson import scalars, well_known
from laneway.lanes.rest.protojson.mismatch import Mismatch
from laneway.lanes.rest.protojson.scalars import Convert

Known = dict[str, tuple[str, Convert]]


class Decoders:
    """The decoders of an edge. A `lenient` one passes over names it does not know."""

    def __init__(self, *, lenient: bool = False) -> None:
        self._lenient = lenient
        self._messages: dict[Descriptor, Convert] = {}
        self._fields: dict[FieldDescriptor, Convert] = {}

    def root(self, message: Descriptor) -> Convert:
        """Gives the arguments of a message's constructor."""
        # A field of type Struct takes any dict as it is; its own constructor, and so the value of a map, does not.
        if message.full_name == well_known.STRUCT:
            return well_known.struct_fields
        return self.message(message)

    def message(self, message: Descriptor) -> Convert:
        """Gives what a field of this type takes."""
        found = self._messages.get(message)
        if found is None:
            found = self._compile(message)
        return found

    def field(self, field: FieldDescriptor) -> Convert:
        """Gives what this field takes, repeated and maps included."""
        found = self._fields.get(field)
        if found is None:
            found = self._fields[field] = self._field(field)
        return found

    def element(self, field: FieldDescriptor) -> Convert:
        """Gives a field's value, or one element of a repeated field."""
        return scalars.converter(field) if field.message_type is None else self.message(field.message_type)

    def _compile(self, message: Descriptor) -> Convert:
        name = message.full_name
        special: Convert | None = well_known.DECODERS.get(name)
        if special is None and name in well_known.WRAPPERS:
            special = _wrapper(scalars.converter(message.fields_by_name["value"]))
        if special is None and name == well_known.ANY:
            special = self._any(message)
        if special is not None:
            self._messages[message] = special
            return special
        known: Known = {}
        # Known before its fields are compiled: they may be of this type again.
        decode = self._messages[message] = self._object(message, known)
        for field in message.fields:
            known[field.name] = (field.name, self.field(field))
        for field in message.fields:
            known[field.json_name] = (field.name, self.field(field))
        return decode

    def _object(self, message: Descriptor, known: Known) -> Convert:
        nulls = frozenset(field.name for field in message.fields if _takes_null(field))
        groups = [[field.name for field in oneof.fields] for oneof in message.oneofs if len(oneof.fields) > 1]
        look_up, string = known.get, scalars.string

        def decode(value: Any) -> dict[str, Any]:
            if type(value) is not dict:
                raise Mismatch("an object is expected")
            fields: dict[str, Any] = {}
            for key, item in value.items():
                found = look_up(key)
                if found is None:
                    if self._lenient:
                        continue
                    raise Mismatch(f"{message.name} has no such field").under(key)
                name, convert = found
                if item is None and name not in nulls:
                    continue
                if name in fields:
                    raise Mismatch("the field is given twice, by two names").under(key)
                if convert is string and type(item) is str:  # most are; a call costs more than the rest
                    fields[name] = item
                    continue
                try:
                    fields[name] = convert(item)
                except Mismatch as mismatch:
                    raise mismatch.under(key) from None
            for group in groups:
                check_oneof(group, fields)
            return fields

        return decode

    def _field(self, field: FieldDescriptor) -> Convert:
        entry = map_entry(field)
        if entry is not None:
            return self._map(entry)
        return self._list(field) if field.is_repeated else self.element(field)

    def _list(self, field: FieldDescriptor) -> Convert:
        convert = self.element(field)

        def decode(value: Any) -> list[Any]:
            if type(value) is not list:
                raise Mismatch("an array is expected")
            try:
                return [convert(item) for item in value]
            except Mismatch:
                raise _first_misfit(value, convert) from None

        return decode

    def _map(self, entry: Descriptor) -> Convert:
        convert_key = scalars.key_converter(entry.fields_by_name["key"])
        value_field = entry.fields_by_name["value"]
        convert = self.element(value_field) if value_field.message_type is None else self.root(value_field.message_type)

        def decode(value: Any) -> dict[Any, Any]:
            if type(value) is not dict:
                raise Mismatch("an object is expected")
            members: dict[Any, Any] = {}
            for name, item in value.items():
                try:
                    key = convert_key(name)
                    if key in members:
                        raise Mismatch("the key is given twice")
                    members[key] = convert(item)
                except Mismatch as mismatch:
                    raise mismatch.under(f'["{name}"]') from None
            return members

        return decode

    def _any(self, message: Descriptor) -> Convert:
        pool = message.file.pool

        def decode(value: Any) -> dict[str, Any]:
            if type(value) is not dict:
                raise Mismatch("an object is expected")
            if not value:
                return {}
            url = value.get("@type")
            if type(url) is not str:
                raise Mismatch("the type's URL is expected").under("@type")
            try:
                kind: Descriptor = pool.FindMessageTypeByName(url.rpartition("/")[2])
            except KeyError:
                raise Mismatch(f"{url} is not known here").under("@type") from None
            content = GetMessageClass(kind)(**self._content(kind, value))
            return {"type_url": url, "value": content.SerializeToString(deterministic=True)}

        return decode

    def _content(self, kind: Descriptor, value: dict[str, Any]) -> dict[str, Any]:
        members = {name: member for name, member in value.items() if name != "@type"}
        if not is_special(kind):
            return dict(self.root(kind)(members))
        if members.keys() - {"value"} and not self._lenient:
            raise Mismatch(f"the value of a {kind.name} is in `value`, and nothing beside it")
        if "value" not in members:
            raise Mismatch(f"the value of a {kind.name} is expected").under("value")
        try:
            return dict(self.root(kind)(members["value"]))
        except Mismatch as mismatch:
            raise mismatch.under("value") from None


def map_entry(field: FieldDescriptor) -> Descriptor | None:
    """The type of a map's entries; None for a field that is no map."""
    entry: Descriptor | None = field.message_type
    return entry if entry is not None and entry.GetOptions().map_entry else None


def is_special(message: Descriptor) -> bool:
    """Whether JSON writes it in a form of its own."""
    name = message.full_name
    return name in well_known.DECODERS or name in well_known.WRAPPERS or name == well_known.ANY


def check_oneof(group: list[str], fields: dict[str, Any]) -> None:
    """Raise `Mismatch` where more than one field of a oneof is set."""
    given = [name for name in fields if name in group]
    if len(given) > 1:
        raise Mismatch(f"only one of {', '.join(given)} can be set").under(given[1])


def _takes_null(field: FieldDescriptor) -> bool:
    if field.is_repeated:
        return False
    if field.message_type is not None:
        return bool(field.message_type.full_name == well_known.VALUE)
    return scalars.is_null_value(field.enum_type)


def _wrapper(convert: Convert) -> Convert:
    def decode(value: Any) -> dict[str, Any]:
        return {"value": convert(value)}

    return decode


def _first_misfit(values: list[Any], convert: Convert) -> Mismatch:
    for position, item in enumerate(values):
        try:
            convert(item)
        except Mismatch as mismatch:
            return mismatch.under(f"[{position}]")
    raise ValueError("every element fits")
