"""Calls over grpc.aio, one attempt at a time; policy is the pipeline's business."""

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from typing import Any
from urllib.parse import unquote

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from laneway.contract.model import Method
from laneway.errors import FailedPrecondition, InvalidArgument, LanewayError, Unavailable, error_of
from laneway.lanes.status import error_from
from laneway.lanes.transport import Answer
from laneway.telemetry import names

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
STATUS_DETAILS = "grpc-status-details-bin"

_OPTIONS = [
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    # gRPC's own, transparent retries of what no server has begun; a policy of retries it is not given.
    ("grpc.enable_retries", 1),
    # A connection that ends is looked up anew; the default of 30 s would keep to replicas that are gone, and even a
    # second fails the calls that come while two replicas stop one after the other.
    ("grpc.dns_min_time_between_resolutions_ms", 100),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
]


class GrpcTransport:
    """One channel per service, made on the loop that first calls; see `laneway.lanes.transport.Transport`."""

    def __init__(self, target_of: Callable[[str], str]) -> None:
        self._target_of = target_of
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def unary(
        self, method: Method, request: Message, headers: Mapping[str, str], timeout: float | None
    ) -> Answer:
        """Call and wait for the answer; cancelling the caller cancels the call."""
        channel = self._channel(method.owner)
        call = channel.unary_unary(method.path, type(request).SerializeToString, method.output.FromString)(
            request, timeout=timeout, metadata=_metadata(headers)
        )
        try:
            message = await call
            trailers = _headers(await call.trailing_metadata())
        except grpc.aio.AioRpcError as error:
            raise _error(error, method) from None
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
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop:
            raise FailedPrecondition(
                "This client belongs to another event loop; make clients in the loop that calls them "
                "(a service's factory runs there).",
                reason="WRONG_EVENT_LOOP",
            )
        if owner not in self._channels:
            self._channels[owner] = grpc.aio.insecure_channel(self._target_of(owner), options=_OPTIONS)
        return self._channels[owner]

    async def close(self) -> None:
        """Close the channels; calls that run are cancelled."""
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()


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
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_DETAILS and isinstance(value, bytes):
            return error_from(Status.FromString(value))
    code: int = error.code().value[0]
    details = error.details() or f"{method.full_name} failed."
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return Unavailable(f"{method.owner} cannot be reached: {details}", reason="UNREACHABLE")
    if error.code() is grpc.StatusCode.CANCELLED:
        # Our own cancellation is a CancelledError and a handler's has details: this is a server that stops.
        return Unavailable(f"{method.owner} stopped before it answered.", reason="INTERRUPTED")
    return error_of(code, details)
