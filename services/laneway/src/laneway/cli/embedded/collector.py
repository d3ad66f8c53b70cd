"""The embedded collector: takes spans over OTLP/HTTP, keeps the last traces, and shows them and the mails as JSON.

Wire format: https://opentelemetry.io/docs/specs/otlp/#otlphttp (protobuf, plain or gzip).
"""

import gzip
import zlib
from collections import OrderedDict
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from laneway.cli.embedded.smtp import MailSink

KEPT = 1_000
"""Traces."""

_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
_ERROR = 2


class Collector:
    """The last traces, in memory."""

    def __init__(self) -> None:
        self._traces: OrderedDict[str, dict[str, dict[str, Any]]] = OrderedDict()

    def add(self, request: ExportTraceServiceRequest) -> None:
        """Keep the spans of an export."""
        for of_resource in request.resource_spans:
            service = _attributes(of_resource.resource.attributes).get("service.name", "?")
            for of_scope in of_resource.scope_spans:
                for span in of_scope.spans:
                    self._keep(str(service), span)

    def spans(self, trace_id: str) -> list[dict[str, Any]]:
        """The spans of a trace, by start."""
        return sorted(self._traces.get(trace_id, {}).values(), key=lambda span: span["start"])

    def _keep(self, service: str, span: Any) -> None:
        attributes = _attributes(span.attributes)
        trace = self._traces.setdefault(span.trace_id.hex(), {})
        trace[span.span_id.hex()] = {
            "trace_id": span.trace_id.hex(),
            "span_id": span.span_id.hex(),
            "parent_id": span.parent_span_id.hex() or None,
            "name": span.name,
            "service": service,
            "kind": _KINDS[span.kind],
            "lane": str(attributes.get("laneway.lane", "")),
            "start": span.start_time_unix_nano / 1e9,
            "duration": (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
            "error": str(attributes.get("error.type", "error")) if span.status.code == _ERROR else None,
        }
        while len(self._traces) > KEPT:
            self._traces.popitem(last=False)


def collector_app(collector: Collector, sink: MailSink) -> Starlette:
    """The collector's HTTP interface."""

    async def traces(request: Request) -> Response:
        body = await request.body()
        try:
            if request.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            collector.add(ExportTraceServiceRequest.FromString(body))
        except (ValueError, OSError, EOFError, zlib.error):
            return Response("not an ExportTraceServiceRequest", 400)
        return Response(ExportTraceServiceResponse().SerializeToString(), media_type="application/x-protobuf")

    async def trace(request: Request) -> Response:
        return JSONResponse(collector.spans(request.path_params["id"]))

    async def mail(_: Request) -> Response:
        return JSONResponse(list(sink.mails))

    return Starlette(
        routes=[
            Route("/v1/traces", traces, methods=["POST"]),
            Route("/traces/{id}", trace),
            Route("/mail", mail),
        ]
    )


def _attributes(pairs: Any) -> dict[str, object]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}
