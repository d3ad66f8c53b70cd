"""Calls over grpc.aio, one attempt at a time; policy is the pipeline's business."""

import asyncio
import json
import re
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from typing import Any
from urllib.parse import unquote

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from laneway.contract.model import Method
from laneway.contract.service_config import CONNECTIONS
from laneway.errors import FailedPrecondition, InvalidArgument, LanewayError, Unavailable, error_of
from laneway.lanes.grpc.options import Compression, GrpcOptions
from laneway.lanes.grpc.pushback import wish_of
from laneway.lanes.status import error_from
from laneway.lanes.transport import Answer
from laneway.telemetry import names

STATUS_DETAILS = "grpc-status-details-bin"

BALANCED = json.dumps(CONNECTIONS)
"""No retries in it: they are the pipeline's. What an ending connection has surely not begun gRPC itself sends again."""


COMPRESSIONS = {
    Compression.NONE: grpc.Compression.NoCompression,
    Compression.DEFLATE: grpc.Compression.Deflate,
    Compression.GZIP: grpc.Compression.Gzip,
}


class GrpcTransport:
    """One channel per service, on the loop in which it was made; see `laneway.lanes.transport.Transport`.

    Raises:
        FailedPrecondition: no loop runs, as at import time.
    """

    def __init__(self, target_of: Callable[[str], str], options: GrpcOptions | None = None) -> None:
        self._target_of = target_of
        self.options = options or GrpcOptions()
        """Of the channels that are made from now on."""
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._unary: dict[tuple[str, str], Any] = {}
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            raise FailedPrecondition(
                "No event loop runs here, and a client belongs to one; make clients in the loop that calls them, "
                "not at import time (a service's factory runs there).",
                reason="NO_EVENT_LOOP",
            ) from None

    async def unary(
        self, method: Method, request: Message, headers: Mapping[str, str], timeout: float | None
    ) -> Answer:
        """Call and wait for the answer; cancelling the caller cancels the call."""
        channel = self._channel(method.owner)
        known = self._unary.get((method.owner, method.full_name))
        if known is None:
            known = channel.unary_unary(method.path, method.input.SerializeToString, method.output.FromString)
            self._unary[method.owner, method.full_name] = known
        call = known(request, timeout=timeout, metadata=_metadata(headers))
        try:
            message = await call
            trailers = _headers(await call.trailing_metadata())
        except grpc.aio.AioRpcError as error:
            raise _error(error, method) from None
        if not trailers:
            return Answer(message=message)
        degraded = trailers.get(names.DEGRADED)
        return Answer(
            message=message,
            degraded=None if degraded is None else unquote(degraded),
            replayed=trailers.get(names.REPLAYED) == "true",
            headers={name: trailers[name] for name in names.ANSWER_HEADERS if name in trailers},
        )

    async def stream(
        self,
        method: Method,
        requests: Message | AsyncIterable[Message],
        headers: Mapping[str, str],
        timeout: float | None,
    ) -> AsyncIterator[Message]:
        """Stream the replies; leaving early cancels the call."""
        sent = requests if isinstance(requests, Message) else _Sent(requests)
        call = self._open(method, sent, headers, timeout)
        try:
            if not method.server_streaming:
                yield await call
                return
            async for reply in call:
                yield reply
        except grpc.aio.AioRpcError as error:
            raise _error(error, method) from None
        except asyncio.CancelledError:
            if isinstance(sent, _Sent) and sent.failure is not None:
                raise sent.failure from None
            raise
        finally:
            call.cancel()

    def _open(
        self,
        method: Method,
        requests: Message | AsyncIterable[Message],
        headers: Mapping[str, str],
        timeout: float | None,
    ) -> Any:
        channel = self._channel(method.owner)
        codec = (method.input.SerializeToString, method.output.FromString)
        if method.client_streaming and method.server_streaming:
            open_call: Any = channel.stream_stream(method.path, *codec)
        elif method.client_streaming:
            open_call = channel.stream_unary(method.path, *codec)
        else:
            open_call = channel.unary_stream(method.path, *codec)
        return open_call(requests, timeout=timeout, metadata=_metadata(headers))

    def _channel(self, owner: str) -> grpc.aio.Channel:
        if self._loop is not asyncio.get_running_loop():
            raise FailedPrecondition(
                "This client belongs to another event loop; make clients in the loop that calls them "
                "(a service's factory runs there).",
                reason="WRONG_EVENT_LOOP",
            )
        if owner not in self._channels:
            self._channels[owner] = grpc.aio.insecure_channel(
                self._target_of(owner),
                options=self.options.client_arguments(BALANCED),
                compression=COMPRESSIONS[self.options.compression],
            )
        return self._channels[owner]

    async def close(self) -> None:
        """Close the channels; calls that run are cancelled."""
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()
        self._unary.clear()


class _Sent:
    """A caller's stream, with what it raised: gRPC drops that and cancels the call instead."""

    def __init__(self, requests: AsyncIterable[Message]) -> None:
        self.failure: Exception | None = None
        self._requests = requests

    async def __aiter__(self) -> AsyncIterator[Message]:
        try:
            async for request in self._requests:
                yield request
        except Exception as error:
            self.failure = error
            raise


def _metadata(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            raise InvalidArgument(f"{name}: gRPC carries printable ASCII only; write {value!r} in it.")
    return tuple((name.lower(), value) for name, value in headers.items())


def _headers(metadata: Any) -> dict[str, str]:
    return {key: value for key, value in metadata or () if isinstance(value, str)}


def _error(error: grpc.aio.AioRpcError, method: Method) -> LanewayError:
    told = _told(error, method)
    wish = wish_of(error.trailing_metadata())
    if wish is not None and (told.retry_after is None or wish < 0):
        told.retry_after = wish
    return told


def _told(error: grpc.aio.AioRpcError, method: Method) -> LanewayError:
    trailers = dict(error.trailing_metadata() or ())
    if isinstance(status := trailers.get(STATUS_DETAILS), bytes):
        told = error_from(Status.FromString(status))
        told.replayed = trailers.get(names.REPLAYED) == "true"
        return told
    code: int = error.code().value[0]
    details = error.details() or f"{method.full_name} failed."
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return Unavailable(f"{method.owner} cannot be reached: {details}", reason="UNREACHABLE")
    if error.code() is grpc.StatusCode.CANCELLED:
        # Our own cancellation is a CancelledError and a handler's has details: this is a server that stops.
        return Unavailable(f"{method.owner} stopped before it answered.", reason="INTERRUPTED")
    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE.search(details):
        # gRPC's own code would be tried again, and counted against the far end.
        text = f"{method.full_name}: {details}. Send less, or set GrpcOptions.message_bytes."
        return InvalidArgument(text, reason="MESSAGE_TOO_LARGE")
    return error_of(code, details)


_TOO_LARGE = re.compile(r"message larger than max", re.IGNORECASE)
