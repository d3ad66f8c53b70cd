"""Streams over HTTP: replies as NDJSON, as a JSON array or as events, whichever the client accepts; requests as NDJSON.

An error before the first reply is an ordinary answer. One in the middle is the last item: `{"error": …}`, and an event
of that name. A stream of HttpBody is its bytes, and breaks off.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, unquote

import orjson
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from laneway.contract.model import Method, descriptor_of
from laneway.errors import InvalidArgument, LanewayError, Violation
from laneway.lanes.rest.binding import HTTP_BODY, JSON, Binding
from laneway.lanes.rest.errors import body_of
from laneway.lanes.rest.parameters import from_text
from laneway.lanes.rest.protojson.mismatch import Mismatch
from laneway.lanes.rest.router import Match
from laneway.telemetry import names

NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"
CURSOR = "cursor"
"""The field by which a stream can be resumed, where request and reply both have it: a single string or number."""

_PLAIN = names.PRINTABLE.replace(" ", "")
"""What an event's id may have unquoted: it comes back in a header, which has no spaces at its ends and is ASCII."""

_NO_CURSOR = frozenset(
    {
        FieldDescriptor.TYPE_MESSAGE,
        FieldDescriptor.TYPE_GROUP,
        FieldDescriptor.TYPE_BYTES,
        FieldDescriptor.TYPE_BOOL,
        FieldDescriptor.TYPE_ENUM,
    }
)
_QUALITY = re.compile(r";\s*q=([0-9.]+)")
_NAMES = {
    EVENTS: EVENTS,
    NDJSON: NDJSON,
    "application/ndjson": NDJSON,
    "application/jsonl": NDJSON,
    "application/*": NDJSON,
    "*/*": NDJSON,
    JSON: JSON,
}


class Framing(Protocol):
    """Puts replies into a body."""

    media: str

    def item(self, data: bytes, id: str) -> bytes: ...

    def error(self, data: bytes) -> bytes: ...

    def end(self) -> bytes: ...


class _Lines:
    media = NDJSON

    def item(self, data: bytes, id: str) -> bytes:  # noqa: ARG002 lines have no names
        return data + b"\n"

    def error(self, data: bytes) -> bytes:
        return data + b"\n"

    def end(self) -> bytes:
        return b""


class _Array:
    media = JSON

    def __init__(self) -> None:
        self._before = b"["

    def item(self, data: bytes, id: str) -> bytes:  # noqa: ARG002 items have no names
        before, self._before = self._before, b",\n"
        return before + data

    def error(self, data: bytes) -> bytes:
        return self.item(data, "")

    def end(self) -> bytes:
        return b"[]" if self._before == b"[" else b"]"


class _Events:
    media = EVENTS

    def item(self, data: bytes, id: str) -> bytes:
        return b"id: %s\ndata: %s\n\n" % (id.encode(), data)

    def error(self, data: bytes) -> bytes:
        return b"event: error\ndata: %s\n\n" % data

    def end(self) -> bytes:
        return b""


def framing_of(accept: str | None) -> Framing:
    """How a client takes a stream: the best of what it accepts, NDJSON if it does not say."""
    best, quality = NDJSON, 0.0
    for given in (accept or "*/*").split(","):
        name, _, parameters = given.strip().lower().partition(";")
        found = _QUALITY.search(f";{parameters}")
        weight = float(found[1]) if found and found[1].count(".") < 2 else 1.0
        if name.strip() in _NAMES and weight > quality:
            best, quality = _NAMES[name.strip()], weight
    return _Events() if best == EVENTS else _Array() if best == JSON else _Lines()


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a stream stands: a field of its replies, which a request for the rest has, too."""

    request: FieldDescriptor
    reply: FieldDescriptor

    def resume(self, message: Message, last_id: str) -> None:
        """Ask for what comes after an event, unless the request itself says where to begin.

        Raises:
            InvalidArgument: it is no event's id.
        """
        if message.HasField(CURSOR) if self.request.has_presence else getattr(message, CURSOR):
            return
        try:
            setattr(message, CURSOR, from_text(self.request)(unquote(last_id)))
        except Mismatch as mismatch:
            text = f"Last-Event-ID is none of this stream: {mismatch.why}."
            violation = Violation("Last-Event-ID", mismatch.why)
            raise InvalidArgument(text, reason="MALFORMED_REQUEST", violations=[violation]) from None

    def id(self, reply: Message) -> str:
        """What the event of a reply is called."""
        return quote(str(getattr(reply, CURSOR)), safe=_PLAIN)


def cursor_of(method: Method) -> Cursor | None:
    """The cursor of a stream, if it has one."""
    request, reply = _cursor_field(descriptor_of(method.input)), _cursor_field(descriptor_of(method.output))
    return None if request is None or reply is None else Cursor(request, reply)


def _cursor_field(message: Descriptor) -> FieldDescriptor | None:
    found: FieldDescriptor | None = message.fields_by_name.get(CURSOR)
    return None if found is None or found.is_repeated or found.type in _NO_CURSOR else found


async def framed(
    binding: Binding, first: Message | None, replies: AsyncGenerator[Message, None], framing: Framing
) -> AsyncGenerator[bytes, None]:
    """The body of a stream whose first reply is there already."""
    cursor, number = cursor_of(binding.method), 0
    async with aclosing(replies):
        try:
            async for reply in _chained(first, replies):
                number += 1
                yield framing.item(binding.answer(reply)[0], str(number) if cursor is None else cursor.id(reply))
        except LanewayError as error:
            yield framing.error(orjson.dumps(body_of(error)[1]))
        yield framing.end()


async def bytes_of(
    binding: Binding, first: Message, replies: AsyncGenerator[Message, None]
) -> AsyncGenerator[bytes, None]:
    """The body of a stream of HttpBody."""
    async with aclosing(replies):
        async for reply in _chained(first, replies):
            yield binding.answer(reply)[0]


def is_raw(binding: Binding) -> bool:
    """Whether a binding's answer is bytes, and not JSON."""
    field = binding.reply
    kind: Any = descriptor_of(binding.method.output) if field is None else field.message_type
    return kind is not None and kind.full_name == HTTP_BODY


class Uploaded:
    """The requests of a client's stream: a line each. Path and query belong to the first.

    What is wrong with a line is raised where the requests are read; `ended` is set when all have been.
    """

    def __init__(self, match: Match, query: str, lines: AsyncIterator[bytes]) -> None:
        self.ended = asyncio.Event()
        self._match = match
        self._query = query
        self._lines = lines

    async def __aiter__(self) -> AsyncIterator[Message]:
        binding, parts, query = self._match.binding, self._match.parts, self._query
        begun = False
        async for line in self._lines:
            if not line.strip():
                continue
            yield binding.further(line) if begun else binding.request(parts, query, line)
            begun = True
        self.ended.set()


async def _chained(first: Message | None, rest: AsyncIterator[Message]) -> AsyncIterator[Message]:
    if first is None:
        return
    yield first
    async for reply in rest:
        yield reply
