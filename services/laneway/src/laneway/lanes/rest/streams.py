"""Server streams as HTTP bodies: NDJSON, or events where the client asks for them."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import orjson
from google.protobuf.message import Message

from laneway.errors import LanewayError
from laneway.lanes.rest.binding import Binding
from laneway.lanes.rest.errors import body_of

NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"


def media_of(accept: str | None) -> str:
    """How a client takes a stream."""
    return EVENTS if EVENTS in (accept or "") else NDJSON


async def framed(
    binding: Binding, first: Message | None, replies: AsyncGenerator[Message, None], media: str
) -> AsyncGenerator[bytes, None]:
    """The frames of a stream whose first reply is there already; an error in the middle is the last frame."""
    number = 0
    async with aclosing(replies):
        try:
            async for reply in _chained(first, replies):
                number += 1
                data, _ = binding.answer(reply)
                yield b"id: %d\ndata: %s\n\n" % (number, data) if media == EVENTS else data + b"\n"
        except LanewayError as error:
            data = orjson.dumps(body_of(error)[1])
            yield b"event: error\ndata: %s\n\n" % data if media == EVENTS else data + b"\n"


async def _chained(first: Message | None, rest: AsyncIterator[Message]) -> AsyncIterator[Message]:
    if first is None:
        return
    yield first
    async for reply in rest:
        yield reply
