"""The embedded servers take what real clients send."""

import asyncio
import gzip
import smtplib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import EmailMessage

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from laneway.cli.embedded.mail import Mailbox
from laneway.cli.embedded.server import serving
from laneway.cli.embedded.spans import Spans
from laneway.cli.up import ports
from laneway.errors import Unavailable
from laneway.telemetry import names
from laneway.telemetry.tracing import Tracing


def walk() -> tuple[bytes, str]:
    """A trace of two spans, as the SDK encodes it, and its id."""
    memory = InMemorySpanExporter()
    tracing = Tracing("orders", "orders-1", memory)
    with (
        pytest.raises(Unavailable),
        tracing.span("POST /v1/orders", SpanKind.SERVER, names.http("POST", "/v1/orders", "http")) as root,
        tracing.span("shop.Orders/Place", SpanKind.CLIENT, names.rpc("shop.Orders", "Place")),
    ):
        raise Unavailable("down")
    tracing.shutdown()
    return encode_spans(memory.get_finished_spans()).SerializeToString(), f"{root.get_span_context().trace_id:032x}"


class TestSpans:
    def test_reads_what_the_sdk_writes(self) -> None:
        payload, trace_id = walk()
        spans = Spans()

        spans.add(payload)

        root, call = spans.trace(trace_id)
        assert (root.service, root.name, root.kind, root.lane, root.parent_id) == (
            "orders", "POST /v1/orders", "server", "rest", "",
        )  # fmt: skip
        assert (call.kind, call.lane, call.parent_id, call.error) == ("client", "grpc", root.span_id, "Unavailable")
        assert root.start <= call.start <= call.end <= root.end

    def test_remembers_the_last_traces_only(self) -> None:
        spans = Spans(kept=2)
        ids = []
        for _ in range(3):
            payload, trace_id = walk()
            spans.add(payload)
            ids.append(trace_id)

        assert spans.traces() == [ids[2], ids[1]]

    def test_a_span_that_is_exported_twice_is_one(self) -> None:
        payload, trace_id = walk()
        spans = Spans()

        spans.add(payload)
        spans.add(payload)

        assert len(spans.trace(trace_id)) == 2

    async def test_a_settled_trace_has_its_root(self) -> None:
        payload, trace_id = walk()
        spans = Spans()
        spans.add(payload)

        assert len(await spans.settled(trace_id, quiet=0.001)) == 2


@dataclass
class Address:
    http: str
    smtp_port: int


@pytest.fixture
async def embedded() -> AsyncIterator[Address]:
    free = ports.from_base(0)
    http, smtp = next(free), next(free)
    sockets = ports.listener("127.0.0.1", http), ports.listener("127.0.0.1", smtp)
    async with serving(Spans(), Mailbox(), http=sockets[0], smtp=sockets[1]):
        yield Address(f"http://127.0.0.1:{http}", smtp)


class TestServer:
    @pytest.mark.parametrize("packed", [False, True])
    async def test_takes_an_export_and_shows_the_trace(self, embedded: Address, packed: bool) -> None:
        payload, trace_id = walk()
        headers = {"content-type": "application/x-protobuf", **({"content-encoding": "gzip"} if packed else {})}
        async with httpx.AsyncClient(base_url=embedded.http) as client:
            body = gzip.compress(payload) if packed else payload
            answer = await client.post("/v1/traces", content=body, headers=headers)

            assert answer.status_code == 200
            assert (await client.get("/traces")).json() == [trace_id]
            spans = (await client.get(f"/traces/{trace_id}")).json()
            assert [span["name"] for span in spans] == ["POST /v1/orders", "shop.Orders/Place"]

    async def test_takes_what_the_sdk_exports(self, embedded: Address) -> None:
        exporter = OTLPSpanExporter(endpoint=f"{embedded.http}/v1/traces", compression=Compression.Gzip)
        tracing = Tracing("orders", "orders-1", exporter)
        with tracing.span("a span"):
            pass
        await asyncio.to_thread(tracing.shutdown)

        async with httpx.AsyncClient(base_url=embedded.http) as client:
            assert len((await client.get("/traces")).json()) == 1

    async def test_refuses_what_is_no_export(self, embedded: Address) -> None:
        async with httpx.AsyncClient(base_url=embedded.http) as client:
            assert (await client.post("/v1/traces", content=b"\xff")).status_code == 400
            packed = {"content-encoding": "gzip"}
            assert (await client.post("/v1/traces", content=b"plain", headers=packed)).status_code == 400

    async def test_an_unknown_trace_is_not_found(self, embedded: Address) -> None:
        async with httpx.AsyncClient(base_url=embedded.http) as client:
            assert (await client.get(f"/traces/{'0' * 32}")).status_code == 404

    async def test_takes_a_mail_and_shows_it(self, embedded: Address) -> None:
        def send() -> None:
            mail = EmailMessage()
            mail["From"], mail["To"], mail["Subject"] = "shop@example.org", "ada@example.org", "Shipped: grüße"
            mail["Message-ID"] = "<1@example.org>"
            mail.set_content("On its way.")
            with smtplib.SMTP("127.0.0.1", embedded.smtp_port, timeout=5) as server:
                server.send_message(mail)

        await asyncio.to_thread(send)

        async with httpx.AsyncClient(base_url=embedded.http) as client:
            assert (await client.get("/mail")).json() == [
                {
                    "sender": "shop@example.org",
                    "to": "ada@example.org",
                    "subject": "Shipped: grüße",
                    "message_id": "<1@example.org>",
                    "body": "On its way.\r\n",
                }
            ]
