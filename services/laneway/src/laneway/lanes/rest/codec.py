"""Messages as JSON and back: the seam, and the codec behind it."""

import json
from typing import Any, Protocol, TypeVar

import orjson
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from laneway.contract.model import descriptor_of
from laneway.errors import Internal, InvalidArgument, Violation
from laneway.lanes.rest.protojson.decode import Decoders
from laneway.lanes.rest.protojson.encode import Encoders
from laneway.lanes.rest.protojson.mismatch import Mismatch

M = TypeVar("M", bound=Message)

MAX_DEPTH = 64
"""How deep arrays and objects may lie in each other."""


class Codec(Protocol):
    """Turns messages into JSON and back, by the ProtoJSON rules."""

    def encode(self, message: Message) -> bytes:
        """A message as JSON."""
        ...

    def decode(self, data: bytes, kind: type[M]) -> M:
        """The message that JSON says.

        Raises:
            InvalidArgument: it is not JSON, or does not fit; its violations say where.
        """
        ...


class JsonCodec:
    """Compiled for each message type when it is first met. Not shared between threads.

    `lenient` passes over names that a message does not know, in bodies and in parameters.
    """

    def __init__(self, *, lenient: bool = False, max_depth: int = MAX_DEPTH) -> None:
        self.lenient = lenient
        self.decoders = Decoders(lenient=lenient)
        self._encoders = Encoders()
        self._max_depth = max_depth

    def encode(self, message: Message) -> bytes:
        """See `Codec`.

        Raises:
            Internal: the message holds what JSON cannot say, such as an Any of an unknown type.
        """
        return self._written(message, descriptor_of(type(message)), message)

    def encode_field(self, message: Message, field: FieldDescriptor) -> bytes:
        """One field of a message as JSON, set or not."""
        return self._written(message, field, getattr(message, field.name))

    def decode(self, data: bytes, kind: type[M]) -> M:
        """See `Codec`."""
        try:
            return kind(**self.decoders.root(descriptor_of(kind))(self.parse(data)))
        except Mismatch as mismatch:
            raise unfit(mismatch) from None

    def parse(self, data: bytes) -> Any:
        """The JSON value of a document.

        Raises:
            InvalidArgument: it is none, it lies too deep, or an object has a name twice.
        """
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            if "depth limit" in str(error):
                raise self._too_deep() from None
            raise InvalidArgument(f"The body is not JSON: {error}.", reason="MALFORMED_JSON") from None
        if data.count(b"[") + data.count(b"{") > self._max_depth and _depth(value) > self._max_depth:
            raise self._too_deep()
        # A document as long as its own compact form has lost no name.
        if len(orjson.dumps(value)) != len(data):
            _check_names(data)
        return value

    def value(self, value: Message) -> Any:
        """A message as a JSON value, for a document that holds more than it."""
        return self._encoders.message(descriptor_of(type(value)))(value)

    def _written(self, message: Message, of: Descriptor | FieldDescriptor, value: Any) -> bytes:
        try:
            encode = self._encoders.field(of) if isinstance(of, FieldDescriptor) else self._encoders.message(of)
            return orjson.dumps(encode(value))
        except (ValueError, TypeError) as error:
            raise Internal(f"{message.DESCRIPTOR.full_name} cannot be written as JSON: {error}.") from error

    def _too_deep(self) -> InvalidArgument:
        return InvalidArgument(f"The body lies deeper than {self._max_depth} levels.", reason="JSON_TOO_DEEP")


def unfit(mismatch: Mismatch) -> InvalidArgument:
    """The error for a value that does not fit, with its place."""
    path = mismatch.path
    text = (
        f"The request does not fit at `{path}`: {mismatch.why}." if path else f"The body does not fit: {mismatch.why}."
    )
    return InvalidArgument(text, reason="MALFORMED_REQUEST", violations=[Violation(path, mismatch.why)])


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [item for item in level if type(item) in (dict, list)]:
        depth += 1
        level = [item for holder in level for item in (holder.values() if type(holder) is dict else holder)]
    return depth


def _check_names(data: bytes) -> None:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = dict(pairs)
        if len(names) < len(pairs):
            given = [name for name, _ in pairs]
            twice = next(name for name in given if given.count(name) > 1)
            raise InvalidArgument(
                f"The body gives `{twice}` twice in one object.",
                reason="MALFORMED_JSON",
                violations=[Violation(twice, "the name is given twice")],
            )
        return names

    json.loads(data, object_pairs_hook=unique)
