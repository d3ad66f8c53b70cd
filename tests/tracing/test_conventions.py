"""What spans of each kind tell, by OpenTelemetry's conventions for HTTP, RPC, messaging and databases, and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from laneway.compare.callee.v1.callee_pb2 import WorkRequest
from laneway.compare.caller.v1.caller_pb2 import Lane
from laneway.errors import NotFound
from tests.tracing.matrix import Scene, failing, scene

RPC = {"rpc.system": "grpc", "rpc.service": "laneway.compare.callee.v1.Callee", "rpc.method": "Work"}
HTTP = {"http.request.method": "POST", "http.route": "/v1/work", "url.scheme": "http"}
MESSAGE = {"messaging.system": "valkey", "messaging.destination.name": "callee.default"}
REFUSED = {"error.type": "NotFound", "rpc.grpc.status_code": 5, "laneway.reason": "NONE"}


def told(spans: tuple[ReadableSpan, ...], kind: SpanKind, name: str) -> dict[str, Any]:
    """What the one span of this kind and name tells."""
    [span] = [each for each in spans if each.kind is kind and each.name.endswith(name)]
    return dict(span.attributes or {})


async def over_rest(it: Scene) -> tuple[ReadableSpan, ...]:
    await it.over_rest()
    return it.world.spans.get_finished_spans()


async def test_http_and_rpc_tell_what_was_called() -> None:
    async with scene() as it:
        spans = await over_rest(it)
    assert told(spans, SpanKind.SERVER, "/v1/work") == {
        **HTTP, "http.response.status_code": 200, "laneway.lane": "rest",
    }  # fmt: skip
    assert told(spans, SpanKind.CLIENT, "/Work") == {
        **RPC, "laneway.lane": "grpc", "laneway.attempt": 1, "laneway.breaker.state": "closed",
    }  # fmt: skip
    assert told(spans, SpanKind.SERVER, "/Work") == {**RPC, "laneway.lane": "grpc"}


async def test_http_and_rpc_tell_what_went_wrong() -> None:
    async with scene() as it:
        it.work = failing(NotFound("There is none.", reason="NONE"))
        spans = await over_rest(it)
    assert told(spans, SpanKind.SERVER, "/v1/work") == {
        **HTTP, "http.response.status_code": 404, "error.type": "NOT_FOUND", "laneway.lane": "rest",
    }  # fmt: skip
    assert told(spans, SpanKind.CLIENT, "/Work").items() >= REFUSED.items()
    assert told(spans, SpanKind.SERVER, "/Work") == {**RPC, **REFUSED, "laneway.lane": "grpc"}


async def test_a_message_is_told_by_its_queue_and_id_on_both_ends() -> None:
    async with scene() as it:
        started = await it.callee.work.start(WorkRequest(run="conventions"))
        await it.world.settle()
        spans = it.world.spans.get_finished_spans()
    message = {**MESSAGE, "messaging.message.id": started.name.rpartition("/")[2], "laneway.lane": "queue"}
    assert told(spans, SpanKind.PRODUCER, "publish callee.default") == {
        **message, "messaging.operation.type": "send", "messaging.operation.name": "publish",
    }  # fmt: skip
    assert told(spans, SpanKind.CONSUMER, "process callee.default") == {
        **message, "messaging.operation.type": "process", "messaging.operation.name": "process",
    }  # fmt: skip


async def test_a_commit_is_told_by_its_database() -> None:
    async with scene() as it:
        await it.asks(Lane.QUEUE)
        spans = [each for each in it.world.spans.get_finished_spans() if each.name == "COMMIT"]
    assert {each.resource.attributes["service.name"] for each in spans} == {"caller", "callee"}
    for each in spans:
        told_of = dict(each.attributes or {})
        told_of.pop("db.operation.batch.size", None)
        assert told_of == {"db.system.name": "sqlite", "db.operation.name": "COMMIT", "laneway.lane": "sql"}


@pytest.mark.parametrize("drive", [Scene.over_rest, lambda it: it.asks(Lane.EVENT)])
async def test_no_span_has_an_event_or_a_text_of_an_error(drive: Callable[[Scene], Any]) -> None:
    async with scene() as it:
        it.work = failing(NotFound("ada@example.org is not known.", reason="NONE"))
        await drive(it)
        spans = it.world.spans.get_finished_spans()
    assert spans
    assert "ada@example.org" not in str([span.to_json() for span in spans])
    assert [span.name for span in spans if span.events] == []
