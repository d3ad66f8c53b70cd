"""A span for those who make many: what the SDK's processors and exporters take, without its checks and locks.

The attributes that Laneway sets are plain values of its own, so nothing has to be cleaned, counted or guarded, and a
span belongs to one task. Why not the SDK's: docs/decisions/0013-lean-spans.md.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from laneway.telemetry.sampling import Sampling, Untaken

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_UNTAKEN = TraceFlags(TraceFlags.DEFAULT)
_UNSET = Status(StatusCode.UNSET)


class LeanTracer:
    """Makes lean spans; each is sampled as its parent is, and a trace's first one as `sampling` says."""

    def __init__(
        self, name: str, resource: Resource, processor: SpanProcessor | None, sampling: Sampling | None = None
    ) -> None:
        self._scope = InstrumentationScope(name)
        self._resource = resource
        self._processor = processor
        self._ids = RandomIdGenerator()
        self._sampling = sampling = sampling or Sampling()
        self._untaken = Untaken(sampling, processor.on_end) if processor and sampling.looks_back else None

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] = (),
    ) -> "LeanSpan":
        """A span that begins now, under the span of a context (the current one, if none is given)."""
        above = trace.get_current_span(context).get_span_context()
        parent = above if above.is_valid else None
        trace_id = parent.trace_id if parent else self._ids.generate_trace_id()
        own = SpanContext(
            trace_id,
            self._ids.generate_span_id(),
            is_remote=False,
            trace_flags=parent.trace_flags if parent else _SAMPLED if self._sampling.takes(trace_id) else _UNTAKEN,
            trace_state=parent.trace_state if parent else None,
        )
        return LeanSpan(self, name, own, parent, kind, dict(attributes or {}), links)

    def ended(self, span: "LeanSpan") -> None:
        """Hand a span that has ended to the exporter, if there is one and its trace is sampled."""
        if self._processor is None:
            return
        if span.context.trace_flags.sampled:
            self._processor.on_end(self._readable(span, span.context))
        elif self._untaken is not None:
            own = span.context
            kept = SpanContext(own.trace_id, own.span_id, False, _SAMPLED, own.trace_state)
            first = span.parent is None or span.parent.is_remote
            self._untaken.ended(own.trace_id, self._readable(span, kept), first=first)

    def _readable(self, span: "LeanSpan", context: SpanContext) -> ReadableSpan:
        return ReadableSpan(
            span.name,
            context,
            span.parent,
            self._resource,
            span.attributes,
            span.events,
            span.links,
            span.kind,
            status=span.status,
            start_time=span.started,
            end_time=span.stopped,
            instrumentation_scope=self._scope,
        )


class LeanSpan(Span):
    """A span of one task."""

    __slots__ = (
        "_tracer",
        "attributes",
        "context",
        "events",
        "kind",
        "links",
        "name",
        "parent",
        "started",
        "status",
        "stopped",
    )

    def __init__(
        self,
        tracer: LeanTracer,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: dict[str, Any],
        links: Sequence[Link],
    ) -> None:
        self._tracer = tracer
        self.name = name
        self.context = context
        self.parent = parent
        self.kind = kind
        self.attributes = attributes
        self.links = links
        self.events: list[Event] = []
        self.status = _UNSET
        self.started = time.time_ns()
        self.stopped: int | None = None

    def end(self, end_time: int | None = None) -> None:
        """End it, once."""
        if self.stopped is None:
            self.stopped = time.time_ns() if end_time is None else end_time
            self._tracer.ended(self)

    def get_span_context(self) -> SpanContext:
        return self.context

    def is_recording(self) -> bool:
        return self.stopped is None and self.context.trace_flags.sampled

    def update_name(self, name: str) -> None:
        self.name = name

    def set_attribute(self, key: str, value: Any) -> None:
        self.attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        self.attributes.update(attributes)

    def add_event(self, name: str, attributes: Mapping[str, Any] | None = None, timestamp: int | None = None) -> None:
        self.events.append(Event(name, attributes, timestamp))

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        self.status = status if isinstance(status, Status) else Status(status, description)

    def record_exception(self, exception: BaseException, *_: Any, **__: Any) -> None:
        """An error is named by its type, never by its text."""
        self.add_event("exception", {"exception.type": type(exception).__qualname__})
