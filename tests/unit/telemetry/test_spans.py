"""Lean spans are what the SDK's exporters and readers take, and what its own spans would have been."""

import json
from collections.abc import Iterator

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanKind, StatusCode

from laneway.telemetry.spans import LeanSpan
from laneway.telemetry.tracing import SAMPLER, Tracing

UNSAMPLED = "00-" + "a" * 32 + "-" + "b" * 16 + "-00"


@pytest.fixture
def memory() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(memory: InMemorySpanExporter) -> Iterator[Tracing]:
    tracing = Tracing("orders", "orders-1", memory)
    yield tracing
    tracing.shutdown()


def as_told(span: ReadableSpan) -> dict[str, object]:
    told = json.loads(span.to_json())
    for own in ("context", "start_time", "end_time", "resource", "parent_id"):
        told.pop(own)
    return dict(told)


def test_it_tells_what_the_sdks_own_span_would(tracing: Tracing, memory: InMemorySpanExporter) -> None:
    theirs, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(theirs))
    link = Link(tracing.start_span("other").get_span_context(), {"why": "batch"})
    given = {"name": "call", "kind": SpanKind.CLIENT, "attributes": {"a": 1, "b": "x"}, "links": [link]}
    for span in (tracing.start_span(**given), provider.get_tracer("laneway").start_span(**given)):  # type: ignore[arg-type]
        span.set_attribute("c", True)
        span.set_attributes({"d": 1.5})
        span.add_event("began", {"e": 1}, timestamp=5)
        span.set_status(StatusCode.ERROR)
        span.update_name("call it")
        span.end()
    assert as_told(memory.get_finished_spans()[0]) == as_told(theirs.get_finished_spans()[0])
    provider.shutdown()


def test_it_can_be_sent(tracing: Tracing, memory: InMemorySpanExporter) -> None:
    with tracing.span("outer"), tracing.span("inner", attributes={"a": 1}):
        pass
    sent = encode_spans(memory.get_finished_spans()).resource_spans[0].scope_spans[0].spans
    assert [span.name for span in sent] == ["inner", "outer"]
    assert sent[0].parent_span_id == sent[1].span_id
    assert sent[0].end_time_unix_nano >= sent[0].start_time_unix_nano > 0


def test_it_is_sampled_as_its_parent_is(tracing: Tracing, memory: InMemorySpanExporter) -> None:
    with tracing.span("call", parent=tracing.extract({"traceparent": UNSAMPLED})) as span:
        assert not span.is_recording()
        headers: dict[str, str] = {}
        tracing.inject(headers)
    assert headers["traceparent"].endswith("-00")
    assert memory.get_finished_spans() == ()


def test_it_ends_once(tracing: Tracing, memory: InMemorySpanExporter) -> None:
    span = tracing.start_span("call")
    span.end()
    span.end()
    assert len(memory.get_finished_spans()) == 1
    assert not span.is_recording()


def test_an_exception_leaves_its_type_and_not_its_text(tracing: Tracing, memory: InMemorySpanExporter) -> None:
    span = tracing.start_span("call")
    span.record_exception(ValueError("card 4111"))
    span.end()
    assert "4111" not in memory.get_finished_spans()[0].to_json()


@pytest.mark.parametrize(("sampler", "spans"), [("always_off", 0), ("always_on", 1)])
def test_the_environment_can_ask_for_a_sampler(
    monkeypatch: pytest.MonkeyPatch, memory: InMemorySpanExporter, sampler: str, spans: int
) -> None:
    monkeypatch.setenv(SAMPLER, sampler)
    tracing = Tracing("orders", "orders-1", memory)
    with tracing.span("call") as span:
        assert not isinstance(span, LeanSpan)
    tracing.shutdown()
    assert len(memory.get_finished_spans()) == spans
