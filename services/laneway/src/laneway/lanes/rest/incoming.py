"""One HTTP request as the transcoder reads it: headers, the body within its limits, and whether its client is there."""

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self

from starlette.types import Message, Receive, Scope

from laneway.errors import DeadlineExceeded, InvalidArgument
from laneway.lanes.idempotency_key import parsed
from laneway.lanes.rest.options import EdgeOptions

WATCH_AFTER = 0.05
"""Seconds until somebody looks whether a client is still there: most calls are answered before."""

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


class ClientGone(Exception):
    """The client closed its connection before it had its answer."""


class Incoming:
    """A request. Its body is read once."""

    def __init__(
        self, scope: Scope, receive: Receive, options: EdgeOptions, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.verb: str = scope["method"]
        self.path: str = (scope.get("raw_path") or scope["path"].encode()).decode("ascii", "replace")
        self._query: bytes = scope["query_string"]
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._keys = [value for name, value in scope["headers"] if name == b"idempotency-key"]
        self._receive = receive
        self._options = options
        self._clock = clock
        self._since = clock()

    def header(self, name: bytes) -> str | None:
        """A header's value, by its name in lower case."""
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def headers(self) -> dict[str, str]:
        """All headers, by their names in lower case."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self._headers.items()}

    @property
    def query(self) -> str:
        """The query, still encoded.

        Raises:
            InvalidArgument: it is not UTF-8.
        """
        try:
            return self._query.decode()
        except UnicodeDecodeError:
            raise InvalidArgument("The query is not UTF-8.", reason="MALFORMED_REQUEST") from None

    @property
    def key(self) -> str | None:
        """The idempotency key, bare.

        Raises:
            InvalidArgument: it is none.
        """
        return parsed([value.decode("latin-1") for value in self._keys])

    @property
    def timeout(self) -> float | None:
        """How long the client still waits, in seconds: what its body and its credentials took is gone.

        Raises:
            InvalidArgument: it is no time.
            DeadlineExceeded: it has passed.
        """
        value = self.header(b"x-request-timeout")
        if value is None:
            return None
        try:
            seconds = float(value)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < float("inf"):
            raise InvalidArgument("X-Request-Timeout is a number of seconds above 0.", reason="TIMEOUT_INVALID")
        left = seconds - (self._clock() - self._since)
        if left <= 0:
            raise DeadlineExceeded("The call was not begun: its request took longer than its X-Request-Timeout.")
        return left

    @property
    def prefers_async(self) -> bool:
        """Whether the client would rather be told where the answer will be."""
        said = (self.header(b"prefer") or "").lower().split(",")
        return any(each.partition(";")[0].strip() == "respond-async" for each in said)

    async def body(self) -> bytes:
        """The body, decompressed.

        Raises:
            InvalidArgument: it is too large, or not compressed as it says.
            DeadlineExceeded: it is too slow.
            ClientGone: the client went away before its end.
        """
        length = self.header(b"content-length")
        if length is None and b"transfer-encoding" not in self._headers:
            return b""
        if length is not None and length.isdigit() and int(length) > self._options.body_bytes:
            raise self._too_large()
        body = await self._whole()
        encoding = self.header(b"content-encoding")
        return body if encoding is None or not body else self._decompressed(body, encoding.strip().lower())

    async def _whole(self) -> bytes:
        chunks, size, more = [], 0, True
        try:
            async with asyncio.timeout(self._options.body_seconds):
                while more:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    chunks.append(message.get("body", b""))
                    size, more = size + len(chunks[-1]), message.get("more_body", False)
                    if size > self._options.body_bytes:
                        raise self._too_large()
        except TimeoutError:
            raise self._too_slow() from None
        return b"".join(chunks)

    async def lines(self) -> AsyncIterator[bytes]:
        """The body as lines, each as soon as it is there; only a line is held to the limit of a body.

        Raises:
            InvalidArgument: a line is too large, or the body is compressed.
            DeadlineExceeded: a line is too slow.
            ClientGone: the client went away before the last.
        """
        if self.header(b"content-encoding") not in (None, "identity"):
            raise InvalidArgument("A stream is sent as it is, without Content-Encoding.", reason="UNSUPPORTED_ENCODING")
        rest, more = b"", True
        while more:
            message = await self._piece()
            rest += message.get("body", b"")
            more = message.get("more_body", False)
            *whole, rest = rest.split(b"\n")
            for line in whole:
                yield line
            if len(rest) > self._options.body_bytes:
                raise self._too_large()
        if rest:
            yield rest

    async def _piece(self) -> Message:
        try:
            async with asyncio.timeout(self._options.body_seconds):
                message = await self._receive()
        except TimeoutError:
            raise self._too_slow() from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        return message

    def _decompressed(self, body: bytes, encoding: str) -> bytes:
        if encoding == "identity":
            return body
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise InvalidArgument(
                f"A body can be sent with Content-Encoding gzip or deflate, not {encoding[:40]}.",
                reason="UNSUPPORTED_ENCODING",
            )
        limit = self._options.decompressed_bytes
        unpack = zlib.decompressobj(_GZIP_OR_ZLIB)
        try:
            text = unpack.decompress(body, limit + 1)
        except zlib.error:
            raise InvalidArgument(f"The body is not {encoding}.", reason="MALFORMED_REQUEST") from None
        if len(text) > limit:
            raise InvalidArgument(f"The body is larger than {limit} bytes, decompressed.", reason="BODY_TOO_LARGE")
        if not unpack.eof or unpack.unused_data:
            raise InvalidArgument(f"The body is not whole {encoding}.", reason="MALFORMED_REQUEST")
        return text

    def _too_slow(self) -> DeadlineExceeded:
        text = f"The body, or a line of it, did not arrive within {self._options.body_seconds:g} s."
        return DeadlineExceeded(text, reason="BODY_TOO_SLOW")

    def _too_large(self) -> InvalidArgument:
        return InvalidArgument(f"The body is larger than {self._options.body_bytes} bytes.", reason="BODY_TOO_LARGE")


class Attended:
    """A block that ends, with everything it waits for cancelled, when the request's client goes away.

    Raises:
        ClientGone: it did.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = False
        self._watch: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER, self._begin)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if self._gone and isinstance(error, asyncio.CancelledError):
            if self._task is not None:
                self._task.uncancel()
            raise ClientGone from None

    def _begin(self) -> None:
        self._watch = asyncio.ensure_future(self._until_gone())

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        if self._task is not None:
            self._task.cancel()
