"""Accidents of processes: a stop loses nothing of a trace, a broker that is away and a worker that is killed break none."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import redis
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from laneway.cli.embedded.spans import SpanRecord, Spans
from laneway.lanes.grpc.channel import GrpcTransport
from laneway.lanes.outgoing import Lanes
from laneway.resilience.pipeline import Pipelines
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from tests.fixtures.roles import Roles, until
from tests.fixtures.valkey import Server
from tests.tracing.language import Path, Trace, calls, process, publish, serves

PATIENCE = 90.0


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

    async def spans(self) -> list[SpanRecord]:
        """All that have arrived."""
        spans = Spans()
        for payload in list(self.payloads):
            spans.add(payload)
        return [span for trace in spans.traces() for span in spans.trace(trace)]

    async def names(self) -> list[str]:
        """Of all spans that have arrived."""
        return [span.name for span in await self.spans()]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever, daemon=True)
    thread.start()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()
    thread.join()


async def start(roles: Roles, name: str, method_name: str = "Tidy", *, collector: Collector | None = None) -> None:
    """Queue a call with the owner; with a collector, the caller's own spans are there as well."""
    transport = GrpcTransport(lambda _: f"127.0.0.1:{roles.ports['grpc']}")
    tracing = Tracing("test", "test", None if collector is None else OTLPSpanExporter(f"{collector.url}/v1/traces"))
    lanes = Lanes(transport, pipelines=Pipelines(), tracing=tracing, metrics=Metrics())
    method = roles.method(method_name)
    try:
        await lanes.start(method, method.input(name=name))
    finally:
        await transport.close()
        await asyncio.to_thread(tracing.shutdown)


STARTED = calls("test", "*/Start") >> serves("shelf", "*/Start")


async def whole(collector: Collector, path: Path) -> Trace:
    """The one trace, once it shows what it must."""
    async with asyncio.timeout(PATIENCE):
        while not (trace := Trace(await collector.spans())).shows(path):
            await asyncio.sleep(0.05)
    assert (len(trace.roots), trace.orphans, trace.discords) == (1, [], []), trace
    return trace


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
    worker = roles.start("cpu-worker", otlp_endpoint=collector.url, grace_seconds=1)
    server.says("serving")
    await start(roles, "lost", "Crunch")
    assert roles.entered() == "lost"
    os.kill(int(roles.gates.get("pid:lost") or 0), signal.SIGKILL)
    until(lambda: "another is started [how=signal 9]" in worker.log(), worker.log)
    worker.terminate()
    assert worker.ended() == 0, worker.log()
    first = [each for each in await collector.spans() if (each.name, each.attempt) == ("process shelf.heavy", 1)]
    assert [each.error for each in first] == ["Unavailable"], worker.log()
    assert "Exception in callback" not in worker.log()


async def test_what_is_started_while_the_broker_is_away_runs_in_the_trace_of_its_start(
    roles: Roles, collector: Collector, valkey: Server
) -> None:
    server = roles.start("grpc", otlp_endpoint=collector.url, broker_url=valkey.url)
    await asyncio.to_thread(server.says, "serving")
    valkey.kill()
    await start(roles, "meanwhile", collector=collector)
    await whole(collector, STARTED >> publish("shelf.default", error="Unavailable"))
    await asyncio.to_thread(valkey.start)
    with redis.Redis.from_url(valkey.url) as gate:
        gate.rpush("go:meanwhile", "go")
    roles.start("worker", otlp_endpoint=collector.url, broker_url=valkey.url)
    await whole(collector, STARTED >> publish("shelf.default", error="Unavailable") >> process("shelf.default"))


async def test_what_a_killed_worker_had_begun_runs_again_in_the_same_trace(roles: Roles, collector: Collector) -> None:
    server = roles.start("grpc", otlp_endpoint=collector.url)
    killed = roles.start("worker", otlp_endpoint=collector.url)
    await asyncio.to_thread(server.says, "serving")
    await start(roles, "twice", collector=collector)
    assert await asyncio.to_thread(roles.entered) == "twice"
    killed.kill()
    roles.outlast_copies()
    roles.let_go("twice")
    roles.start("worker", otlp_endpoint=collector.url)
    trace = await whole(collector, STARTED >> publish("shelf.default") >> process("shelf.default"))
    assert trace.count(process("shelf.default")) == 1, "the span of the run that was killed has never ended"
