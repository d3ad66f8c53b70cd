"""The golden corpus: events of the shop as they were once written, and what today's code reads of them.

    python -m tests.contract.events.golden     # writes what is missing: a new event, or a new version of one

An entry is never changed: bytes like these lie in somebody's log. Each has every field set that its version knew.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass, GetMessageClassesForFiles

from laneway.cli import discovery
from laneway.contract.model import descriptor_of, owner_of, published
from laneway.domain import Upcasters
from laneway.runtime.installed import describe

FOLDER = Path(__file__).with_name("corpus")


@dataclass(frozen=True, slots=True)
class Entry:
    """An event of a version: its bytes, and the message that today's code makes of them."""

    version: int
    payload: bytes
    reads: Mapping[str, Any]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(value["version"], bytes.fromhex(value["payload"]), value["reads"])

    def to_json(self) -> dict[str, Any]:
        return {"version": self.version, "payload": self.payload.hex(), "reads": self.reads}


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of event that a service of the shop may have in its log."""

    service: str
    event: type[Message]
    upcasters: Upcasters

    @property
    def name(self) -> str:
        return str(self.event.DESCRIPTOR.full_name)

    @property
    def newest(self) -> int:
        return self.upcasters.newest(self.name)

    @property
    def file(self) -> Path:
        return FOLDER / f"{self.service}.{self.name}.json"

    def entries(self) -> list[Entry]:
        if not self.file.exists():
            return []
        return [Entry.from_json(each) for each in json.loads(self.file.read_text())]

    def write(self, entries: list[Entry]) -> None:
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text(json.dumps([each.to_json() for each in entries], indent=1) + "\n")


def kinds() -> Iterator[Kind]:
    """The events of the shop: those that its aggregates record, and those that its services publish."""
    for name in discovery.service_names():
        service = describe(name)
        events = {type_name: event for each in service.aggregates for type_name, event in each.event_types().items()}
        for handlers in {method.input.DESCRIPTOR.file.pool for method in service.contract}:
            events |= _published(handlers, name)
        for _, event in sorted(events.items()):
            yield Kind(name, event, service.upcasters)


def _published(pool: Any, owner: str) -> dict[str, type[Message]]:
    files = [f"shop/{owner}/v1/events.proto"]
    try:
        classes = GetMessageClassesForFiles(files, pool)
    except KeyError:  # it has no events
        return {}
    return {
        name: event
        for name, event in classes.items()
        if published(descriptor_of(event)) and owner_of(descriptor_of(event).file.package) == owner
    }


def filled(event: type[Message]) -> Message:
    """An event with every field set that is not deprecated."""
    message = event()
    for number, field in enumerate(descriptor_of(event).fields, start=1):
        if not field.GetOptions().deprecated:
            _fill(message, field, number)
    return message


def _fill(message: Message, field: FieldDescriptor, number: int) -> None:
    if field.message_type is not None:
        value: Any = filled(GetMessageClass(field.message_type))
        place = getattr(message, field.name)
        place.append(value) if field.is_repeated else place.CopyFrom(value)
        return
    if field.enum_type is not None:
        value = field.enum_type.values[-1].number
    elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        value = b"bytes" if field.type == FieldDescriptor.TYPE_BYTES else f"{field.name} {number}"
    elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        value = True
    else:
        value = number
    if field.is_repeated:
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)


def main() -> None:
    """Write an entry for each event whose newest version has none."""
    for kind in kinds():
        entries = kind.entries()
        if kind.newest not in {entry.version for entry in entries}:
            message = filled(kind.event)
            entry = Entry(
                kind.newest, message.SerializeToString(deterministic=True), json_format.MessageToDict(message)
            )
            kind.write([*entries, entry])
            print(f"{kind.file.name}: version {kind.newest}")


if __name__ == "__main__":
    main()
