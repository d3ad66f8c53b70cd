"""Fields of a request in its path and in its query: which field a name means, and what its text says."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from laneway.lanes.rest.protojson import scalars, well_known
from laneway.lanes.rest.protojson.decode import map_entry
from laneway.lanes.rest.protojson.mismatch import Mismatch

FromText = Callable[[str], Any]

DEEPEST = 64
"""Names in a path of fields: a message that lies much deeper is none that protobuf reads again."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A field, by the path that leads to it from the request."""

    fields: tuple[FieldDescriptor, ...]
    convert: FromText
    """What the field's constructor takes, of one text; raises `Mismatch`."""

    @property
    def field(self) -> FieldDescriptor:
        """The last of the path."""
        return self.fields[-1]

    @property
    def path(self) -> str:
        """The path by the contract's names."""
        return ".".join(field.name for field in self.fields)

    def put(self, value: Any, into: dict[str, Any]) -> None:
        """Set the value in the arguments of the request's constructor.

        Raises:
            Mismatch: another field of the same oneof is set there.
        """
        for parent in self.fields[:-1]:
            _check_oneof(parent, into)
            into = into.setdefault(parent.name, {})
        _check_oneof(self.field, into)
        into[self.field.name] = value


def parameter(message: Descriptor, path: str) -> Parameter:
    """The field that a dotted path names, by its contract's names or by JSON's.

    Raises:
        Mismatch: there is none, or no text can stand for it.
    """
    fields: list[FieldDescriptor] = []
    place: Descriptor | None = message
    if path.count(".") >= DEEPEST:
        raise Mismatch(f"it lies deeper than {DEEPEST} levels")
    for name in path.split("."):
        if fields and fields[-1].is_repeated:
            raise Mismatch(f"`{fields[-1].name}` is repeated; it has no fields to be named")
        found = None if place is None else field_of(place, name)
        if found is None:
            raise Mismatch("there is no such field")
        fields.append(found)
        place = found.message_type
    return Parameter(tuple(fields), from_text(fields[-1]))


def field_of(message: Descriptor, name: str) -> FieldDescriptor | None:
    """A message's field, by its contract's name or by JSON's."""
    found: FieldDescriptor | None = message.fields_by_name.get(name)
    if found is None:
        found = next((field for field in message.fields if field.json_name == name), None)
    return found


def from_text(field: FieldDescriptor) -> FromText:
    """What reads a field (one element, where it is repeated) of plain text.

    Raises:
        Mismatch: no text can stand for it.
    """
    if map_entry(field) is not None:
        raise Mismatch("it is a map, which can only be in the body")
    message = field.message_type
    if message is None:
        return scalars.bool_of_text if field.type == FieldDescriptor.TYPE_BOOL else scalars.converter(field)
    if message.full_name in well_known.WRAPPERS:
        inner = from_text(message.fields_by_name["value"])
        return lambda text: {"value": inner(text)}
    if message.full_name == well_known.FIELD_MASK:
        return _field_mask
    if message.full_name in (well_known.TIMESTAMP, well_known.DURATION):
        return well_known.DECODERS[message.full_name]
    raise Mismatch(f"it is a {message.name}; name one of its fields")


def _field_mask(text: str) -> dict[str, list[str]]:
    """As in JSON; outside of it the contract's own names are taken too, as other transcoders take them."""
    if "_" in text:
        return {"paths": [path for path in text.split(",") if path]}
    return well_known.field_mask(text)


def _check_oneof(field: FieldDescriptor, given: dict[str, Any]) -> None:
    if field.containing_oneof is None:
        return
    for other in field.containing_oneof.fields:
        if other.name in given and other.name != field.name:
            raise Mismatch(f"only one of {other.name} and {field.name} can be set")
