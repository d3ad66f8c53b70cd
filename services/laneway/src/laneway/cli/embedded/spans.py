"""The embedded collector's memory: the spans of the last traces, read from OTLP. Knows no HTTP."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from laneway.telemetry.names import ATTEMPT_NUMBER

KEPT_TRACES = 2000
"""Traces that are remembered; the oldest goes first."""

KINDS = ("internal", "internal", "server", "client", "producer", "consumer")


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """A span that has ended. Times are nanoseconds of the wall clock; `parent_id` is empty at the root."""

    span_id: str
    parent_id: str
    service: str
    name: str
    kind: str
    lane: str
    start: int
    end: int
    error: str | None
    attempt: int = 1
    """Which one it is, of a call that is tried again or a message that comes again."""

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """What `to_json` made."""
        return cls(**value)

    def to_json(self) -> dict[str, Any]:
        """For a program that reads."""
        return asdict(self)


class Spans:
    """The last traces. Belongs to one event loop."""

    def __init__(self, kept: int = KEPT_TRACES) -> None:
        self._kept = kept
        self._traces: OrderedDict[str, dict[str, SpanRecord]] = OrderedDict()
        self._changed = asyncio.Event()

    def add(self, payload: bytes) -> None:
        """Take in an OTLP export.

        Raises:
            google.protobuf.message.DecodeError: it is none.
        """
        for of_resource in ExportTraceServiceRequest.FromString(payload).resource_spans:
            service = _attributes(of_resource.resource.attributes).get("service.name", "")
            for of_scope in of_resource.scope_spans:
                for span in of_scope.spans:
                    self._trace(span.trace_id.hex())[span.span_id.hex()] = _record(span, service)
        self._changed.set()

    def trace(self, trace_id: str) -> Sequence[SpanRecord]:
        """The spans of a trace by their start; none if the trace is not known."""
        return sorted(self._traces.get(trace_id, {}).values(), key=lambda span: (span.start, span.end))

    def traces(self) -> Sequence[str]:
        """The ids of all traces, the newest first."""
        return list(reversed(self._traces))

    async def settled(self, trace_id: str, *, quiet: float) -> Sequence[SpanRecord]:
        """The spans of a trace once its root has ended, every parent is known and none has come for `quiet` seconds."""
        while True:
            spans = self.trace(trace_id)
            if not await self._grows(trace_id, len(spans), within=quiet) and complete(spans):
                return spans

    async def _grows(self, trace_id: str, size: int, *, within: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while len(self._traces.get(trace_id, ())) == size:
                    self._changed.clear()
                    await self._changed.wait()
                return True
        return False

    def _trace(self, trace_id: str) -> dict[str, SpanRecord]:
        spans = self._traces.get(trace_id)
        if spans is None:
            spans = self._traces[trace_id] = {}
            if len(self._traces) > self._kept:
                self._traces.popitem(last=False)
        return spans


def complete(spans: Sequence[SpanRecord]) -> bool:
    """Whether the root has ended, and so has every span that has children."""
    ended = {span.span_id for span in spans} | {""}
    return bool(spans) and all(span.parent_id in ended for span in spans)


def _record(span: Any, service: str) -> SpanRecord:
    attributes = _attributes(span.attributes)
    failed = span.status.code == span.status.STATUS_CODE_ERROR
    return SpanRecord(
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        service=service,
        name=span.name,
        kind=KINDS[span.kind] if span.kind < len(KINDS) else KINDS[0],
        lane=attributes.get("laneway.lane", ""),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        error=attributes.get("error.type", "error") if failed else None,
        attempt=next((pair.value.int_value for pair in span.attributes if pair.key == ATTEMPT_NUMBER), 1),
    )


def _attributes(pairs: Any) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in pairs}
