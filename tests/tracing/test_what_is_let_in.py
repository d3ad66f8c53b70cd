"""What a request from outside may say of its trace, and what of its baggage goes where."""

from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest
from opentelemetry import baggage

from laneway.call import Call
from laneway.cli import traces
from laneway.compare.callee.v1.callee_laneway import CalleeClient
from laneway.compare.caller.v1.caller_pb2 import AskRequest, Lane
from laneway.contract.model import Contract
from laneway.errors import ConfigurationError
from laneway.lanes.rest.app import rest_app
from laneway.lanes.rest.options import EdgeOptions
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import LONGEST_BAGGAGE, Tracing
from tests.tracing.matrix import Handler, Scene, scene

ID = "0af7651916cd43dd8448eb211c80319c"
THEIRS = f"00-{ID}-b7ad6b7169203331-01"


async def ask(it: Scene, options: EdgeOptions, **headers: str) -> str:
    """Ask an edge; the trace that it answers with."""
    tracing = Tracing("edge", "edge", it.world.spans)
    methods = [method for method in Contract.of([CalleeClient.DESCRIPTOR]) if method.http]
    app = rest_app(it.world.lanes, methods, [], tracing=tracing, metrics=Metrics(), options=options)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://edge") as client:
        answer = await client.post("/v1/work", json={"run": "in"}, headers=headers)
    await it.world.settle()
    return traces.named(answer.headers["traceparent"])


def noting(seen: list[dict[str, Any]]) -> Handler:
    async def handle(_: Any, __: Call) -> None:
        seen.append(dict(baggage.get_all()))

    return handle


async def test_the_publics_trace_is_not_believed() -> None:
    async with scene() as it:
        assert await ask(it, EdgeOptions(), traceparent=THEIRS) != ID
        it.world.spans.clear()
        assert await ask(it, EdgeOptions(baggage=("campaign",)), traceparent=THEIRS, baggage="campaign=x") != ID
        roots = [span for span in it.world.spans.get_finished_spans() if span.parent is None]
        assert len(roots) == 1


async def test_the_trace_of_a_trusted_proxy_goes_on() -> None:
    async with scene() as it:
        assert await ask(it, EdgeOptions(trust_traces=True), traceparent=THEIRS) == ID
        assert {f"{span.context.trace_id:032x}" for span in it.world.spans.get_finished_spans()} == {ID}
        assert await ask(it, EdgeOptions(trust_traces=True)) != ID


@pytest.mark.parametrize("prefer", ["", "respond-async"])
async def test_of_the_baggage_that_is_let_in_which_is_named(prefer: str) -> None:
    async with scene() as it:
        it.work = noting(seen := [])
        sent = f"campaign=spring%20sale,admin=true,long={'x' * (LONGEST_BAGGAGE + 1)}"
        await ask(it, EdgeOptions(baggage=("campaign", "long")), baggage=sent, prefer=prefer)
        await ask(it, EdgeOptions(), baggage=sent, prefer=prefer)
        await ask(it, EdgeOptions(trust_traces=True), baggage=sent, traceparent=THEIRS, prefer=prefer)
        assert seen == [{"campaign": "spring sale"}, {}, {}]


@pytest.mark.parametrize("lane", [Lane.GRPC, Lane.QUEUE, Lane.EVENT])
async def test_baggage_goes_wherever_the_request_leads(lane: Lane) -> None:
    async with scene() as it:
        it.work = noting(seen := [])
        with Tracing("edge", "edge", None).span("in", parent=baggage.set_baggage("campaign", "spring")):
            await it.caller.ask(AskRequest(lane=lane))
        assert not baggage.get_all(), "nothing of it is left behind"
        await it.world.settle()
        assert seen == [{"campaign": "spring"}]


@pytest.mark.parametrize("wrong", [lambda: EdgeOptions(body_bytes=0), lambda: EdgeOptions(json_depth=201)])
def test_a_limit_is_still_one(wrong: Callable[[], EdgeOptions]) -> None:
    with pytest.raises(ConfigurationError):
        wrong()


def test_what_is_carried_may_be_nothing() -> None:
    empty: Sequence[str] = EdgeOptions(baggage=()).baggage
    assert not empty
