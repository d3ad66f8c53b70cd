"""uvicorn's HTTP protocol, with what it lacks: an end to how large and how slow the head of a request may be.

A head that is too large or too slow never reaches an application, so what is said of it is said here.
"""

import asyncio
from asyncio import TimerHandle
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from laneway.errors import DeadlineExceeded, InvalidArgument, LanewayError
from laneway.lanes.rest.errors import body_of
from laneway.lanes.rest.options import EdgeOptions

_PHRASES = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


class _HeadTooLargeError(Exception):
    """Stops the parser."""


def guarded(options: EdgeOptions) -> type[asyncio.Protocol]:
    """The protocol of an edge with these limits."""
    return type("GuardedProtocol", (_Guarded,), {"limits": options})


class _Guarded(HttpToolsProtocol):
    limits: EdgeOptions

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._head_bytes = 0
        self._refusal: LanewayError | None = None
        self._patience: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > self.limits.header_bytes and self._refusal is None:
            self._refuse(self._too_large())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begin_head()

    def on_headers_complete(self) -> None:
        self._end_head()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > self.limits.header_bytes:
            self._refusal = self._too_large()
            raise _HeadTooLargeError
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        # What follows in the same piece of data is the next head; it begins to count with its own.
        self._head_bytes = 0

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 uvicorn's signature
        """Called by uvicorn when the parser has stopped."""
        self._refuse(self._refusal or InvalidArgument("This is not HTTP/1.1.", reason="MALFORMED_HTTP"))

    def _begin_head(self) -> None:
        self._end_head()
        self._in_head = True
        self._patience = self.loop.call_later(self.limits.header_seconds, self._lose_patience)

    def _end_head(self) -> None:
        self._in_head = False
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        text = f"The headers did not arrive within {self.limits.header_seconds:g} s."
        self._refuse(DeadlineExceeded(text, reason="HEADERS_TOO_SLOW"))

    def _too_large(self) -> LanewayError:
        text = f"The request line and the headers are larger than {self.limits.header_bytes} bytes."
        return InvalidArgument(text, reason="HEADERS_TOO_LARGE")

    def _refuse(self, error: LanewayError) -> None:
        self._refusal = error
        self._end_head()
        status, body, _ = body_of(error)
        content = orjson.dumps(body)
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
            % (status, _PHRASES.get(status, b""), len(content), content)
        )
        self.transport.close()
