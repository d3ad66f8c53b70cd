"""uvicorn on the running loop; the process owns the signals."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from laneway.errors import ConfigurationError

MAX_HEADER_BYTES = 16 * 1024


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are handled where the process is composed."""
        yield


async def serve(app: FastAPI, *, host: str, port: int, stopped: asyncio.Event, grace: float) -> None:
    """Serve until `stopped`; then take no new requests and give running ones `grace` seconds.

    Raises:
        ConfigurationError: the port is taken.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        http="httptools",
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=max(1, round(grace)),
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
    )
    server = _Server(config)
    with _bound(host, port) as listening:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        stopping = asyncio.create_task(stopped.wait())
        try:
            await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            server.should_exit = True
            await serving


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ConfigurationError(
            f"Port {port} cannot be used on {host} ({error.strerror}); stop what uses it, or set LANEWAY_REST_PORT."
        ) from None
    with listening:
        yield listening
