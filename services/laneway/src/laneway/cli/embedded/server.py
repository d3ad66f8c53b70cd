"""The embedded servers on the event loop of their caller: OTLP and mail come in, JSON goes out.

`POST /v1/traces` takes OTLP/HTTP; `GET /traces`, `/traces/{id}` and `/mail` are for people, tests and the demo.
"""

import asyncio
import gzip
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from google.protobuf.message import DecodeError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from laneway.cli.embedded.mail import Mailbox
from laneway.cli.embedded.spans import Spans
from laneway.cli.up.ports import listener

OTLP = "application/x-protobuf"


def embedded_app(spans: Spans, mailbox: Mailbox) -> Starlette:
    """The HTTP interface of the embedded servers."""

    async def export(request: Request) -> Response:
        payload = await request.body()
        try:
            if request.headers.get("content-encoding") == "gzip":
                payload = gzip.decompress(payload)
            spans.add(payload)
        except (DecodeError, OSError, EOFError):
            return JSONResponse({"error": "The body is not an OTLP export of traces."}, 400)
        return Response(b"", media_type=OTLP)

    async def traces(_: Request) -> Response:
        return JSONResponse(spans.traces())

    async def trace(request: Request) -> Response:
        found = spans.trace(request.path_params["id"])
        return JSONResponse([span.to_json() for span in found], 200 if found else 404)

    async def mail(_: Request) -> Response:
        return JSONResponse([mail.to_json() for mail in mailbox.mails()])

    return Starlette(
        routes=[
            Route("/v1/traces", export, methods=["POST"]),
            Route("/traces", traces),
            Route("/traces/{id}", trace),
            Route("/mail", mail),
        ]
    )


@asynccontextmanager
async def serving(spans: Spans, mailbox: Mailbox, *, http: socket.socket, smtp: socket.socket) -> AsyncIterator[None]:
    """Serve on two bound sockets; they are closed at exit."""
    config = uvicorn.Config(embedded_app(spans, mailbox), lifespan="off", log_config=None, access_log=False)
    web = _Web(config)
    web_task = asyncio.create_task(web.serve(sockets=[http]))
    mail = await asyncio.get_running_loop().create_server(mailbox.protocol, sock=smtp)
    try:
        yield
    finally:
        mail.close()
        web.should_exit = web.force_exit = True
        await web_task
        http.close()


async def run_mailbox(host: str, *, http_port: int, smtp_port: int) -> None:
    """The mail server alone, until SIGTERM or SIGINT."""
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    http, smtp = listener(host, http_port), listener(host, smtp_port)
    async with serving(Spans(), Mailbox(), http=http, smtp=smtp):
        await stopped.wait()


class _Web(uvicorn.Server):
    """uvicorn without its signal handlers: signals are the supervisor's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
