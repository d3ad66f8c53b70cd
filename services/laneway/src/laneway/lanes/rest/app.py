"""The edge: ordinary FastAPI routers first, then every method with a `google.api.http` rule.

The transcoder is the router's default application, and works on the raw path: FastAPI's own routing matches the
decoded one, where `/v1/a%2Fb` is lost.
"""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, FastAPI
from google.protobuf.message import Message
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from laneway.contract.model import Method
from laneway.errors import InvalidArgument, LanewayError, NotFound, Unimplemented
from laneway.lanes.outgoing import Lanes
from laneway.lanes.rest.codec import Codec, JsonFormat
from laneway.lanes.rest.errors import body_of
from laneway.lanes.rest.router import Match, Router
from laneway.lanes.rest.transcode import request_message
from laneway.telemetry import names
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1024 * 1024
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_OPERATION = re.compile(r"/v1/operations/([\w-]+)/([\w:.-]+)")
_JSON = "application/json"


def rest_app(
    lanes: Lanes, methods: Iterable[Method], routers: Sequence[APIRouter], *, tracing: Tracing, metrics: Metrics
) -> FastAPI:
    """The edge's application.

    Raises:
        ConfigurationError: a path template is invalid, or two methods have the same route.
    """
    app = FastAPI(title="Laneway", redirect_slashes=False, openapi_url=None)
    app.add_api_route("/healthz", _healthz, methods=["GET"])
    for router in routers:
        app.include_router(router)
    app.router.default = Transcoder(lanes, Router(methods), tracing=tracing, metrics=metrics, codec=JsonFormat())
    return app


async def _healthz() -> dict[str, str]:
    return {"status": "serving"}


class Transcoder:
    """An ASGI application that answers HTTP requests by calling the contract's methods."""

    def __init__(self, lanes: Lanes, router: Router, *, tracing: Tracing, metrics: Metrics, codec: Codec) -> None:
        self._lanes = lanes
        self._router = router
        self._tracing = tracing
        self._metrics = metrics
        self._codec = codec

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        path = raw_path.decode("ascii", "replace")
        match = self._router.match(request.method, path)
        route = match.route.template.text if match else "*"
        # A trace of our own: what the public sends as `traceparent` is not trusted.
        with self._tracing.span(
            names.http_span(request.method, route),
            SpanKind.SERVER,
            names.http(request.method, route),
            parent=Context(),
        ) as span:
            try:
                response = await self._answer(match, request, path)
            except ClientDisconnect:
                return
            except LanewayError as error:
                response = _failure(error)
            except Exception as error:
                log.exception("request failed", extra={"route": route})
                response = _failure(error)
            span.set_attribute("http.response.status_code", response.status_code)
            carrier: dict[str, str] = {}
            self._tracing.inject(carrier)
            response.headers.update(carrier)
            await response(scope, receive, send)

    async def _answer(self, match: Match | None, request: Request, path: str) -> Response:
        if match is None:
            return await self._unmatched(request, path)
        method = match.route.method
        with self._metrics.call("server", method.full_name, "rest"):
            body = await _body(request)
            message = request_message(match, request.url.query, body, self._codec)
            key, timeout = _key(request), _timeout(request)
            if method.client_streaming:
                raise Unimplemented(f"{method.full_name} takes a stream; call it over gRPC.")
            if method.server_streaming:
                return await self._stream(method, message, request, timeout)
            if method.policy.queue and (not method.awaitable or _prefers_async(request)):
                return await self._start(method, message, key)
            return await self._call(method, message, request, key=key, timeout=timeout)

    async def _unmatched(self, request: Request, path: str) -> Response:
        operation = _OPERATION.fullmatch(path)
        if operation and request.method == "GET":
            owner, id = operation.groups()
            found = await self._lanes.operation(owner, f"operations/{owner}/{id}")
            return Response(self._codec.encode(found), media_type=_JSON)
        allowed = self._router.allowed(path)
        if allowed:
            error: LanewayError = Unimplemented(
                f"{path} has no {request.method}; it has {', '.join(allowed)}.", reason="METHOD_NOT_ALLOWED"
            )
            return _failure(error, {"Allow": ", ".join(allowed)})
        raise NotFound(f"There is nothing at {path}.", reason="NO_ROUTE")

    async def _call(
        self, method: Method, message: Message, request: Request, *, key: str | None, timeout: float | None
    ) -> Response:
        answer = await _while_connected(request, self._lanes.call(method, message, key=key, timeout=timeout))
        headers = {} if answer.degraded is None else {"Laneway-Degraded": answer.degraded}
        if answer.replayed:
            headers["Idempotent-Replayed"] = "true"
        return Response(self._codec.encode(answer.message), media_type=_JSON, headers=headers)

    async def _start(self, method: Method, message: Message, key: str | None) -> Response:
        started = await self._lanes.start(method, message, key=key)
        headers = {"Location": f"/v1/{started.name}", "Preference-Applied": "respond-async"}
        return JSONResponse({"name": started.name, "done": False}, 202, headers)

    async def _stream(self, method: Method, message: Message, request: Request, timeout: float | None) -> Response:
        replies = self._lanes.stream(method, message, timeout=timeout)
        events = "text/event-stream" in request.headers.get("accept", "")
        try:
            first = await anext(replies, None)
        except BaseException:
            await replies.aclose()
            raise
        media = "text/event-stream" if events else "application/x-ndjson"
        return StreamingResponse(self._framed(first, replies, events), media_type=media)

    async def _framed(
        self, first: Message | None, replies: AsyncGenerator[Message, None], events: bool
    ) -> AsyncIterator[bytes]:
        number = 0
        async with aclosing(replies):
            try:
                async for reply in _chained(first, replies):
                    number += 1
                    data = self._codec.encode(reply)
                    yield b"id: %d\ndata: %s\n\n" % (number, data) if events else data + b"\n"
            except LanewayError as error:
                _, body, _ = body_of(error)
                data = bytes(JSONResponse(body).body)
                yield b"event: error\ndata: %s\n\n" % data if events else data + b"\n"


