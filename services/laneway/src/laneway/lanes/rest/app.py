"""The edge: every method with a `google.api.http` rule, and ordinary FastAPI routers beside them.

The transcoder works on the raw path: FastAPI's own routing matches the decoded one, where `/v1/a%2Fb` is lost.
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence

import orjson
from fastapi import APIRouter, FastAPI
from google.protobuf.message import Message
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from laneway.contract.model import Method
from laneway.errors import LanewayError, NotFound, Unimplemented
from laneway.lanes.outgoing import Lanes
from laneway.lanes.rest.binding import JSON, Binding
from laneway.lanes.rest.codec import JsonCodec
from laneway.lanes.rest.errors import body_of
from laneway.lanes.rest.incoming import Attended, ClientGone, Incoming
from laneway.lanes.rest.options import EdgeOptions
from laneway.lanes.rest.router import Match, Router
from laneway.lanes.rest.streams import framed, media_of
from laneway.telemetry import names
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing

log = logging.getLogger(__name__)

_OPERATION = re.compile(r"/v1/operations/([\w-]+)/([\w:.-]+)")


def rest_app(
    lanes: Lanes,
    methods: Iterable[Method],
    routers: Sequence[APIRouter],
    *,
    tracing: Tracing,
    metrics: Metrics,
    options: EdgeOptions | None = None,
) -> FastAPI:
    """The edge's application.

    Raises:
        ConfigurationError: a rule is invalid, or two methods have the same route.
    """
    options = options or EdgeOptions()
    app = FastAPI(title="Laneway", redirect_slashes=False, openapi_url=None)
    app.add_api_route("/healthz", _healthz, methods=["GET"])
    for router in routers:
        app.include_router(router)
    codec = JsonCodec(lenient=options.ignore_unknown, max_depth=options.json_depth)
    app.router.default = Transcoder(
        lanes, Router(methods, codec), tracing=tracing, metrics=metrics, codec=codec, options=options
    )
    return app


async def _healthz() -> dict[str, str]:
    return {"status": "serving"}


class Transcoder:
    """An ASGI application that answers HTTP requests by calling the contract's methods."""

    def __init__(
        self,
        lanes: Lanes,
        router: Router,
        *,
        tracing: Tracing,
        metrics: Metrics,
        codec: JsonCodec,
        options: EdgeOptions,
    ) -> None:
        self._lanes = lanes
        self._router = router
        self._tracing = tracing
        self._metrics = metrics
        self._codec = codec
        self._options = options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Incoming(scope, receive, self._options)
        match = self._router.match(request.verb, request.path)
        route = match.binding.template.text if match else "*"
        # A trace of our own: what the public sends as `traceparent` is not trusted.
        with self._tracing.span(
            names.http_span(request.verb, route),
            SpanKind.SERVER,
            names.http(request.verb, route),
            parent=Context(),
        ) as span:
            try:
                response = await self._answer(match, request, receive)
            except ClientGone:
                return
            except LanewayError as error:
                response = _failure(error)
                if response.status_code >= 500:
                    log.warning("call failed", extra={"route": route, "cause": error.message})
            except Exception as error:
                log.exception("request failed", extra={"route": route})
                response = _failure(error)
            span.set_attribute("http.response.status_code", response.status_code)
            carrier: dict[str, str] = {}
            self._tracing.inject(carrier)
            response.headers.update(carrier)
            await response(scope, receive, send)

    async def _answer(self, match: Match | None, request: Incoming, receive: Receive) -> Response:
        if match is None:
            return await self._unmatched(request)
        binding = match.binding
        method = binding.method
        with self._metrics.call("server", method.full_name, "rest"):
            body = await request.body()
            content_type = request.header(b"content-type") or JSON
            message = binding.request(match.parts, request.query, body, content_type)
            key, timeout = request.key, request.timeout
            if method.client_streaming:
                raise Unimplemented(f"{method.full_name} takes a stream; call it over gRPC.")
            if method.server_streaming:
                return await self._stream(binding, message, request, timeout)
            if method.policy.queue and (not method.awaitable or request.prefers_async):
                return await self._start(method, message, key)
            async with Attended(receive):
                return await self._call(binding, message, key=key, timeout=timeout)

    async def _unmatched(self, request: Incoming) -> Response:
        operation = _OPERATION.fullmatch(request.path)
        if operation and request.verb == "GET":
            owner, id = operation.groups()
            found = await self._lanes.operation(owner, f"operations/{owner}/{id}")
            return Response(self._codec.encode(found), media_type=JSON)
        allowed = self._router.allowed(request.path)
        if allowed:
            error: LanewayError = Unimplemented(
                f"{request.path} has no {request.verb}; it has {', '.join(allowed)}.", reason="METHOD_NOT_ALLOWED"
            )
            return _failure(error, {"Allow": ", ".join(allowed)})
        raise NotFound(f"There is nothing at {request.path}.", reason="NO_ROUTE")

    async def _call(self, binding: Binding, message: Message, *, key: str | None, timeout: float | None) -> Response:
        answer = await self._lanes.call(binding.method, message, key=key, timeout=timeout)
        body, media = binding.answer(answer.message)
        headers = {} if answer.degraded is None else {"Laneway-Degraded": answer.degraded}
        if answer.replayed:
            headers["Idempotent-Replayed"] = "true"
        return Response(body, media_type=media, headers=headers)

    async def _start(self, method: Method, message: Message, key: str | None) -> Response:
        started = await self._lanes.start(method, message, key=key)
        headers = {"Location": f"/v1/{started.name}", "Preference-Applied": "respond-async"}
        return _json({"name": started.name, "done": False}, 202, headers)

    async def _stream(self, binding: Binding, message: Message, request: Incoming, timeout: float | None) -> Response:
        replies = self._lanes.stream(binding.method, message, timeout=timeout)
        try:
            first = await anext(replies, None)
        except BaseException:
            await replies.aclose()
            raise
        media = media_of(request.header(b"accept"))
        return StreamingResponse(framed(binding, first, replies, media), media_type=media)


def _failure(error: BaseException, more: Mapping[str, str] | None = None) -> Response:
    status, body, headers = body_of(error)
    trace.get_current_span().set_attribute("error.type", body["error"]["status"])
    return _json(body, status, {**headers, **(more or {})})


def _json(value: object, status: int, headers: Mapping[str, str]) -> Response:
    return Response(orjson.dumps(value), status, headers, media_type=JSON)
