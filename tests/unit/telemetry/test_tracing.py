"""Spans carry their context, and say what failed without repeating it."""

import asyncio
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from laneway.errors import NotFound
from laneway.settings import Settings
from laneway.telemetry import names
from laneway.telemetry.tracing import Tracing


@pytest.fixture
def memory() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(memory: InMemorySpanExporter) -> Iterator[Tracing]:
    tracing = Tracing("orders", "orders-1", memory)
    yield tracing
    tracing.shutdown()


def only(memory: InMemorySpanExporter) -> ReadableSpan:
    (span,) = memory.get_finished_spans()
    return span


def test_a_span_names_its_process(tracing: Tracing, memory: InMemorySpanExporter) -> None:
    with tracing.span("call", SpanKind.SERVER, names.rpc("shop.Orders", "Place")):
        pass

    span = only(memory)
    assert span.resource.attributes["service.name"] == "orders"
    assert span.resource.attributes["service.instance.id"] == "orders-1"
    assert dict(span.attributes or {}) == {
        "rpc.system": "grpc", "rpc.service": "shop.Orders", "rpc.method": "Place", "laneway.lane": "grpc",
    }  # fmt: skip


def test_an_error_is_its_type_code_and_reason_and_never_its_text(
    tracing: Tracing, memory: InMemorySpanExporter
) -> None:
    with pytest.raises(NotFound), tracing.span("call"):
        raise NotFound("card 4111 is unknown", reason="NO_CARD")

    span = only(memory)
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "NotFound"
    assert (span.attributes or {})["rpc.grpc.status_code"] == 5
    assert (span.attributes or {})["laneway.reason"] == "NO_CARD"
    assert "4111" not in span.to_json()


async def test_a_cancelled_span_ends_and_says_so(tracing: Tracing, memory: InMemorySpanExporter) -> None:
    with pytest.raises(asyncio.CancelledError), tracing.span("call"):
        raise asyncio.CancelledError

    assert (only(memory).attributes or {})["error.type"] == "CancelledError"


def test_headers_carry_the_parent_to_another_process(tracing: Tracing, memory: InMemorySpanExporter) -> None:
    headers: dict[str, str] = {}
    with tracing.span("here") as here:
        tracing.inject(headers)

    with tracing.span("there", parent=tracing.extract(headers)) as there:
        pass

    assert there.get_span_context().trace_id == here.get_span_context().trace_id
    assert memory.get_finished_spans()[1].parent.span_id == here.get_span_context().span_id  # type: ignore[union-attr]


def test_a_span_that_is_not_current_can_be_the_one_that_headers_name(tracing: Tracing) -> None:
    headers: dict[str, str] = {}
    with tracing.span("current"):
        span = tracing.start_span("publish")
        tracing.inject(headers, span)
        span.end()

    assert f"{span.get_span_context().span_id:016x}" in headers["traceparent"]


@pytest.mark.parametrize("headers", [{"traceparent": "nonsense"}, {"traceparent": ""}])
def test_headers_that_name_no_parent_begin_a_trace(
    tracing: Tracing, memory: InMemorySpanExporter, headers: dict[str, str]
) -> None:
    with tracing.span("call", parent=tracing.extract(headers)):
        pass

    assert only(memory).parent is None


async def test_tasks_inherit_the_current_span(tracing: Tracing, memory: InMemorySpanExporter) -> None:
    async def inner() -> int:
        with tracing.span("inner"):
            return trace.get_current_span().get_span_context().trace_id

    with tracing.span("outer") as outer:
        assert await asyncio.create_task(inner()) == outer.get_span_context().trace_id

    inside, outside = memory.get_finished_spans()
    assert inside.parent is not None
    assert inside.parent.span_id == outside.context.span_id  # type: ignore[union-attr]


def test_no_global_provider_is_set(tracing: Tracing) -> None:
    with trace.get_tracer("elsewhere").start_as_current_span("not ours") as span:
        assert not span.get_span_context().is_valid


def test_without_an_endpoint_nothing_is_exported() -> None:
    tracing = Tracing.for_settings("orders", Settings())

    with tracing.span("call") as span:
        assert span.get_span_context().is_valid
    tracing.shutdown()


IDS = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": f"00-{IDS}-01"},
        {"traceparent": f"00-{IDS}-00"},
        {"traceparent": f"00-{IDS}-01", "tracestate": "vendor=1"},
        {"traceparent": f"cc-{IDS}-01-what-comes-later"},
        {"traceparent": f"ff-{IDS}-01"},
        {"traceparent": f"00-{IDS}-01-more"},
        {"traceparent": f"00-{IDS.upper()}-01"},
        {"traceparent": f"00-{'0' * 32}-b7ad6b7169203331-01"},
        {"traceparent": f"00-{IDS[:32]}-{'0' * 16}-01"},
        {"traceparent": "nonsense"},
        {"traceparent": ""},
    ],
)
def test_headers_are_read_and_written_as_opentelemetry_does(tracing: Tracing, headers: dict[str, str]) -> None:
    theirs = TraceContextTextMapPropagator()
    parent = tracing.extract(headers)
    own, known = (trace.get_current_span(each).get_span_context() for each in (parent, theirs.extract(headers)))
    assert (own, own.is_remote, own.trace_flags) == (known, known.is_remote, known.trace_flags)
    written: dict[str, str] = {}
    expected: dict[str, str] = {}
    with tracing.span("call", parent=parent):
        tracing.inject(written)
        theirs.inject(expected)
    assert written == expected


class Kept(SpanExporter):
    """An exporter to which spans go in batches, as over OTLP."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.names += [span.name for span in spans]
        return SpanExportResult.SUCCESS


def test_what_has_ended_before_the_shutdown_is_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("laneway.telemetry.tracing.EXPORT_EVERY_MS", 3_600_000)  # only the shutdown is left to do it
    exporter = Kept()
    tracing = Tracing("orders", "orders-1", exporter)
    for name in ("first", "last"):
        with tracing.span(name):
            pass
    assert exporter.names == []

    tracing.shutdown()

    assert exporter.names == ["first", "last"]