async def _chained(first: Message | None, rest: AsyncIterator[Message]) -> AsyncIterator[Message]:
    if first is None:
        return
    yield first
    async for reply in rest:
        yield reply


async def _while_connected(request: Request, call: Coroutine[Any, Any, Any]) -> Any:
    """Wait for a call; when the client goes away first, cancel it to the far end."""
    task = asyncio.ensure_future(call)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for pending in (task, gone):
            pending.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _body(request: Request) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise InvalidArgument(f"The body is larger than {MAX_BODY_BYTES} bytes.", reason="BODY_TOO_LARGE")
        chunks.append(chunk)
    return b"".join(chunks)


def _key(request: Request) -> str | None:
    value = request.headers.get("idempotency-key")
    if value is None:
        return None
    bare = value[1:-1] if len(value) >= 2 and value[0] == value[-1] == '"' else value
    if not _KEY.fullmatch(bare):
        raise InvalidArgument(
            "Idempotency-Key is 1 to 255 visible ASCII characters, quoted or bare.", reason="IDEMPOTENCY_KEY_INVALID"
        )
    return bare


def _timeout(request: Request) -> float | None:
    value = request.headers.get("x-request-timeout")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise InvalidArgument("X-Request-Timeout is a number of seconds above 0.", reason="TIMEOUT_INVALID")
    return seconds


def _prefers_async(request: Request) -> bool:
    return "respond-async" in request.headers.get("prefer", "")


def _failure(error: BaseException, more: dict[str, str] | None = None) -> Response:
    status, body, headers = body_of(error)
    trace.get_current_span().set_attribute("error.type", body["error"]["status"])
    return JSONResponse(body, status, {**headers, **(more or {})})
