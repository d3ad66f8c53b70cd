"""Traces that a Jaeger keeps."""

import json
from typing import Any

import pytest

from laneway.cli.traces import fetch_from_jaeger, named
from laneway.errors import ConfigurationError, NotFound, Unavailable
from tests.unit.cli.test_top import serving

TRACE_ID = "ab" * 16


def jaegers(id: str, *references: dict[str, str], **tags: Any) -> dict[str, Any]:
    return {
        "traceID": TRACE_ID, "spanID": id, "processID": "p1", "operationName": "call", "startTime": 1000 + int(id),
        "duration": 5, "references": list(references),
        "tags": [{"key": key.replace("_", "."), "value": value} for key, value in tags.items()],
    }  # fmt: skip


def answer(*spans: dict[str, Any]) -> bytes:
    trace = {"traceID": TRACE_ID, "spans": spans, "processes": {"p1": {"serviceName": "orders"}}}
    return json.dumps({"data": [trace]}).encode()


def test_a_span_has_its_parent_its_lane_and_its_error() -> None:
    child_of = {"refType": "CHILD_OF", "traceID": TRACE_ID, "spanID": "1"}
    of_another = {"refType": "CHILD_OF", "traceID": "cd" * 16, "spanID": "9"}
    linked = {"refType": "FOLLOWS_FROM", "traceID": TRACE_ID, "spanID": "8"}
    asked = []

    def told(path: str) -> bytes:
        asked.append(path)
        inner = jaegers("2", of_another, linked, child_of, laneway_lane="queue", error=True, error_type="Unavailable",
                        laneway_attempt=2)  # fmt: skip
        return answer(inner, jaegers("1", span_kind="server"))

    with serving(told) as url:
        root, child = fetch_from_jaeger(TRACE_ID, url + "/")

    assert asked == [f"/api/traces/{TRACE_ID}"]
    assert (root.span_id, root.parent_id, root.kind, root.lane, root.error) == ("1", "", "server", "", None)
    assert (child.parent_id, child.lane, child.error, child.service) == ("1", "queue", "Unavailable", "orders")
    assert (root.attempt, child.attempt) == (1, 2)
    assert (child.start, child.end) == (1_002_000, 1_007_000)


def test_a_trace_that_jaeger_does_not_know_is_not_found() -> None:
    with serving(lambda _: b'{"data": null}') as url, pytest.raises(NotFound, match="knows no trace"):
        fetch_from_jaeger(TRACE_ID, url)


def test_what_is_no_jaeger_is_said_in_a_sentence() -> None:
    with serving(lambda _: b"<html>") as url, pytest.raises(Unavailable, match="does not answer as a Jaeger"):
        fetch_from_jaeger(TRACE_ID, url)
    with pytest.raises(Unavailable, match="does not answer"):
        fetch_from_jaeger(TRACE_ID, "http://127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="no URL of a Jaeger"):
        fetch_from_jaeger(TRACE_ID, "localhost")
    with pytest.raises(ConfigurationError, match="no trace id"):
        fetch_from_jaeger("../secrets", "http://localhost")


@pytest.mark.parametrize(
    "text", [TRACE_ID, TRACE_ID.upper(), f"00-{TRACE_ID}-{'cd' * 8}-01", f"traceparent: 00-{TRACE_ID}-{'cd' * 8}-01\r"]
)
def test_a_trace_is_named_by_its_id_or_by_the_header_of_an_answer(text: str) -> None:
    assert named(text) == TRACE_ID


@pytest.mark.parametrize("text", ["nope", f"{TRACE_ID}00", f"00-{TRACE_ID}", "../secrets"])
def test_what_names_no_trace_is_said_in_a_sentence(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is no trace id"):
        named(text)
