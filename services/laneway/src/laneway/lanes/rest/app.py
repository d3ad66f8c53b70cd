"""The edge: every method with a `google.api.http` rule, and ordinary FastAPI routers beside them.

The transcoder comes first and works on the raw path: FastAPI's own routing matches the decoded one, where `/v1/a%2Fb`
is lost, and costs every request what only its own routes need.
"""

import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute
from google.protobuf.message import Message
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode
from starlette.types import Receive, Scope, Send

from laneway.call import ANONYMOUS, Identity
from laneway.contract.model import Method
from laneway.errors import Code, ConfigurationError, LanewayError, NotFound, Unimplemented
from laneway.lanes.idempotency_key import demand
from laneway.lanes.outgoing import Lanes
from laneway.lanes.rest.binding import JSON, Binding
from laneway.lanes.rest.codec import JsonCodec
from laneway.lanes.rest.incoming import Attended, ClientGone, Incoming
from laneway.lanes.rest.openapi import document
from laneway.lanes.rest.operations import OperationRoutes
from laneway.lanes.rest.options import EdgeOptions
from laneway.lanes.rest.reply import Reply, Streamed, failure
from laneway.lanes.rest.router import Match, Router
from laneway.lanes.rest.streams import Uploaded, bytes_of, cursor_of, framed, framing_of, is_raw
from laneway.telemetry import names
from laneway.telemetry.metrics import NO_ROUTE, Metrics
from laneway.telemetry.tracing import Tracing, traceparent

log = logging.getLogger(__name__)

_PATH_PARAMETER = re.compile(r"\{[^}]*\}")

Authenticate = Callable[[Mapping[str, str]], Awaitable[Identity]]
"""Who calls, by a request's headers (their names in lower case)."""


