"""Traces, asked of the embedded collector of a running `laneway up` or of a Jaeger."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from laneway.cli.embedded.spans import SpanRecord
from laneway.cli.up.state import State
from laneway.errors import ConfigurationError, NotFound, Unavailable
from laneway.telemetry.names import ATTEMPT_NUMBER

TRACE_ID = re.compile(r"[0-9a-f]{32}")
TRACEPARENT = re.compile(r"(?:traceparent:\s*)?[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}", re.IGNORECASE)


def named(text: str) -> str:
    """The id of a trace, by itself or in a `traceparent` as a response's header shows it.

    Raises:
        ConfigurationError: there is none.
    """
    text = text.strip()
    given = TRACEPARENT.fullmatch(text)
    trace_id = (text if given is None else given[1]).lower()
    _check(trace_id)
    return trace_id


def fetch_trace(trace_id: str, data: Path) -> Sequence[SpanRecord]:
    """The spans of a trace.

    Raises:
        ConfigurationError: nothing runs in the data folder, or this is no trace id.
        NotFound: the collector does not know the trace.
    """
    _check(trace_id)
    if (state := State.read(data)) is None:
        raise ConfigurationError(f"Nothing runs in {data}; start `laneway up`, or name its folder with --data.")
    try:
        with urllib.request.urlopen(f"{state.urls['traces']}/{trace_id}", timeout=5) as answer:  # noqa: S310
            return [SpanRecord.from_json(span) for span in json.load(answer)]
    except urllib.error.HTTPError:
        raise NotFound(f"The collector knows no trace {trace_id}; it keeps the last ones only.") from None
    except OSError as error:
        raise Unavailable(f"The collector at {state.urls['traces']} does not answer: {error}.") from None


def fetch_from_jaeger(trace_id: str, url: str) -> Sequence[SpanRecord]:
    """The spans of a trace that a Jaeger keeps; `url` is that of its own pages and API.

    Raises:
        ConfigurationError: this is no trace id, or no URL.
        NotFound: Jaeger does not know the trace.
        Unavailable: Jaeger does not answer.
    """
    _check(trace_id)
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"{url!r} is no URL of a Jaeger; write, for example, http://localhost:16686.")
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/api/traces/{trace_id}", timeout=10) as answer:  # noqa: S310
            found: list[dict[str, Any]] = json.load(answer)["data"] or []
            spans = [_from_jaeger(span, trace["processes"]) for trace in found for span in trace["spans"]]
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.NOT_FOUND:
            raise Unavailable(f"Jaeger at {url} answers {error.code}.") from None
        spans = []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unavailable(
            f"{url} does not answer as a Jaeger ({error}); name the port of its pages, by `kubectl port-forward`."
        ) from None
    if not spans:
        raise NotFound(f"Jaeger at {url} knows no trace {trace_id}.")
    return sorted(spans, key=lambda span: (span.start, span.end))


def _check(trace_id: str) -> None:
    if not trace_id:
        raise ConfigurationError("The trace id is empty: there was no answer, or none with a `traceparent`.")
    if not TRACE_ID.fullmatch(trace_id):
        raise ConfigurationError(
            f"{trace_id!r} is no trace id: that is 32 hexadecimal digits, or the whole of a `traceparent`."
        )


def _from_jaeger(span: dict[str, Any], processes: dict[str, Any]) -> SpanRecord:
    """Jaeger's times are microseconds; its first reference to the trace itself is the parent, others are links."""
    tags = {tag["key"]: tag["value"] for tag in span["tags"]}
    parents = [
        each["spanID"]
        for each in span.get("references", ())
        if each["refType"] == "CHILD_OF" and each["traceID"] == span["traceID"]
    ]
    begin = span["startTime"] * 1000
    failed = tags.get("error") in (True, "true")
    return SpanRecord(
        span_id=span["spanID"],
        parent_id=parents[0] if parents else "",
        service=processes[span["processID"]]["serviceName"],
        name=span["operationName"],
        kind=tags.get("span.kind", "internal"),
        lane=tags.get("laneway.lane", ""),
        start=begin,
        end=begin + span["duration"] * 1000,
        error=tags.get("error.type", "error") if failed else None,
        attempt=int(tags.get(ATTEMPT_NUMBER, 1)),
    )
