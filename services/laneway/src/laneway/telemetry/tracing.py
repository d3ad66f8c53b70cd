"""Spans: one `Tracing` per process, handed to whatever makes spans. No global provider.

The current span is in OpenTelemetry's own context, which asyncio tasks inherit.
"""

import os
import re
from collections.abc import Collection, Iterable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol

from opentelemetry import baggage, context, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from laneway.errors import LanewayError
from laneway.settings import Settings
from laneway.telemetry.sampling import Sampling
from laneway.telemetry.spans import LeanTracer

SAMPLER = "OTEL_TRACES_SAMPLER"
LONGEST_BAGGAGE = 256
"""Characters of a value that is let in from outside: each call carries it further."""

EXPORT_EVERY_MS = 200
"""How long a finished span may wait for its batch: short, so that a trace can be looked at right after the call."""


class Tracing:
    """Makes spans, and carries their context in headers."""

    def __init__(
        self, service: str, instance: str, exporter: SpanExporter | None, sampling: Sampling | None = None
    ) -> None:
        resource = Resource.create({"service.name": service, "service.instance.id": instance})
        self._processor = _processor(exporter)
        self._tracer = _tracer(resource, self._processor, sampling)
        self._propagator = TraceContextTextMapPropagator()
        self._baggage = W3CBaggagePropagator()

    @classmethod
    def for_settings(cls, service: str, settings: Settings) -> "Tracing":
        """Exports over OTLP/HTTP when an endpoint is set."""
        if settings.otlp_endpoint is None:
            return cls(service, settings.instance, None)
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        endpoint = settings.otlp_endpoint.rstrip("/") + "/v1/traces"
        sampling = Sampling(share=settings.trace_share, errors=settings.trace_errors, slow=settings.trace_slow_seconds)
        return cls(service, settings.instance, OTLPSpanExporter(endpoint=endpoint), sampling)

    def span(
        self,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, str | int | float | bool] | None = None,
        *,
        parent: Context | None = None,
        links: Sequence[Link] = (),
    ) -> AbstractContextManager[Span]:
        """The current span of a block, which has its parent's baggage.

        An error is named by its type and, if it is ours, its code; never its text.
        """
        return _Current(self._tracer.start_span(name, parent, kind, attributes, links), parent)

    def start_span(
        self,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, str | int | float | bool] | None = None,
        *,
        parent: Context | None = None,
        links: Sequence[Link] = (),
    ) -> Span:
        """A span that is ended elsewhere and does not become the current one."""
        return self._tracer.start_span(name, parent, kind, attributes, links)

    def inject(
        self, headers: MutableMapping[str, str], span: Span | None = None, within: Context | None = None
    ) -> None:
        """Write `traceparent` of the current span, or of another, and the baggage of a context into headers."""
        own = (trace.get_current_span() if span is None else span).get_span_context()
        if not own.is_valid:
            return
        headers["traceparent"] = traceparent(own)
        if own.trace_state:
            headers["tracestate"] = own.trace_state.to_header()
        if baggage.get_all(within):
            self._baggage.inject(headers, within)

    def extract(self, headers: Mapping[str, str]) -> Context:
        """The remote parent that headers name, with its baggage; without one, the current context."""
        parent = headers.get("traceparent")
        if parent is None:
            return context.get_current()
        above = self._parent(parent, headers)
        return self._baggage.extract(headers, above) if "baggage" in headers else above

    def links(self, of: Iterable[Mapping[str, str]]) -> list[Link]:
        """Links to the spans that headers name, one to each."""
        named = dict.fromkeys(parent for headers in of if (parent := headers.get("traceparent")))
        spans = (trace.get_current_span(self._parent(each, {})).get_span_context() for each in named)
        return [Link(span) for span in spans if span.is_valid]

    def from_outside(self, headers: Mapping[str, str], *, trusted: bool, carried: Collection[str]) -> Context:
        """Where a trace begins: what a caller that may be anybody says counts only if it is `trusted`.

        Of its baggage those entries are let in that are `carried`, and short.
        """
        above = self.extract({**headers, "baggage": ""}) if trusted and "traceparent" in headers else Context()
        if not carried or "baggage" not in headers:
            return above
        for name, value in baggage.get_all(self._baggage.extract(headers, Context())).items():
            if name in carried and len(str(value)) <= LONGEST_BAGGAGE:
                above = baggage.set_baggage(name, value, above)
        return above

    def _parent(self, parent: str, headers: Mapping[str, str]) -> Context:
        known = None if "tracestate" in headers else _PARENT.fullmatch(parent)
        if known is None:  # rare, and the propagator knows each rule of it
            return self._propagator.extract(headers, context=Context())
        flags = TraceFlags(int(known[3], 16))
        above = SpanContext(int(known[1], 16), int(known[2], 16), is_remote=True, trace_flags=flags)
        return trace.set_span_in_context(NonRecordingSpan(above), Context()) if above.is_valid else Context()

    def shutdown(self) -> None:
        """Export what has ended."""
        if self._processor is not None:
            self._processor.shutdown()


def traceparent(of: SpanContext) -> str:
    """A span as others are told of it."""
    return f"00-{of.trace_id:032x}-{of.span_id:016x}-{of.trace_flags:02x}"


_PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
"""A `traceparent` of the version that everybody writes: https://www.w3.org/TR/trace-context."""


class _Current:
    """A span that is the current one for as long as a block runs. A class: a generator's block costs twice as much."""

    __slots__ = ("_parent", "_span", "_token")

    def __init__(self, span: Span, parent: Context | None) -> None:
        self._span = span
        self._parent = parent

    def __enter__(self) -> Span:
        self._token = context.attach(trace.set_span_in_context(self._span, self._parent))
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            mark(self._span, error)
        context.detach(self._token)
        self._span.end()


class _Tracer(Protocol):
    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, str | int | float | bool] | None = None,
        links: Sequence[Link] = (),
    ) -> Span: ...


def _processor(exporter: SpanExporter | None) -> SpanProcessor | None:
    if exporter is None:
        return None
    if isinstance(exporter, InMemorySpanExporter):
        return SimpleSpanProcessor(exporter)
    return BatchSpanProcessor(exporter, schedule_delay_millis=EXPORT_EVERY_MS)


def _tracer(resource: Resource, processor: SpanProcessor | None, sampling: Sampling | None) -> _Tracer:
    """Lean spans, unless the environment asks the SDK for a sampler (`OTEL_TRACES_SAMPLER`)."""
    if SAMPLER not in os.environ:
        return LeanTracer("laneway", resource, processor, sampling)
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    if processor is not None:
        provider.add_span_processor(processor)
    return provider.get_tracer("laneway")


def mark(span: Span, error: BaseException) -> None:
    """Say of a span that it failed: by the type of the error and, if it is ours, its code and reason."""
    if isinstance(error, GeneratorExit):
        return
    span.set_attribute("error.type", type(error).__name__)
    if isinstance(error, LanewayError):
        span.set_attribute("rpc.grpc.status_code", int(error.code))
        if error.reason is not None:
            span.set_attribute("laneway.reason", error.reason)
    span.set_status(Status(StatusCode.ERROR))