class Edge(FastAPI):
    """FastAPI, with the contract's methods before its own routes, and in its documentation."""

    transcoder: "Transcoder"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self.transcoder.serves(scope):
            await self.transcoder(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document: made when it is first asked for."""
        if self.openapi_schema is None:
            self.openapi_schema = self.transcoder.described(super().openapi())
        return self.openapi_schema


def rest_app(
    lanes: Lanes,
    methods: Iterable[Method],
    routers: Sequence[APIRouter],
    *,
    tracing: Tracing,
    metrics: Metrics,
    title: str = "Laneway",
    options: EdgeOptions | None = None,
    authenticate: Authenticate | None = None,
) -> Edge:
    """The edge's application.

    Raises:
        ConfigurationError: a rule is invalid, or two methods, or a method and a router, have the same route.
    """
    options = options or EdgeOptions()
    app = Edge(title=title, redirect_slashes=False, openapi_url="/openapi.json" if options.docs else None)
    app.add_api_route("/healthz", _healthz, methods=["GET"], summary="Whether the edge answers")
    for router in routers:
        app.include_router(router)
    for kind in (LanewayError, Exception):
        app.add_exception_handler(kind, _failed)
    codec = JsonCodec(lenient=options.ignore_unknown, max_depth=options.json_depth)
    routes = Router(methods, codec)
    _check_routers(routers, routes)
    app.transcoder = Transcoder(
        lanes, routes, tracing=tracing, metrics=metrics, codec=codec, options=options, authenticate=authenticate
    )
    app.router.default = app.transcoder
    return app


async def _healthz() -> dict[str, str]:
    return {"status": "serving"}


async def _failed(_: Request, error: Exception) -> Response:
    """What an ordinary router's function has raised: a client's error is one of ours there, too."""
    reply = failure(error)
    return Response(reply.body, reply.status, reply.headers, reply.media)


def _check_routers(routers: Sequence[APIRouter], routes: Router) -> None:
    for route in (route for router in routers for route in router.routes if isinstance(route, APIRoute)):
        for verb in sorted(route.methods or ()):
            match = routes.match(verb, _PATH_PARAMETER.sub("x", route.path))
            if match is not None:
                raise ConfigurationError(
                    f"The router's {verb} {route.path} is answered by {match.binding.method.full_name} "
                    f"({match.binding.template.text}); change one."
                )


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
        authenticate: Authenticate | None = None,
    ) -> None:
        self._lanes = lanes
        self._router = router
        owners = {each.method.owner for each in router.bindings if each.method.policy.queue is not None}
        self._operations = OperationRoutes(lanes, owners, self._caller)
        self._tracing = tracing
        self._metrics = metrics
        self._codec = codec
        self._options = options
        self._authenticate = authenticate

    def serves(self, scope: Scope) -> bool:
        """Whether the contract has a route for a request."""
        return self._match(scope) is not None

    def described(self, routers: dict[str, Any]) -> dict[str, Any]:
        """The OpenAPI document of the ordinary routers, with the contract's operations."""
        return document(self._router.bindings, routers, lenient=self._options.ignore_unknown)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        match = self._match(scope)
        request = Incoming(scope, receive, self._options)
        route = match.binding.template.text if match else "*"
        with self._tracing.span(
            names.http_span(request.verb, route),
            SpanKind.SERVER,
            names.http(request.verb, route, scope["scheme"]),
            parent=self._above(request),
        ) as span:
            try:
                reply = await self._answer(match, request, receive)
            except ClientGone:
                return
            except LanewayError as error:
                reply = self._failed(error, route, span)
            except Exception as error:
                log.exception("request failed", extra={"route": route})
                reply = self._failed(error, route, span)
            span.set_attribute("http.response.status_code", reply.status)
            reply.headers["traceparent"] = traceparent(span.get_span_context())
            await reply.send(scope, receive, send)

    def _above(self, request: Incoming) -> Context:
        """A trace of our own, unless the options trust what was sent as `traceparent`."""
        options = self._options
        if not options.trust_traces and not options.baggage:
            return Context()
        return self._tracing.from_outside(request.headers, trusted=options.trust_traces, carried=options.baggage)

    def _match(self, scope: Scope) -> Match | None:
        known: Match | None = scope.get("laneway.match")
        if known is None:
            raw: bytes | None = scope.get("raw_path")
            path = scope["path"] if raw is None else raw.decode("ascii", "replace")
            known = scope["laneway.match"] = self._router.match(scope["method"], path)
        return known

    async def _answer(self, match: Match | None, request: Incoming, receive: Receive) -> Reply | Streamed:
        if match is None:
            with self._metrics.call("server", NO_ROUTE, "rest"):
                return await self._unmatched(request, receive)
        binding = match.binding
        method = binding.method
        with self._metrics.call("server", method.full_name, "rest"):
            if method.client_streaming:
                return await self._upload(match, request, receive)
            body = await request.body()
            content_type = request.header(b"content-type") or JSON
            message = binding.request(match.parts, request.query, body, content_type)
            demand(method, message, request.key)
            who = await self._caller(request)
            if method.server_streaming:
                async with Attended(receive):
                    return await self._stream(binding, message, request, who)
            if method.policy.queue and (not method.awaitable or request.prefers_async):
                return await self._start(method, message, request, who)
            async with Attended(receive):
                return await self._call(binding, message, request, who)

    async def _caller(self, request: Incoming) -> Identity:
        return ANONYMOUS if self._authenticate is None else await self._authenticate(request.headers)

    async def _unmatched(self, request: Incoming, receive: Receive) -> Reply:
        if request.verb in self._operations.allowed(request.path):
            await request.body()  # `{}`, as AIP-151 has it, or nothing
            async with Attended(receive):
                return Reply(self._codec.encode(await self._operations.answer(request)))
        allowed = [*self._router.allowed(request.path), *self._operations.allowed(request.path)]
        if allowed:
            error: LanewayError = Unimplemented(
                f"{request.path} has no {request.verb}; it has {', '.join(allowed)}.", reason="METHOD_NOT_ALLOWED"
            )
            return failure(error, {"Allow": ", ".join(allowed)})
        raise NotFound(f"There is nothing at {request.path}.", reason="NO_ROUTE")

    async def _call(self, binding: Binding, message: Message, request: Incoming, who: Identity) -> Reply:
        answer = await self._lanes.call(binding.method, message, key=request.key, timeout=request.timeout, identity=who)
        headers = {**answer.headers, **_degraded(answer.degraded), **_marked(answer.replayed)}
        if answer.operation is not None:  # its fallback has queued it
            return _accepted(answer.operation, headers)
        body, media = binding.answer(answer.message)
        return Reply(body, media, headers=headers)

    async def _start(self, method: Method, message: Message, request: Incoming, who: Identity) -> Reply:
        started = await self._lanes.start(method, message, key=request.key, timeout=request.timeout, identity=who)
        return _accepted(started.name, {"Preference-Applied": "respond-async", **_marked(started.replayed)})

    async def _stream(self, binding: Binding, message: Message, request: Incoming, who: Identity) -> Streamed:
        last_id, cursor = request.header(b"last-event-id"), cursor_of(binding.method)
        if last_id and cursor is not None:
            cursor.resume(message, last_id)
        replies = self._lanes.stream(binding.method, message, timeout=request.timeout, identity=who)
        first = await _first(replies)
        if first is not None and is_raw(binding):
            return Streamed(bytes_of(binding, first, replies), binding.answer(first)[1])
        framing = framing_of(request.header(b"accept"))
        return Streamed(framed(binding, first, replies, framing), framing.media)

    async def _upload(self, match: Match, request: Incoming, receive: Receive) -> Reply:
        method = match.binding.method
        if method.server_streaming:
            raise Unimplemented(f"{method.full_name} streams both ways; call it over gRPC.")
        who = await self._caller(request)
        sent = Uploaded(match, request.query, request.lines())

        async def after_the_last() -> Any:
            await sent.ended.wait()
            return await receive()

        async with Attended(after_the_last):
            replies = self._lanes.stream(method, sent, timeout=request.timeout, identity=who)
            async with aclosing(replies):
                answer = await anext(replies)
        return Reply(*match.binding.answer(answer))

    def _failed(self, error: Exception, route: str, span: Span) -> Reply:
        reply = failure(error, _marked(isinstance(error, LanewayError) and error.replayed))
        code = error.code if isinstance(error, LanewayError) else Code.INTERNAL
        span.set_attribute("error.type", code.name)
        if reply.status >= 500:
            span.set_status(StatusCode.ERROR)  # what is the client's mistake is no error of the server's
        if reply.status >= 500 and isinstance(error, LanewayError):
            log.warning("call failed", extra={"route": route, "cause": error.message})
        return reply


async def _first(replies: AsyncGenerator[Message, None]) -> Message | None:
    try:
        return await anext(replies, None)
    except BaseException:
        await replies.aclose()
        raise


def _marked(replayed: bool) -> dict[str, str]:
    return {"Idempotent-Replayed": "true"} if replayed else {}


def _degraded(reason: str | None) -> dict[str, str]:
    if reason is None:
        return {}
    trace.get_current_span().set_attribute(names.IS_DEGRADED, reason)
    # A reason is for people and may be of any script; a header is ASCII.
    return {"Laneway-Degraded": quote(reason, safe=names.PRINTABLE)}


def _accepted(operation: str, headers: dict[str, str]) -> Reply:
    body = orjson.dumps({"name": operation, "done": False})
    return Reply(body, JSON, 202, {"Location": f"/v1/{operation}", **headers})
