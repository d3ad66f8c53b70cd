"""Idempotency keys at the edge, in front of a real server with a database."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from laneway.call import Call, Identity, Surroundings
from laneway.contract.model import Contract
from laneway.errors import FailedPrecondition, PermissionDenied, Unauthenticated
from laneway.lanes.dispatch import Dispatcher
from laneway.lanes.grpc.channel import GrpcTransport
from laneway.lanes.grpc.server import GrpcServer
from laneway.lanes.outgoing import Lanes
from laneway.lanes.rest.app import rest_app
from laneway.resilience.pipeline import Pipelines
from laneway.store import Store
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from tests.fixtures.protos import service_of

BODY = """
service Shelf {
  rpc Put(Request) returns (Reply) {
    option (google.api.http) = {post: "/v1/puts" body: "*"};
    option (laneway.v1.call) = {idempotency {key: "request_id"} errors: "SHELF_FULL"};
  }
  rpc Charge(Request) returns (Reply) {
    option (google.api.http) = {post: "/v1/charges" body: "*"};
    option (laneway.v1.call) = {idempotency {required: true exclusive: true} retry {max_attempts: 1}};
  }
}
"""


@dataclass
class Edge:
    """The edge, and what runs behind it."""

    app: Any
    runs: list[Identity] = field(default_factory=list)
    dismissed: set[str] = field(default_factory=set)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def post(self, path: str, *, key: str | list[str] | None = None, who: str = "", **fields: Any) -> Any:
        keys = [] if key is None else [key] if isinstance(key, str) else key
        headers = [("Idempotency-Key", each) for each in keys] + ([("Authorization", who)] if who else [])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://edge") as client:
            return await client.post(path, json=fields, headers=headers)


async def authenticate(headers: Mapping[str, str]) -> Identity:
    who = headers.get("authorization")
    if who == "nobody":
        raise Unauthenticated("nobody is nobody")
    return Identity(who)


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    contract = Contract.of([service_of(tmp_path, BODY)])
    reply = next(iter(contract)).output
    edge = Edge(None)

    async def put(request: Any, call: Call) -> Any:
        edge.runs.append(call.identity)
        if request.name == "one too many":
            raise FailedPrecondition("the shelf is full", reason="SHELF_FULL")
        call.answer_with("ETag", f'"{len(edge.runs)}"')
        call.degrade("only half")
        return reply(text=f"run {len(edge.runs)}")

    async def charge(request: Any, call: Call) -> Any:
        edge.runs.append(call.identity)
        edge.entered.set()
        await edge.go_on.wait()
        return reply(text="charged")

    async def authorize(request: Any, call: Call) -> None:
        if call.identity.principal in edge.dismissed:
            raise PermissionDenied("no more")

    tracing, metrics, store = Tracing("edge", "edge-1", None), Metrics(), await Store.open("sqlite://", pool=1)
    surroundings = Surroundings(store=store, tracing=tracing, wall_clock=time.time, monotonic=time.monotonic)
    handlers = {"test.shelf.v1.Shelf.Put": put, "test.shelf.v1.Shelf.Charge": charge}
    dispatcher = Dispatcher(contract, handlers, surroundings=surroundings, metrics=metrics, authorize=authorize)
    server = GrpcServer(dispatcher, host="127.0.0.1", port=0)
    await server.start()
    transport = GrpcTransport(lambda _: f"127.0.0.1:{server.port}")
    lanes = Lanes(transport, pipelines=Pipelines(), tracing=tracing, metrics=metrics)
    edge.app = rest_app(lanes, contract, [], tracing=tracing, metrics=metrics, authenticate=authenticate)
    yield edge
    await transport.close()
    await server.stop(1)
    await dispatcher.close()
    await store.close()


def reason(answer: Any) -> str:
    return str(answer.json()["error"]["details"][0]["reason"])


async def test_a_key_that_is_required_and_missing_is_400(edge: Edge) -> None:
    answer = await edge.post("/v1/charges", name="book")
    assert (answer.status_code, reason(answer)) == (400, "IDEMPOTENCY_KEY_MISSING")
    assert edge.runs == []


async def test_our_client_fills_the_field_where_the_public_sends_no_key(edge: Edge) -> None:
    assert [(await edge.post("/v1/puts", name="book")).json()["text"] for _ in range(2)] == ["run 1", "run 2"]


async def test_a_repetition_is_replayed_and_says_so_with_the_first_answers_headers(edge: Edge) -> None:
    first = await edge.post("/v1/puts", key='"k"', name="book")
    again = await edge.post("/v1/puts", key='"k"', name="book")
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    for answer in (first, again):
        assert (answer.status_code, answer.json()) == (200, {"text": "run 1"})
        assert (answer.headers["etag"], answer.headers["laneway-degraded"]) == ('"1"', "only half")
    assert len(edge.runs) == 1


async def test_a_declared_error_is_repeated_like_an_answer_and_says_so(edge: Edge) -> None:
    first, again = [await edge.post("/v1/puts", key="k", name="one too many") for _ in range(2)]
    assert (first.status_code, reason(first), first.json()) == (400, "SHELF_FULL", again.json())
    marks = [answer.headers.get("idempotent-replayed") for answer in (first, again)]
    assert (marks, len(edge.runs)) == ([None, "true"], 1)


async def test_the_quoted_and_the_bare_form_are_one_key(edge: Edge) -> None:
    await edge.post("/v1/puts", key='"k"', name="book")
    assert (await edge.post("/v1/puts", key="k", name="book")).headers["idempotent-replayed"] == "true"


async def test_the_field_of_the_body_and_the_header_are_one_key(edge: Edge) -> None:
    await edge.post("/v1/puts", key="k", name="book")
    assert (await edge.post("/v1/puts", requestId="k", name="book")).headers["idempotent-replayed"] == "true"


async def test_a_header_that_is_not_the_key_of_the_body_is_400(edge: Edge) -> None:
    answer = await edge.post("/v1/puts", key="k", requestId="another", name="book")
    assert (answer.status_code, reason(answer)) == (400, "IDEMPOTENCY_KEYS_DIFFER")
    assert (await edge.post("/v1/puts", key="k", requestId="k", name="book")).status_code == 200
    assert len(edge.runs) == 1


async def test_a_key_with_another_payload_is_422(edge: Edge) -> None:
    await edge.post("/v1/puts", key="k", name="book")
    answer = await edge.post("/v1/puts", key="k", name="lamp")
    assert (answer.status_code, reason(answer)) == (422, "IDEMPOTENCY_KEY_REUSED")


async def test_the_same_json_written_otherwise_is_the_same_payload(edge: Edge) -> None:
    await edge.post("/v1/puts", key="k", name="book", tags=["a"])
    answer = await edge.post("/v1/puts", key="k", tags=["a"], name="book")
    assert answer.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("key", ["", "k" * 256, '"k', "a,b", ["a", "b"]], ids=["empty", "long", "open", "list", "two"])
async def test_a_key_that_is_none_is_400(edge: Edge, key: str | list[str]) -> None:
    answer = await edge.post("/v1/puts", key=key, name="book")
    assert (answer.status_code, reason(answer)) == (400, "IDEMPOTENCY_KEY_INVALID")


async def test_while_an_exclusive_call_runs_a_repetition_is_409_with_retry_after(edge: Edge) -> None:
    running = asyncio.create_task(edge.post("/v1/charges", key="k", name="book"))
    await edge.entered.wait()
    answer = await edge.post("/v1/charges", key="k", name="book")
    assert (answer.status_code, reason(answer), answer.headers["retry-after"]) == (409, "LEASE_HELD", "1")
    edge.go_on.set()
    assert (await running).json() == {"text": "charged"}
    assert (await edge.post("/v1/charges", key="k", name="book")).headers["idempotent-replayed"] == "true"
    assert len(edge.runs) == 1


async def test_a_refused_request_uses_up_no_key(edge: Edge) -> None:
    edge.dismissed.add("ann")
    assert (await edge.post("/v1/puts", key="k", who="ann", name="book")).status_code == 403
    edge.dismissed.clear()
    answer = await edge.post("/v1/puts", key="k", who="ann", name="lamp")
    assert (answer.status_code, answer.headers.get("idempotent-replayed")) == (200, None)


async def test_nobody_sees_an_answer_of_anothers_key(edge: Edge) -> None:
    for who in ("ann", "bob", ""):
        answer = await edge.post("/v1/puts", key="k", who=who, name="book")
        assert "idempotent-replayed" not in answer.headers
    assert [run.principal for run in edge.runs] == ["ann", "bob", None]


async def test_who_may_no_longer_call_is_shown_no_kept_answer(edge: Edge) -> None:
    await edge.post("/v1/puts", key="k", who="ann", name="book")
    edge.dismissed.add("ann")
    assert (await edge.post("/v1/puts", key="k", who="ann", name="book")).status_code == 403


async def test_credentials_that_are_no_good_are_401(edge: Edge) -> None:
    assert (await edge.post("/v1/puts", key="k", who="nobody", name="book")).status_code == 401
    assert edge.runs == []
