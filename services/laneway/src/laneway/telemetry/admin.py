"""The admin port of a process: `/metrics`, `/livez` and `/readyz`.

Served by a thread of its own, so that it can tell of an event loop that does not turn any more.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from laneway.errors import ConfigurationError

Render = Callable[[str], tuple[bytes, str]]
"""Gives the metrics and their media type, for what a reader accepts."""

LOOP_PATIENCE = 2.0
"""Seconds within which a loop that is alive answers."""


class Health:
    """What a process says of itself: alive while its loop turns, ready while it takes new work."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ready = threading.Event()
        self._signs: list[Callable[[], str | None]] = []

    @property
    def ready(self) -> bool:
        return self._ready.is_set()

    def begin(self) -> None:
        """From now on it takes work."""
        self._ready.set()

    def end(self) -> None:
        """It takes no new work any more."""
        self._ready.clear()

    def watch(self, ailment: Callable[[], str | None]) -> None:
        """Ask this as well: why the process is not alive, or None. Asked from the admin port's threads."""
        self._signs.append(ailment)

    def ailment(self) -> str | None:
        """Why the process is not alive; None while it is. Never ask on the loop itself."""
        if not self._turns():
            return "the event loop does not answer"
        return next((why for sign in self._signs if (why := sign()) is not None), None)

    def _turns(self) -> bool:
        answer = asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self._loop)
        try:
            answer.result(LOOP_PATIENCE)
        except (TimeoutError, CancelledError):
            answer.cancel()
            return False
        return True


@contextmanager
def serve_admin(health: Health, render: Render, *, host: str, port: int) -> Iterator[int]:
    """Serve until the block ends; gives the port.

    Raises:
        ConfigurationError: the port is taken.
    """
    try:
        server = ThreadingHTTPServer((host, port), _handler(health, render))
    except OSError as error:
        raise ConfigurationError(
            f"Port {port} cannot be used on {host} ({error.strerror}); stop what uses it, "
            "or set LANEWAY_ADMIN_PORT or LANEWAY_HOST."
        ) from None
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="admin", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(health: Health, render: Render) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(HTTPStatus.OK, *render(self.headers.get("Accept", "")))
            elif self.path == "/livez":
                ailment = health.ailment()
                self._verdict(ailment is None, ailment or "")
            elif self.path == "/readyz":
                self._verdict(health.ready, "takes no work")
            else:
                self._answer(HTTPStatus.NOT_FOUND, b"/metrics, /livez or /readyz\n")

        def _verdict(self, good: bool, otherwise: str) -> None:
            status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, b"ok\n" if good else otherwise.encode() + b"\n")

        def _answer(self, status: HTTPStatus, body: bytes, kind: str = "text/plain") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Probes are no news."""

    return Handler
