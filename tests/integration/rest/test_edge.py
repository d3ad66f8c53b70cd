"""The edge over ASGI and over a real socket, in front of a real gRPC server."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter

from laneway.call import Call, Surroundings
from laneway.contract.model import Contract
from laneway.errors import ConfigurationError, NotFound, Unavailable
from laneway.lanes.dispatch import Dispatcher
from laneway.lanes.grpc.channel import GrpcTransport
from laneway.lanes.grpc.server import GrpcServer
from laneway.lanes.outgoing import Lanes
from laneway.lanes.rest.app import rest_app
from laneway.lanes.rest.options import EdgeOptions
from laneway.lanes.rest.server import _bound, serve
from laneway.resilience.pipeline import Pipelines
from laneway.telemetry.admin import Health
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from tests.fixtures.protos import service_of
from tests.fixtures.valkey import free_port
from tests.integration.rest.sockets import connectable

BODY = """
service Shelf {
  rpc Put(Request) returns (Reply) { option (google.api.http) = {post: "/v1/shelves/{name}" body: "*"}; }
  rpc Watch(Request) returns (stream Reply) { option (google.api.http) = {get: "/v1/{name=shelves/*}:watch"}; }
}
"""


@dataclass
class Behind:
    """What the service behind the edge does, and what it saw."""

    fail: Exception | None = None
    hold: asyncio.Event | None = None
    seen: list[Any] = field(default_factory=list)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Edge:
    app: Any
    behind: Behind
    limited: Callable[[EdgeOptions], Any]
    beside: Callable[[APIRouter], Any]
    before: Callable[[Callable[[str], str]], Any]

    @asynccontextmanager
    async def client_of(self, target: Callable[[str], str]) -> AsyncIterator[httpx.AsyncClient]:
        """A client of an edge before other services."""
        transport, app = self.before(target)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://edge") as client:
            yield client
        await transport.close()

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://edge")


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    contract = Contract.of([service_of(tmp_path, BODY)])
    methods = {method.name: method for method in contract}
    reply, behind = methods["Put"].output, Behind()

    async def put(request: Any, call: Call) -> Any:
        behind.seen.append((request, call.remaining(), call.facts.headers))
        behind.entered.set()
        if behind.fail is not None:
            raise behind.fail
        if behind.hold is not None:
            try:
                await behind.hold.wait()
            except asyncio.CancelledError:
                behind.cancelled.set()
                raise
        if request.name == "half":
            call.degrade("only half")
        return reply(text=request.name)

    async def watch(request: Any, call: Call) -> AsyncIterator[Any]:
        try:
            for number in range(3):
                yield reply(text=str(number))
            if behind.fail is not None:
                raise behind.fail
            if behind.hold is not None:
                await behind.hold.wait()
        except (asyncio.CancelledError, GeneratorExit):  # whether it waits or is about to be asked for the next
            behind.cancelled.set()
            raise

    handlers = {methods["Put"].full_name: put, methods["Watch"].full_name: watch}
    tracing, metrics = Tracing("edge", "edge-1", None), Metrics()
    surroundings = Surroundings(store=None, tracing=tracing, wall_clock=time.time, monotonic=time.monotonic)
    server = GrpcServer(
        Dispatcher(contract, handlers, surroundings=surroundings, metrics=metrics), host="127.0.0.1", port=0
    )
    await server.start()
    transport = GrpcTransport(lambda _: f"127.0.0.1:{server.port}")
    lanes = Lanes(transport, pipelines=Pipelines(), tracing=tracing, metrics=metrics)
    router = APIRouter()

    @router.get("/hello")
    async def hello() -> dict[str, str]:
        if behind.fail is not None:
            raise behind.fail
        return {"hello": "world"}

    def limited(options: EdgeOptions) -> Any:
        return rest_app(lanes, contract, [router], tracing=tracing, metrics=metrics, options=options)

    def beside(router: APIRouter) -> Any:
        return rest_app(lanes, contract, [router], tracing=tracing, metrics=metrics)

    def before(target: Callable[[str], str]) -> Any:
        elsewhere = GrpcTransport(target)
        lanes = Lanes(elsewhere, pipelines=Pipelines(), tracing=tracing, metrics=metrics)
        return elsewhere, rest_app(lanes, contract, [], tracing=tracing, metrics=metrics)

    yield Edge(limited(EdgeOptions()), behind, limited, beside, before)
    await transport.close()
    await server.stop(1)


async def test_a_call_reaches_the_service_and_its_answer_comes_back(edge: Edge) -> None:
    async with edge.client() as client:
        answer = await client.post("/v1/shelves/top", json={"tags": ["a"]})
    assert (answer.status_code, answer.json()) == (200, {"text": "top"})
    assert list(edge.behind.seen[0][0].tags) == ["a"]
    assert answer.headers["traceparent"].startswith("00-")


async def test_an_encoded_slash_stays_in_its_segment(edge: Edge) -> None:
    async with edge.client() as client:
        assert (await client.post("/v1/shelves/a%2Fb")).json() == {"text": "a/b"}


async def test_ordinary_routers_stand_beside_the_contract(edge: Edge) -> None:
    async with edge.client() as client:
        assert (await client.get("/hello")).json() == {"hello": "world"}
        assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (NotFound("There is no such book.", reason="NO_BOOK"), 404, "There is no such book."),
        (Unavailable("10.1.2.3 refused", reason="UNREACHABLE"), 503, "A service behind this one cannot be reached; try again."),
        (ValueError("10.1.2.3 refused"), 500, "The service failed; its log has the cause."),
    ],
)  # fmt: skip
async def test_what_a_router_raises_is_answered_as_a_call_is(
    edge: Edge, error: Exception, status: int, message: str
) -> None:
    edge.behind.fail = error
    transport = httpx.ASGITransport(edge.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
        answer = await client.get("/hello")
    assert (answer.status_code, answer.json()["error"]["message"]) == (status, message)
    assert ("retry-after" in answer.headers) == (status == 503)


@pytest.mark.parametrize("path", ["/v1/shelves/top", "/v1/shelves/{id}"])
async def test_a_router_that_a_method_hides_stops_the_start(edge: Edge, path: str) -> None:
    router = APIRouter()

    @router.post(path)
    async def hidden() -> None: ...

    with pytest.raises(ConfigurationError, match=r"The router's POST .* is answered by test\.shelf\.v1\.Shelf\.Put"):
        edge.beside(router)


async def test_a_degraded_answer_says_why(edge: Edge) -> None:
    async with edge.client() as client:
        assert (await client.post("/v1/shelves/half")).headers["laneway-degraded"] == "only half"


async def test_the_callers_timeout_is_the_calls_deadline(edge: Edge) -> None:
    async with edge.client() as client:
        await client.post("/v1/shelves/top", headers={"X-Request-Timeout": "1.5"})
    assert 0 < edge.behind.seen[0][1] <= 1.5


async def test_a_service_that_is_away_is_503_and_its_address_stays_inside(edge: Edge) -> None:
    port = free_port()
    async with edge.client_of(lambda _: f"127.0.0.1:{port}") as client:
        answer = await client.post("/v1/shelves/top")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert str(port) not in answer.text
    assert "127.0.0.1" not in answer.text


async def test_a_deadline_that_passes_is_504_and_cancels_the_handler(edge: Edge) -> None:
    edge.behind.hold = asyncio.Event()
    seconds = 0.05
    async with edge.client() as client:
        while not edge.behind.entered.is_set():  # on a busy machine the deadline may pass on the way to the handler
            answer = await client.post("/v1/shelves/top", headers={"X-Request-Timeout": str(seconds)})
            assert answer.status_code == 504
            seconds *= 2
    await edge.behind.cancelled.wait()


@pytest.mark.parametrize("value", ["0", "-1", "soon", "nan", "inf"])
async def test_a_timeout_that_is_none_is_400(edge: Edge, value: str) -> None:
    async with edge.client() as client:
        assert (await client.post("/v1/shelves/top", headers={"X-Request-Timeout": value})).status_code == 400


@pytest.mark.parametrize(("value", "status"), [("k", 200), ('"k"', 200), ("", 400), ("k" * 256, 400), ("a b", 400)])
async def test_an_idempotency_key_is_quoted_or_bare_and_bounded(edge: Edge, value: str, status: int) -> None:
    async with edge.client() as client:
        assert (await client.post("/v1/shelves/top", headers={"Idempotency-Key": value})).status_code == status
    if status == 200:
        assert edge.behind.seen[0][2]["idempotency-key"] == "k"


async def test_an_error_is_aip_193_with_its_details(edge: Edge) -> None:
    edge.behind.fail = NotFound("no such shelf", reason="NO_SHELF", metadata={"shelf": "top"})
    async with edge.client() as client:
        answer = await client.post("/v1/shelves/top")
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["code"], error["status"], error["message"]) == (404, "NOT_FOUND", "no such shelf")
    assert error["details"][0]["reason"] == "NO_SHELF"


async def test_an_unavailable_service_is_503_with_retry_after(edge: Edge) -> None:
    edge.behind.fail = Unavailable("full", retry_after=2.5)
    async with edge.client() as client:
        answer = await client.post("/v1/shelves/top")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")


async def test_a_handlers_crash_tells_the_public_nothing(edge: Edge) -> None:
    edge.behind.fail = ValueError("password=secret")
    async with edge.client() as client:
        answer = await client.post("/v1/shelves/top")
    assert answer.status_code == 500
    assert "secret" not in answer.text


async def test_the_public_cannot_set_the_trace(edge: Edge) -> None:
    theirs = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    async with edge.client() as client:
        answer = await client.post("/v1/shelves/top", headers={"traceparent": theirs})
    assert "a" * 32 not in answer.headers["traceparent"]


async def test_a_body_that_is_too_large_is_413(edge: Edge) -> None:
    async with edge.client() as client:
        answer = await client.post("/v1/shelves/top", content=b"x" * (EdgeOptions().body_bytes + 1))
    assert answer.status_code == 413


async def test_wrong_methods_and_paths(edge: Edge) -> None:
    async with edge.client() as client:
        wrong = await client.put("/v1/shelves/top")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
        assert (await client.get("/v1/nothing")).json()["error"]["status"] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("accept", "media", "text"),
    [
        ("text/event-stream", "text/event-stream", 'id: 1\ndata: {"text":"0"}\n\n'),
        ("*/*", "application/x-ndjson", '{"text":"0"}\n{"text":"1"}\n'),
    ],
)
async def test_a_stream_is_sse_or_ndjson(edge: Edge, accept: str, media: str, text: str) -> None:
    async with edge.client() as client:
        answer = await client.get("/v1/shelves/top:watch", headers={"Accept": accept})
    assert answer.headers["content-type"].startswith(media)
    assert answer.text.startswith(text)


async def test_an_error_in_mid_stream_is_framed(edge: Edge) -> None:
    edge.behind.fail = NotFound("the shelf is gone")
    async with edge.client() as client:
        answer = await client.get("/v1/shelves/top:watch", headers={"Accept": "text/event-stream"})
    assert "event: error" in answer.text
    assert "the shelf is gone" in answer.text


async def test_a_client_that_goes_away_cancels_to_the_far_end(edge: Edge) -> None:
    edge.behind.hold = asyncio.Event()
    async with listening(edge) as url, httpx.AsyncClient(base_url=url) as client:
        call = asyncio.create_task(client.post("/v1/shelves/top"))
        async with asyncio.timeout(5):
            await edge.behind.entered.wait()
            call.cancel()
            await edge.behind.cancelled.wait()


async def test_leaving_a_stream_cancels_to_the_far_end(edge: Edge) -> None:
    edge.behind.hold = asyncio.Event()
    async with listening(edge) as url, httpx.AsyncClient(base_url=url) as client:
        async with client.stream("GET", "/v1/shelves/top:watch") as answer, aclosing(answer.aiter_lines()) as lines:
            assert await anext(lines) == '{"text":"0"}'
        async with asyncio.timeout(5):
            await edge.behind.cancelled.wait()


async def test_a_stop_finishes_what_runs(edge: Edge) -> None:
    edge.behind.hold = asyncio.Event()
    async with httpx.AsyncClient() as client:
        async with listening(edge) as url:
            call = asyncio.create_task(client.post(f"{url}/v1/shelves/top"))
            await edge.behind.entered.wait()
            asyncio.get_running_loop().call_later(0.2, edge.behind.hold.set)
        assert (await call).status_code == 200


async def test_while_it_drains_it_answers_and_closes_each_connection(edge: Edge) -> None:
    stopped, health, port = asyncio.Event(), Health(asyncio.get_running_loop()), free_port()
    serving = asyncio.create_task(
        serve(edge.app, host="127.0.0.1", port=port, stopped=stopped, grace=5, drain=60, health=health)
    )
    async with asyncio.timeout(10), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        while not health.ready:
            await asyncio.sleep(0.01)
        await connectable(port)
        assert "connection" not in (await client.get("/healthz")).headers
        stopped.set()
        while health.ready:
            await asyncio.sleep(0)
        answers = [await client.get("/healthz") for _ in range(3)]
    assert [(answer.status_code, answer.headers["connection"]) for answer in answers] == [(200, "close")] * 3
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def raw(url: str, *pieces: bytes) -> tuple[int, dict[str, Any]]:
    """What a server says last to some bytes, before it closes the connection: status and error."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    async with asyncio.timeout(10):
        text = await reader.read()
    writer.close()
    head, _, body = text.rpartition(b"HTTP/1.1 ")[2].partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    return int(head.split()[0]), json.loads(body)["error"]


