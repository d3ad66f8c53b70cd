"""Messages as JSON, by the ProtoJSON rules. One interface; `json_format` behind it for now."""

import json
from typing import Any, Protocol

from google.protobuf import json_format
from google.protobuf.message import Message

from laneway.errors import InvalidArgument


class Codec(Protocol):
    """Turns messages into JSON and back."""

    def encode(self, message: Message) -> bytes:
        """A message as JSON."""
        ...

    def merge(self, value: Any, message: Message) -> None:
        """Set what a JSON value says.

        Raises:
            InvalidArgument: it does not fit the message.
        """
        ...


class JsonFormat:
    """The codec of the protobuf library."""

    def encode(self, message: Message) -> bytes:
        return json.dumps(json_format.MessageToDict(message), ensure_ascii=False, separators=(",", ":")).encode()

    def merge(self, value: Any, message: Message) -> None:
        try:
            json_format.ParseDict(value, message)
        except json_format.ParseError as error:
            raise InvalidArgument(f"The request does not fit: {error}.", reason="MALFORMED_REQUEST") from None
