"""What is sent back: a status, headers and a body, whole or in pieces."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field

import orjson
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from laneway.lanes.rest.binding import JSON
from laneway.lanes.rest.errors import body_of


@dataclass(slots=True)
class Reply:
    """An answer that is whole."""

    body: bytes
    media: str = JSON
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    async def send(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 one of two kinds
        """Send it. The server leaves out the body of an answer to HEAD."""
        headers = [
            (b"content-type", self.media.encode("latin-1")),
            (b"content-length", b"%d" % len(self.body)),
            *((name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()),
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


@dataclass(slots=True)
class Streamed:
    """An answer that comes in pieces; its client's going away closes it."""

    pieces: AsyncGenerator[bytes, None]
    media: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    async def send(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, piece by piece."""
        await StreamingResponse(self.pieces, self.status, self.headers, self.media)(scope, receive, send)


def failure(error: BaseException, more: Mapping[str, str] | None = None) -> Reply:
    """The answer that says what went wrong."""
    status, body, headers = body_of(error)
    return Reply(orjson.dumps(body), JSON, status, {**headers, **(more or {})})
