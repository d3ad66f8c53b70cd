"""A service's gRPC server: its contract's methods, health and reflection. Translates; the dispatcher runs the calls."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, NoReturn
from urllib.parse import quote

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from laneway.call import Lane
from laneway.contract.model import Method
from laneway.errors import ConfigurationError, InvalidArgument, LanewayError
from laneway.lanes.dispatch import Arrival, Dispatcher
from laneway.lanes.grpc.channel import COMPRESSIONS, STATUS_DETAILS
from laneway.lanes.grpc.options import GrpcOptions
from laneway.lanes.grpc.pushback import trailers_of
from laneway.lanes.status import status_of
from laneway.lanes.transport import Answer
from laneway.telemetry import names

log = logging.getLogger(__name__)

LIVENESS = "liveness"
"""The name under which health says that the loop turns; the others say whether calls are taken."""

_REPLAYED = ((names.REPLAYED, "true"),)

_CODES = {code.value[0]: code for code in grpc.StatusCode}

SETTLING = 0.02
"""Seconds between the end of a client's stream and its handler's hearing of it: a cancellation took 0.5 ms to be told,
and more under load."""


class GrpcServer:
    """Serves every method of a dispatcher that can be called."""

    def __init__(self, dispatcher: Dispatcher, *, host: str, port: int, options: GrpcOptions | None = None) -> None:
        options = options or GrpcOptions()
        self.port = port
        self._host = host
        self._dispatcher = dispatcher
        self._health = health.aio.HealthServicer()
        self._services = sorted({m.service_name for m in dispatcher.contract if not m.policy.subscription})
        self._server = grpc.aio.server(
            options=options.server_arguments(), compression=COMPRESSIONS[options.compression]
        )

    async def start(self) -> None:
        """Listen and report healthy.

        Raises:
            ConfigurationError: the port is taken, or the host is not one of this machine.
        """
        for service in self._services:
            methods = [m for m in self._dispatcher.contract if m.service_name == service and not m.policy.subscription]
            handlers = {method.name: self._handler(method) for method in methods}
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        own = [health.SERVICE_NAME, reflection.SERVICE_NAME]
        reflection.enable_server_reflection([*self._services, *own], self._server)
        await asyncio.to_thread(_check_free, self._host, self.port)
        host = f"[{self._host}]" if ":" in self._host else self._host
        try:
            self.port = self._server.add_insecure_port(f"{host}:{self.port}")
        except RuntimeError:
            raise _unusable(self._host, self.port, "gRPC does not tell why") from None
        await self._server.start()
        await self._health.set(LIVENESS, health_pb2.HealthCheckResponse.SERVING)
        await self._report(health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, grace: float, *, drain: float = 0.0) -> None:
        """Report unhealthy and go on for `drain` seconds; then take no new calls and give running ones `grace`."""
        await self._report(health_pb2.HealthCheckResponse.NOT_SERVING)
        await asyncio.sleep(drain)  # until those who route calls to it have noticed
        await self._server.stop(grace)

    async def _report(self, status: Any) -> None:
        for service in ("", *self._services):
            await self._health.set(service, status)

    def _handler(self, method: Method) -> Any:
        if not method.streaming:
            make: Callable[..., Any] = grpc.unary_unary_rpc_method_handler
            behaviour: Any = self._unary(method)
        else:
            kinds = {
                (False, True): grpc.unary_stream_rpc_method_handler,
                (True, False): grpc.stream_unary_rpc_method_handler,
                (True, True): grpc.stream_stream_rpc_method_handler,
            }
            make = kinds[method.client_streaming, method.server_streaming]
            behaviour = self._stream(method) if method.server_streaming else self._collected(method)
        # Bytes reach us unparsed, so that what does not parse is the caller's mistake and not our crash.
        return make(behaviour, request_deserializer=None, response_serializer=method.output.SerializeToString)

    def _unary(self, method: Method) -> Any:
        async def call(payload: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
            try:
                answer = await self._dispatcher.unary(method, _parse(method, payload), _arrival(context))
            except Exception as error:
                await _abort(context, error, method)
            if trailers := _trailers(answer):
                context.set_trailing_metadata(trailers)
            return answer.message

        return call

    def _stream(self, method: Method) -> Any:
        # Writes the replies itself: gRPC would leave a generator suspended when its caller goes away, to be
        # closed at some later time, in a context in which its span and current call cannot be reset.
        async def call(given: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            try:
                requests = _parse_all(method, given) if method.client_streaming else _parse(method, given)
                async with aclosing(self._dispatcher.stream(method, requests, _arrival(context))) as replies:
                    async for reply in replies:
                        await context.write(reply)
            except Exception as error:
                await _abort(context, error, method)

        return call

    def _collected(self, method: Method) -> Any:
        async def call(given: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]) -> Message:
            replies = self._dispatcher.stream(method, _parse_all(method, given), _arrival(context))
            try:
                async with aclosing(replies):
                    return await anext(replies)
            except Exception as error:
                await _abort(context, error, method)

        return call


def _check_free(host: str, port: int) -> None:
    """Ask the system first: gRPC tells nobody why it cannot listen, and prints lines of its own."""
    try:
        [family, kind, *_, address], *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise _unusable(host, port, error.strerror) from None


def _unusable(host: str, port: int, cause: str | None) -> ConfigurationError:
    return ConfigurationError(
        f"Port {port} cannot be used on {host} ({cause}); stop what uses it, or set LANEWAY_GRPC_PORT or LANEWAY_HOST."
    )


def _parse(method: Method, payload: bytes) -> Message:
    try:
        return method.input.FromString(payload)
    except DecodeError:
        raise InvalidArgument(f"The request is not a {method.input.DESCRIPTOR.full_name}.") from None


async def _parse_all(method: Method, payloads: AsyncIterator[bytes]) -> AsyncIterator[Message]:
    async for payload in payloads:
        yield _parse(method, payload)
    # gRPC tells the end of a stream that was cancelled as it tells any other, and the cancellation only afterwards: a
    # handler would take half a stream for the whole. There is nothing to wait for but the time.
    await asyncio.sleep(SETTLING)


def _arrival(context: "grpc.aio.ServicerContext[Any, Any]") -> Arrival:
    headers = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    return Arrival(
        lane=Lane.GRPC,
        headers=headers,
        timeout=context.time_remaining(),
        key=headers.get(names.IDEMPOTENCY_KEY),
        attempt=_attempt(headers.get(names.ATTEMPT, "")),
    )


def _attempt(value: str) -> int:
    """Which attempt of its caller's it is; what does not say so is the first."""
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 4 else 1


def _trailers(answer: Answer) -> tuple[tuple[str, str], ...]:
    # A reason is for people and may be of any script; metadata is ASCII.
    degraded = () if answer.degraded is None else ((names.DEGRADED, quote(answer.degraded, safe=names.PRINTABLE)),)
    replayed = _REPLAYED if answer.replayed else ()
    return (*degraded, *replayed, *answer.headers.items())


async def _abort(context: "grpc.aio.ServicerContext[Any, Any]", error: Exception, method: Method) -> NoReturn:
    status = status_of(error)
    if not isinstance(error, LanewayError):
        log.error("call failed", exc_info=error, extra={"method": method.full_name})
    told = error if isinstance(error, LanewayError) else None
    replayed = _REPLAYED if told and told.replayed else ()
    wish = trailers_of(told.retry_after if told else None)
    trailers = ((STATUS_DETAILS, status.SerializeToString()), *replayed, *wish)
    await context.abort(_CODES[status.code], status.message, trailers)
    raise AssertionError("abort raises")
