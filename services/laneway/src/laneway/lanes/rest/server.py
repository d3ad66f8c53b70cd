"""uvicorn on the running loop; the process owns the signals."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from laneway.errors import ConfigurationError
from laneway.lanes.rest.options import EdgeOptions
from laneway.lanes.rest.protocol import guarded
from laneway.telemetry.admin import Health


class _Draining:
    """Ends each connection with its answer, once it has begun."""

    def __init__(self, app: ASGIApp) -> None:
        self.begun = False
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def closing(message: Message) -> None:
            if self.begun and message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        await self._app(scope, receive, closing)


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are handled where the process is composed."""
        yield


async def serve(
    app: FastAPI,
    *,
    host: str,
    port: int,
    stopped: asyncio.Event,
    grace: float,
    drain: float = 0.0,
    health: Health | None = None,
    options: EdgeOptions | None = None,
) -> None:
    """Serve until `stopped`; then drain, take no new requests and give running ones `grace` seconds.

    While it drains, for `drain` seconds, it is not ready but answers, and closes each connection with the answer:
    clients that keep connections open come back over others, before these ones are cut.

    Raises:
        ConfigurationError: the port is taken.
    """
    draining = _Draining(app)
    options = options or EdgeOptions()
    config = uvicorn.Config(
        draining,
        log_config=None,
        access_log=False,
        http=guarded(options),
        lifespan="off",
        server_header=False,
        timeout_keep_alive=options.idle_seconds,  # type: ignore[arg-type] # it is handed to call_later
        timeout_graceful_shutdown=max(1, round(grace)),
    )
    server = _Server(config)
    with _bound(host, port) as listening:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        stopping = asyncio.create_task(stopped.wait())
        if health is not None:
            health.begin()
        try:
            await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
            if health is not None:
                health.end()
            draining.begun = True
            await asyncio.wait([serving], timeout=drain)
        finally:
            stopping.cancel()
            server.should_exit = True
            await serving


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    listening = socket.socket(proto=socket.IPPROTO_TCP)  # asyncio sends at once only where the protocol is named
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ConfigurationError(
            f"Port {port} cannot be used on {host} ({error.strerror}); stop what uses it, "
            "or set LANEWAY_REST_PORT or LANEWAY_HOST."
        ) from None
    with listening:
        yield listening