HEAD = b"POST /v1/shelves/top HTTP/1.1\r\nHost: edge\r\n"
LARGE = b"x" * 2000
TIGHT = EdgeOptions(header_bytes=1000, header_seconds=0.2, body_seconds=0.2)


@pytest.mark.parametrize(
    ("pieces", "status", "reason"),
    [
        ((HEAD + b"X-Large: " + LARGE + b"\r\n\r\n",), 431, "HEADERS_TOO_LARGE"),
        ((HEAD + b"X-Large: " + LARGE,), 431, "HEADERS_TOO_LARGE"),
        ((HEAD + b"X: y\r\n" * 300,), 431, "HEADERS_TOO_LARGE"),
        ((b"GET /" + LARGE + b" HTTP/1.1\r\n\r\n",), 431, "HEADERS_TOO_LARGE"),
        ((b"GET /" + LARGE,), 431, "HEADERS_TOO_LARGE"),
        ((HEAD,), 408, "HEADERS_TOO_SLOW"),
        ((b"",), 408, "HEADERS_TOO_SLOW"),
        ((HEAD + b"Content-Length: 0\r\n\r\n", HEAD), 408, "HEADERS_TOO_SLOW"),
        ((HEAD + b"Content-Length: 10\r\n\r\n{",), 408, "BODY_TOO_SLOW"),
        ((b"nonsense\r\n\r\n",), 400, "MALFORMED_HTTP"),
    ],
)
async def test_a_request_that_is_too_large_or_too_slow_is_told_so_and_cut_off(
    edge: Edge, pieces: tuple[bytes, ...], status: int, reason: str
) -> None:
    async with listening(edge, TIGHT) as url:
        code, error = await raw(url, *pieces)
    assert (code, error["details"][0]["reason"]) == (status, reason)


