"""A worker that is told to stop sends the spans of what it still ends: nothing of a trace is lost at shutdown."""

import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from laneway.cli.embedded.spans import Spans
from laneway.lanes.grpc.channel import GrpcTransport
from laneway.lanes.outgoing import Lanes
from laneway.resilience.pipeline import Pipelines
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from tests.fixtures.roles import Roles, until


class Collector:
    """Takes what is exported."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.payloads.append(body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing is said of a request."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    async def names(self) -> list[str]:
        """Of all spans that have arrived."""
        spans = Spans()
        for payload in self.payloads:
            spans.add(payload)
        return [span.name for trace in spans.traces() for span in spans.trace(trace)]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever, daemon=True)
    thread.start()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()
    thread.join()


async def start(roles: Roles, name: str, method_name: str = "Tidy") -> None:
    """Queue a call with the owner."""
    transport = GrpcTransport(lambda _: f"127.0.0.1:{roles.ports['grpc']}")
    tracing = Tracing("test", "test", None)
    lanes = Lanes(transport, pipelines=Pipelines(), tracing=tracing, metrics=Metrics())
    method = roles.method(method_name)
    try:
        await lanes.start(method, method.input(name=name))
    finally:
        await transport.close()


@pytest.mark.parametrize(
    ("role", "method", "queue"), [("worker", "Tidy", "shelf.default"), ("cpu-worker", "Crunch", "shelf.heavy")]
)
async def test_the_span_of_what_a_stopping_worker_ends_arrives(
    roles: Roles, effects: object, collector: Collector, role: str, method: str, queue: str
) -> None:
    server = roles.start("grpc", otlp_endpoint=collector.url)
    worker = roles.start(role, otlp_endpoint=collector.url)
    server.says("serving")
    await start(roles, "last", method)
    assert roles.entered() == "last"
    worker.terminate()
    roles.let_go("last")
    assert worker.ended() == 0, worker.log()
    assert (await collector.names()).count(f"process {queue}") == 1, worker.log()
    server.terminate()
    assert server.ended() == 0
    assert {"laneway.v1.Acceptor/Start", f"publish {queue}"} <= set(await collector.names())


async def test_the_span_of_what_runs_in_a_process_that_is_killed_is_its_workers(
    roles: Roles, collector: Collector
) -> None:
    server = roles.start("grpc")
    worker = roles.start("cpu-worker", otlp_endpoint=collector.url)
    server.says("serving")
    await start(roles, "lost", "Crunch")
    assert roles.entered() == "lost"
    os.kill(int(roles.gates.get("pid:lost") or 0), signal.SIGKILL)
    until(lambda: "another is started [how=signal 9]" in worker.log(), worker.log)
    worker.terminate()
    assert worker.ended() == 0, worker.log()
    assert (await collector.names()).count("process shelf.heavy") == 1, worker.log()
