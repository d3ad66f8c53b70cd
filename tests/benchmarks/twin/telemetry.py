"""Spans, metrics and logs, by hand."""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode
from prometheus_client import Counter, Gauge, Histogram

CALLS = Counter("notifications_calls", "Calls ended", ["method", "code"])
SECONDS = Histogram("notifications_call_seconds", "Time of calls", ["method"])
DELIVERIES = Counter("notifications_deliveries", "Messages run", ["task", "outcome"])
OUTBOX = Gauge("notifications_outbox_messages", "Rows of the outbox", ["state"])
OLDEST = Gauge("notifications_outbox_oldest_seconds", "How long the oldest due message has waited")

_provider: TracerProvider | None = None


def configure() -> None:
    """Once in each process."""
    global _provider
    _provider = TracerProvider(resource=Resource.create({"service.name": "notifications"}))
    if endpoint := os.environ.get("OTLP_ENDPOINT"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")))
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json())
    logging.basicConfig(level="INFO", handlers=[handler], force=True)


def shutdown() -> None:
    """Send what has ended."""
    if _provider is not None:
        _provider.shutdown()


@contextmanager
def span(name: str, kind: SpanKind, headers: Mapping[str, str] | None = None) -> Iterator[Span]:
    """The current span of a block, in the trace that headers name; an error is told by its type."""
    tracer = trace.get_tracer("notifications", tracer_provider=_provider)
    parent = propagate.extract(dict(headers)) if headers else None
    with tracer.start_as_current_span(
        name, context=parent, kind=kind, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield current
        except BaseException as error:
            current.set_status(StatusCode.ERROR)
            current.set_attribute("error.type", type(error).__name__)
            raise


def inject(headers: MutableMapping[str, str]) -> None:
    """Name the current span in headers."""
    propagate.inject(headers)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        context = trace.get_current_span().get_span_context()
        event = {"time": record.created, "level": record.levelname.lower(), "event": record.getMessage()}
        if context.is_valid:
            event |= {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
        if record.exc_info:
            event["error"] = self.formatException(record.exc_info)
        return json.dumps(event)