async def test_headers_below_the_limit_pass_however_they_arrive(edge: Edge) -> None:
    async with listening(edge, TIGHT) as url, httpx.AsyncClient(base_url=url) as client:
        for _ in range(3):
            answer = await client.post("/v1/shelves/top", json={"tags": ["x" * 3000]}, headers={"X": "y" * 600})
            assert answer.status_code == 200


async def test_a_connection_is_kept_for_as_long_as_it_should_be_and_outlives_what_clients_keep(edge: Edge) -> None:
    async with listening(edge, EdgeOptions(idle_seconds=0.1)) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: edge\r\n\r\n")
        async with asyncio.timeout(4):  # uvicorn would keep it for five seconds
            await reader.read()
        writer.close()
    assert EdgeOptions().idle_seconds > 60, "as balancers keep theirs"


async def test_a_taken_port_is_one_sentence(edge: Edge) -> None:
    async with listening(edge) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(ConfigurationError, match=f"Port {port} cannot be used .* LANEWAY_REST_PORT"):
            await serve(edge.app, host="127.0.0.1", port=port, stopped=asyncio.Event(), grace=1)


class listening:  # noqa: N801 reads as a statement
    """The edge on a real socket; leaving stops it gracefully."""

    def __init__(self, edge: Edge, options: EdgeOptions | None = None) -> None:
        self._edge = edge
        self._options = options
        self._port = free_port()
        self._stopped = asyncio.Event()

    async def __aenter__(self) -> str:
        app = self._edge.app if self._options is None else self._edge.limited(self._options)
        serving = serve(app, host="127.0.0.1", port=self._port, stopped=self._stopped, grace=5, options=self._options)
        self._task = asyncio.create_task(serving)
        async with asyncio.timeout(10):
            await connectable(self._port)
        return f"http://127.0.0.1:{self._port}"

    async def __aexit__(self, *_: object) -> None:
        self._stopped.set()
        await self._task


async def test_the_end_of_an_answer_does_not_wait_for_an_acknowledgement_of_its_beginning() -> None:
    """By Nagle's algorithm it would, for 40 ms, on each connection that is in use."""
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    with _bound("127.0.0.1", 0) as listening:
        async with await asyncio.start_server(note, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            assert await accepted != 0
            writer.close()
            await writer.wait_closed()
