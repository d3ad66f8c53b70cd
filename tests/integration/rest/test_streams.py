"""Streams over HTTP, both ways, in front of a real gRPC server."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from laneway.call import Call, Surroundings
from laneway.contract.model import Contract
from laneway.errors import NotFound
from laneway.lanes.dispatch import Dispatcher
from laneway.lanes.grpc.channel import GrpcTransport
from laneway.lanes.grpc.server import GrpcServer
from laneway.lanes.outgoing import Lanes
from laneway.lanes.rest.app import rest_app
from laneway.lanes.rest.options import EdgeOptions
from laneway.lanes.rest.server import serve
from laneway.lanes.rest.streams import framing_of
from laneway.resilience.pipeline import Pipelines
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from tests.fixtures.protos import service_of
from tests.fixtures.valkey import free_port
from tests.integration.rest.sockets import connectable

HEAD = """
syntax = "proto3";
package test.streams.v1;
import "google/api/annotations.proto";
import "google/api/httpbody.proto";
import "laneway/v1/call.proto";
message Ask { string name = 1; int64 cursor = 2; int32 number = 3; }
message Tick { string text = 1; int64 cursor = 2; }
message Plain { string text = 1; }
message Place { string cursor = 1; }
message Sealed { bytes cursor = 1; }
message Sum { int64 total = 1; repeated string names = 2; }
"""
BODY = """
service Streams {
  rpc Watch(Ask) returns (stream Tick) { option (google.api.http) = {get: "/v1/{name}:watch"}; }
  rpc Follow(Place) returns (stream Place) { option (google.api.http) = {get: "/v1/places"}; }
  rpc Guard(Sealed) returns (stream Sealed) { option (google.api.http) = {get: "/v1/seals"}; }
  rpc List(Ask) returns (stream Plain) { option (google.api.http) = {get: "/v1/{name}/list"}; }
  rpc Stand(Ask) returns (stream Plain) {
    option (google.api.http) = {get: "/v1/{name}/stand"};
    option (laneway.v1.call) = {idle_timeout {nanos: 50000000}};
  }
  rpc Download(Ask) returns (stream google.api.HttpBody) { option (google.api.http) = {get: "/v1/{name}/file"}; }
  rpc Add(stream Ask) returns (Sum) { option (google.api.http) = {post: "/v1/{name}:add" body: "*"}; }
  rpc Chat(stream Ask) returns (stream Tick) { option (google.api.http) = {post: "/v1/{name}:chat" body: "*"}; }
}
"""


PLACES = ["plain", "a b ", "é%2F\n", "last"]


@dataclass
class Behind:
    """What the service behind the edge does, and what it saw."""

    seen: list[Any] = field(default_factory=list)
    fail_after: int | None = None
    hold: asyncio.Event | None = None
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def watch(self, request: Any, call: Call) -> AsyncIterator[Any]:
        for number in range(request.cursor, 3):
            if self.fail_after == number:
                raise NotFound("gone", reason="GONE")
            yield call.method.output(text=f"tick {number}", cursor=number + 1)

    async def follow(self, request: Any, call: Call) -> AsyncIterator[Any]:
        for place in PLACES[PLACES.index(request.cursor) + 1 if request.cursor else 0 :]:
            yield call.method.output(cursor=place)

    async def guard(self, request: Any, call: Call) -> AsyncIterator[Any]:
        yield call.method.output(cursor=b"\xff")

    async def list(self, request: Any, call: Call) -> AsyncIterator[Any]:
        for number in range(0 if request.name == "none" else 2):
            yield call.method.output(text=str(number))
        if self.hold is not None:
            self.entered.set()
            try:
                await self.hold.wait()
            finally:
                self.cancelled.set()

    async def stand(self, request: Any, call: Call) -> AsyncIterator[Any]:
        yield call.method.output(text="first")
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()

    async def download(self, request: Any, call: Call) -> AsyncIterator[Any]:
        yield call.method.output(content_type="image/png", data=b"\x89P")
        yield call.method.output(data=b"NG")

    async def add(self, requests: AsyncIterator[Any], call: Call) -> Any:
        try:
            async for request in requests:
                self.seen.append(request)
                self.entered.set()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return call.method.output(total=sum(each.number for each in self.seen), names=[each.name for each in self.seen])

    async def chat(self, requests: AsyncIterator[Any], call: Call) -> AsyncIterator[Any]:
        async for _ in requests:
            yield call.method.output()


@pytest.fixture
def behind() -> Behind:
    return Behind()


@pytest.fixture
async def app(tmp_path: Path, behind: Behind) -> AsyncIterator[Any]:
    contract = Contract.of([service_of(tmp_path, BODY, head=HEAD)])
    handlers = {method.full_name: getattr(behind, method.python_name) for method in contract}
    tracing, metrics = Tracing("edge", "edge-1", None), Metrics()
    surroundings = Surroundings(store=None, tracing=tracing, wall_clock=time.time, monotonic=time.monotonic)
    dispatcher = Dispatcher(contract, handlers, surroundings=surroundings, metrics=metrics)
    server = GrpcServer(dispatcher, host="127.0.0.1", port=0)
    await server.start()
    transport = GrpcTransport(lambda _: f"127.0.0.1:{server.port}")
    lanes = Lanes(transport, pipelines=Pipelines(), tracing=tracing, metrics=metrics)
    yield rest_app(lanes, contract, [], tracing=tracing, metrics=metrics, options=EdgeOptions(body_bytes=500))
    await transport.close()
    await server.stop(1)


@pytest.fixture
async def client(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://edge") as client:
        yield client


TICKS = [{"text": f"tick {number}", "cursor": str(number + 1)} for number in range(3)]


async def test_lines_an_array_or_events_as_the_client_accepts(client: httpx.AsyncClient) -> None:
    lines = await client.get("/v1/x:watch")
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in lines.text.splitlines()] == TICKS

    array = await client.get("/v1/x:watch", headers={"Accept": "application/json"})
    assert (array.headers["content-type"], array.json()) == ("application/json", TICKS)

    events = await client.get("/v1/x:watch", headers={"Accept": "text/event-stream"})
    assert events.headers["content-type"].startswith("text/event-stream")
    assert events.text.startswith('id: 1\ndata: {"text":"tick 0","cursor":"1"}\n\n')


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (None, "application/x-ndjson"),
        ("*/*", "application/x-ndjson"),
        ("text/html", "application/x-ndjson"),
        ("application/json", "application/json"),
        ("application/jsonl", "application/x-ndjson"),
        ("text/html, application/json;q=0.9, */*;q=0.8", "application/json"),
        ("application/json;q=0.1, text/event-stream", "text/event-stream"),
        ("application/json;q=0, application/x-ndjson;q=0.1", "application/x-ndjson"),
        ("APPLICATION/JSON; charset=utf-8", "application/json"),
    ],
)
def test_the_best_of_what_is_accepted(accept: str | None, media: str) -> None:
    assert framing_of(accept).media == media


async def test_a_stream_of_nothing_is_nothing(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/none/list")).content == b""
    assert (await client.get("/v1/none/list", headers={"Accept": "application/json"})).json() == []


async def test_events_are_resumed_after_the_last_one_seen(client: httpx.AsyncClient) -> None:
    headers = {"Accept": "text/event-stream", "Last-Event-ID": "2"}
    assert (await client.get("/v1/x:watch", headers=headers)).text == 'id: 3\ndata: {"text":"tick 2","cursor":"3"}\n\n'


@pytest.mark.parametrize("seen", range(len(PLACES)))
async def test_a_cursor_of_any_text_comes_back_as_it_was(client: httpx.AsyncClient, seen: int) -> None:
    events = {"Accept": "text/event-stream"}
    told = (await client.get("/v1/places", headers=events)).text
    ids = [line.removeprefix("id: ") for line in told.split("\n") if line.startswith("id")]
    rest = (await client.get("/v1/places", headers={**events, "Last-Event-ID": ids[seen]})).text
    assert (len(ids), ids[0]) == (len(PLACES), PLACES[0])
    assert told.endswith(rest)
    assert rest.count("data: ") == len(PLACES) - seen - 1


async def test_what_is_neither_text_nor_a_number_is_no_cursor(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/seals", headers={"Accept": "text/event-stream", "Last-Event-ID": "b'x'"})
    assert answer.text == 'id: 1\ndata: {"cursor":"/w=="}\n\n'


async def test_a_request_that_says_where_to_begin_is_taken_at_its_word(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/x:watch?cursor=1", headers={"Last-Event-ID": "2"})
    assert len(answer.text.splitlines()) == 2


async def test_an_event_id_that_is_none_is_400(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/x:watch", headers={"Last-Event-ID": "yesterday"})
    assert (answer.status_code, "Last-Event-ID" in answer.text) == (400, True)


async def test_events_of_a_stream_without_cursor_are_counted(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/x/list", headers={"Accept": "text/event-stream", "Last-Event-ID": "1"})
    assert [line for line in answer.text.splitlines() if line.startswith("id")] == ["id: 1", "id: 2"]


async def test_an_error_before_the_first_reply_is_an_ordinary_answer(client: httpx.AsyncClient, behind: Behind) -> None:
    behind.fail_after = 0
    assert (await client.get("/v1/x:watch")).status_code == 404


@pytest.mark.parametrize(
    ("accept", "read"),
    [
        ("application/x-ndjson", lambda text: json.loads(text.splitlines()[-1])),
        ("application/json", lambda text: json.loads(text)[-1]),
        ("text/event-stream", lambda text: json.loads(text.partition("event: error\ndata: ")[2])),
    ],
)
async def test_an_error_in_the_middle_is_the_last_item(
    client: httpx.AsyncClient, behind: Behind, accept: str, read: Any
) -> None:
    behind.fail_after = 2
    answer = await client.get("/v1/x:watch", headers={"Accept": accept})
    error = read(answer.text)["error"]
    assert (error["code"], error["message"], error["details"][0]["reason"]) == (404, "gone", "GONE")


async def test_a_stream_that_stands_still_ends_with_the_reason(client: httpx.AsyncClient, behind: Behind) -> None:
    answer = await client.get("/v1/x/stand")
    first, last = [json.loads(line) for line in answer.text.splitlines()]
    assert first == {"text": "first"}
    assert last["error"]["details"][0]["reason"] == "STREAM_IDLE"
    async with asyncio.timeout(5):
        await behind.cancelled.wait()


async def test_raw_bodies_are_streamed_as_their_bytes(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/x/file")
    assert (answer.content, answer.headers["content-type"]) == (b"\x89PNG", "image/png")


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_lines_are_the_requests_of_a_clients_stream(client: httpx.AsyncClient, behind: Behind) -> None:
    body = pieces(b'{"number": 1}\n{"num', b'ber": 2}\r\n\n{"number": 3, "name": "y"}')
    answer = await client.post("/v1/x:add", content=body)
    assert answer.json() == {"total": "6", "names": ["x", "", "y"]}


async def test_path_and_query_belong_to_the_first_request_and_not_to_an_empty_line_before_it(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post("/v1/x:add", content=b'\n{"number": 1}\n{"number": 2}\n')
    assert answer.json() == {"total": "3", "names": ["x", ""]}


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b'{"number": 1}\n{"number": "x"}\n', 400, "`number`"),
        (b'{"number": 1}\nnonsense\n', 400, "not JSON"),
        (b'{"number": 1}\n{"name": "' + b"x" * 500, 413, "larger than 500 bytes"),
    ],
)
async def test_a_line_that_does_not_fit_ends_the_call(
    client: httpx.AsyncClient, behind: Behind, body: bytes, status: int, says: str
) -> None:
    answer = await client.post("/v1/x:add", content=body)
    assert (answer.status_code, says in answer.json()["error"]["message"]) == (status, True)


async def test_only_a_line_is_held_to_the_limit(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/x:add", content=b'{"number": 1}\n' * 1000)
    assert answer.json()["total"] == "1000"


async def test_a_stream_both_ways_stays_grpc(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/x:chat", content=b"{}\n")
    assert (answer.status_code, "over gRPC" in answer.text) == (501, True)


GOING = [
    pytest.param(b"GET /v1/none/list HTTP/1.1\r\nHost: edge\r\n\r\n", id="before the first reply"),
    pytest.param(b"GET /v1/x/list HTTP/1.1\r\nHost: edge\r\n\r\n", id="between replies"),
    pytest.param(
        b"POST /v1/x:add HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n",
        id="between requests",
    ),
]


@pytest.mark.parametrize("request_bytes", GOING)
async def test_a_client_that_goes_away_cancels_to_the_far_end(app: Any, behind: Behind, request_bytes: bytes) -> None:
    behind.hold, stopped, port = asyncio.Event(), asyncio.Event(), free_port()
    serving = asyncio.create_task(serve(app, host="127.0.0.1", port=port, stopped=stopped, grace=1))
    async with asyncio.timeout(60):
        await connectable(port)
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_bytes)
        await behind.entered.wait()
        writer.close()
        await behind.cancelled.wait()
        stopped.set()
        await serving
