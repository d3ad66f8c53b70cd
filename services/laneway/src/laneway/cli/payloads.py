"""What a person sees of messages that were kept: as JSON, without the fields that their contracts mark `debug_redact`.

What cannot be read as a message is told by its length: nobody knows what is in it. `reveal` shows everything.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import typer
from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.message import Message
from google.protobuf.symbol_database import Default

from laneway.telemetry.redaction import REDACTED

Reveal = Annotated[bool, typer.Option("--reveal", help="Show fields, too, that their contract marks debug_redact.")]


@dataclass(frozen=True, slots=True)
class Payloads:
    """Tells of payloads."""

    reveal: bool = False

    def message(self, message: Message) -> dict[str, Any]:
        """A message as its JSON."""
        told = json_format.MessageToDict(message)
        if not self.reveal:
            _mask(message, told)
        return dict(told)

    def unread(self, payload: bytes, encoded: str) -> str:
        """What is no message that is known here."""
        return encoded if self.reveal else f"<{len(payload)} bytes>"


def _mask(message: Message, told: Any) -> None:
    if isinstance(message, Packed):
        inner = Default().GetSymbol(message.TypeName())()
        message.Unpack(inner)
        return _mask(inner, told)
    if message.DESCRIPTOR.full_name.startswith("google.protobuf."):
        return None  # a well-known type, whose JSON is not its fields
    for field, value in message.ListFields():
        if field.GetOptions().debug_redact:
            told[field.json_name] = REDACTED
        elif field.message_type is not None:
            _mask_all(field, value, told.get(field.json_name))
    return None


def _mask_all(field: Any, value: Any, told: Any) -> None:
    if field.message_type.GetOptions().map_entry:
        of_values = field.message_type.fields_by_name["value"]
        for key in value:
            if of_values.GetOptions().debug_redact:
                told[_key(key)] = REDACTED
            elif of_values.message_type is not None:
                _mask(value[key], told[_key(key)])
    elif field.is_repeated:
        for each, of_it in zip(value, told, strict=True):
            _mask(each, of_it)
    else:
        _mask(value, told)


def _key(key: object) -> str:
    """A key of a map in JSON."""
    return str(key).lower() if isinstance(key, bool) else str(key)
