"""grpc.aio over real sockets: our client, our server."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from laneway.call import Call, Surroundings
from laneway.contract.model import Contract, Method
from laneway.errors import (
    Cancelled,
    ConfigurationError,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    Unavailable,
    Unimplemented,
)
from laneway.lanes.dispatch import Dispatcher
from laneway.lanes.grpc.channel import GrpcTransport
from laneway.lanes.grpc.server import GrpcServer
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from tests.fixtures.protos import service_of
from tests.fixtures.shelf import Shelf

BODY = """
service Shelf {
  rpc Put(Request) returns (Reply);
  rpc Watch(Request) returns (stream Reply);
  rpc Sum(stream Request) returns (Reply);
  rpc Echo(stream Request) returns (stream Reply);
  rpc Tidy(Request) returns (Reply) { option (laneway.v1.call) = {idempotency {} queue {use: ONLY}}; }
}
"""


@dataclass
class Wire:
    server: GrpcServer
    transport: GrpcTransport
    methods: dict[str, Method]
    calls: list[Call] = field(default_factory=list)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    def request(self, **fields: Any) -> Any:
        return self.methods["Put"].input(**fields)

    async def call(self, name: str, *, timeout: float | None = 5, headers: Any = (), **fields: Any) -> Any:
        return await self.transport.unary(
            self.methods["Put"], self.request(name=name, **fields), dict(headers), timeout
        )


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Wire]:
    contract = Contract.of([service_of(tmp_path, BODY)])
    methods = {method.name: method for method in contract}
    reply = methods["Put"].output

    async def put(request: Any, call: Call) -> Any:
        wire.calls.append(call)
        wire.entered.set()
        if request.name == "missing":
            raise NotFound("not there", reason="NO_BOOK", metadata={"book": "x"}, retry_after=1.5)
        if request.name == "never again":
            raise Unavailable("closed for good", retry_after=-1)
        if request.name == "crash":
            raise ValueError("secret")
        if request.name == "called off":
            raise Cancelled("called off")
        if request.name == "wait":
            try:
                await wire.go_on.wait()
            except asyncio.CancelledError:
                wire.cancelled.set()
                raise
        if request.name == "half":
            call.degrade("half")
        if request.name == "halb":
            call.degrade("100 % der Größe –\nunbekannt")
        return reply(text=request.name)

    async def watch(request: Any, call: Call) -> AsyncIterator[Any]:
        try:
            for number in range(3):
                yield reply(text=str(number))
            if request.name == "crash":
                raise ValueError("secret")
            if request.name == "fails":
                raise NotFound("gone", reason="GONE")
            if request.name == "wait":
                await wire.go_on.wait()
        finally:
            wire.cancelled.set()

    async def total(requests: AsyncIterator[Any], call: Call) -> Any:
        return reply(text=str(sum([1 async for _ in requests])))

    async def echo(requests: AsyncIterator[Any], call: Call) -> AsyncIterator[Any]:
        async for request in requests:
            yield reply(text=request.name)

    handlers = {"Put": put, "Watch": watch, "Sum": total, "Echo": echo, "Tidy": put}
    surroundings = Surroundings(
        store=None, tracing=Tracing("s", "s", None), wall_clock=time.time, monotonic=time.monotonic
    )
    by_name = {methods[name].full_name: handler for name, handler in handlers.items()}
    dispatcher = Dispatcher(contract, by_name, surroundings=surroundings, metrics=Metrics())
    server = GrpcServer(dispatcher, host="127.0.0.1", port=0)
    await server.start()
    wire = Wire(server, GrpcTransport(lambda _: f"127.0.0.1:{server.port}"), methods)
    yield wire
    await wire.transport.close()
    await server.stop(0.1)


@asynccontextmanager
async def serving(shelf: Shelf) -> AsyncIterator[GrpcTransport]:
    server = GrpcServer(shelf.dispatcher, host="127.0.0.1", port=0)
    await server.start()
    transport = GrpcTransport(lambda _: f"127.0.0.1:{server.port}")
    try:
        yield transport
    finally:
        await transport.close()
        await server.stop(0.1)


async def test_a_call_carries_its_key_and_headers(wire: Wire) -> None:
    answer = await wire.call("book", headers={"idempotency-key": "k", "traceparent": "t"})
    assert answer.message.text == "book"
    [call] = wire.calls
    assert (call.facts.key, call.facts.headers["traceparent"]) == ("k", "t")


async def test_an_error_crosses_whole(wire: Wire) -> None:
    with pytest.raises(NotFound, match="not there") as raised:
        await wire.call("missing")
    error = raised.value
    assert (error.reason, error.metadata, error.retry_after) == ("NO_BOOK", {"book": "x"}, 1.5)


async def test_a_crash_says_nothing_of_its_insides(wire: Wire) -> None:
    with pytest.raises(Internal) as raised:
        await wire.call("crash")
    assert "secret" not in raised.value.message


async def test_a_degraded_answer_says_why(wire: Wire) -> None:
    assert (await wire.call("half")).degraded == "half"


async def test_the_reason_of_a_degraded_answer_may_be_of_any_script(wire: Wire) -> None:
    assert (await wire.call("halb")).degraded == "100 % der Größe –\nunbekannt"


async def test_a_repeated_key_is_answered_as_replayed(shelf: Shelf) -> None:
    async def put(request: Any, call: Call) -> Any:
        return shelf.reply("done")

    shelf.handle("Put", put)
    async with serving(shelf) as transport:
        request = shelf.request("Put", request_id="k")
        first, again = [await transport.unary(shelf.method("Put"), request, {}, 5) for _ in range(2)]
    assert (first.replayed, again.replayed) == (False, True)


async def test_a_declared_error_that_is_repeated_is_told_as_replayed(shelf: Shelf) -> None:
    async def put(request: Any, call: Call) -> Any:
        raise FailedPrecondition("the shelf is full", reason="SHELF_FULL")

    shelf.handle("Put", put)
    async with serving(shelf) as transport:
        request, told = shelf.request("Put", request_id="k"), []
        for _ in range(2):
            with pytest.raises(FailedPrecondition) as raised:
                await transport.unary(shelf.method("Put"), request, {}, 5)
            told.append((raised.value.reason, raised.value.replayed))
    assert told == [("SHELF_FULL", False), ("SHELF_FULL", True)]


async def test_a_subscription_is_not_served(shelf: Shelf) -> None:
    async with serving(shelf) as transport:
        with pytest.raises(Unimplemented):
            await transport.unary(shelf.method("On"), shelf.request("On", name="book"), {}, 5)


@pytest.mark.parametrize("value", ["ключ", "two\nlines"])
async def test_a_header_that_grpc_cannot_carry_is_refused_by_name(wire: Wire, value: str) -> None:
    with pytest.raises(InvalidArgument, match="idempotency-key: gRPC carries printable ASCII only"):
        await wire.call("book", headers={"idempotency-key": value})


async def test_the_deadline_travels_and_ends_the_handler(wire: Wire) -> None:
    with pytest.raises(DeadlineExceeded):
        await wire.call("wait", timeout=0.1)
    remaining = wire.calls[0].remaining()
    assert remaining is not None
    assert remaining <= 0.1
    async with asyncio.timeout(5):
        await wire.cancelled.wait()


async def test_a_callers_cancellation_reaches_the_handler(wire: Wire) -> None:
    call = asyncio.create_task(wire.call("wait"))
    await wire.entered.wait()
    call.cancel()
    async with asyncio.timeout(5):
        await wire.cancelled.wait()


async def test_streams_in_all_directions(wire: Wire) -> None:
    async def three() -> AsyncIterator[Any]:
        for number in range(3):
            yield wire.request(name=str(number))

    def stream(name: str, given: Any) -> Any:
        return wire.transport.stream(wire.methods[name], given, {}, 5)

    assert [reply.text async for reply in stream("Watch", wire.request())] == ["0", "1", "2"]
    assert [reply.text async for reply in stream("Sum", three())] == ["3"]
    assert [reply.text async for reply in stream("Echo", three())] == ["0", "1", "2"]


async def test_an_error_ends_a_stream_after_what_was_sent(wire: Wire) -> None:
    seen = []
    with pytest.raises(NotFound) as raised:
        async for reply in wire.transport.stream(wire.methods["Watch"], wire.request(name="fails"), {}, 5):
            seen.append(reply.text)  # noqa: PERF401 what was seen before the error
    assert (seen, raised.value.reason) == (["0", "1", "2"], "GONE")


@pytest.mark.parametrize("name", ["Sum", "Echo"])
async def test_what_a_callers_own_stream_raises_comes_back_to_the_caller(wire: Wire, name: str) -> None:
    async def broken() -> AsyncIterator[Any]:
        yield wire.request()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        async for _ in wire.transport.stream(wire.methods[name], broken(), {}, 5):
            pass


async def test_cancelling_a_caller_that_streams_is_a_cancellation(wire: Wire) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[Any]:
        begun.set()
        await asyncio.Event().wait()
        yield wire.request()

    async def total() -> Any:
        return [reply async for reply in wire.transport.stream(wire.methods["Sum"], endless(), {}, None)]

    call = asyncio.create_task(total())
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_crash_in_a_stream_is_told_to_the_log_only(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Internal) as raised:
        async for _ in wire.transport.stream(wire.methods["Watch"], wire.request(name="crash"), {}, 5):
            pass
    assert "secret" not in raised.value.message
    assert "secret" in caplog.text


@pytest.mark.parametrize("taken", [1, 2, 3])
async def test_leaving_a_stream_early_cancels_it_wherever_it_is(
    wire: Wire, caplog: pytest.LogCaptureFixture, taken: int
) -> None:
    replies = wire.transport.stream(wire.methods["Watch"], wire.request(name="wait"), {}, None)
    async with aclosing(replies):  # type: ignore[type-var]
        for number in range(taken):
            assert (await anext(replies)).text == str(number)
    async with asyncio.timeout(5):
        await wire.cancelled.wait()
    await wire.server.stop(1)
    assert not caplog.records


async def test_a_queue_only_method_is_refused_with_a_sentence(wire: Wire) -> None:
    with pytest.raises(Unimplemented, match="can only be started"):
        await wire.transport.unary(wire.methods["Tidy"], wire.request(), {}, 5)


@pytest.mark.parametrize("name", ["Put", "Watch", "Sum", "Echo"])
async def test_bytes_that_are_no_request_are_the_callers_mistake(wire: Wire, name: str) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{wire.server.port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            replies = channel.stream_stream(wire.methods[name].path)(iter([b"\xff\xff\xff"]), timeout=5)
            async for _ in replies:
                pass
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_service_that_is_not_there_is_unavailable(wire: Wire) -> None:
    nowhere = GrpcTransport(lambda _: "127.0.0.1:1")
    with pytest.raises(Unavailable) as raised:
        await nowhere.unary(wire.methods["Put"], wire.request(), {}, 5)
    assert raised.value.reason == "UNREACHABLE"
    await nowhere.close()


async def test_reflection_lists_what_is_served(wire: Wire) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{wire.server.port}") as channel:
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        [listed] = [reply async for reply in stub.ServerReflectionInfo(iter([ask]), timeout=5)]
    assert [service.name for service in listed.list_services_response.service] == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "test.shelf.v1.Shelf",
    ]


async def test_health_follows_the_server(wire: Wire) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{wire.server.port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service="test.shelf.v1.Shelf")
        assert (await health.Check(request, timeout=5)).status == health_pb2.HealthCheckResponse.SERVING
        statuses = health.Watch(request)
        assert (await statuses.read()).status == health_pb2.HealthCheckResponse.SERVING
        stopping = asyncio.create_task(wire.server.stop(5))
        assert (await statuses.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        statuses.cancel()
        await stopping


async def test_a_stop_finishes_what_runs_and_takes_nothing_new(wire: Wire) -> None:
    call = asyncio.create_task(wire.call("wait"))
    await wire.entered.wait()
    stopping = asyncio.create_task(wire.server.stop(5))
    # A call that comes in the very moment of the stop is neither begun nor refused until the grace ends; see drain.
    await closed(wire.server.port)
    with pytest.raises(Unavailable):
        await wire.call("new")
    assert not call.done()
    wire.go_on.set()
    assert (await call).message.text == "wait"
    await stopping


async def closed(port: int) -> None:
    """Wait until nobody listens on a port."""
    async with asyncio.timeout(5):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionError:
                return
            writer.close()


async def test_a_call_that_outlasts_the_grace_is_unavailable_and_not_cancelled(wire: Wire) -> None:
    call = asyncio.create_task(wire.call("wait"))
    await wire.entered.wait()
    await wire.server.stop(0.05)
    with pytest.raises(Unavailable):
        await call
    assert wire.cancelled.is_set()


@asynccontextmanager
async def foreign(put: Any) -> AsyncIterator[GrpcTransport]:
    """A transport to a server that is none of ours, and has one method."""
    server = grpc.aio.server()
    handlers = {"Put": grpc.unary_unary_rpc_method_handler(put)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.shelf.v1.Shelf", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    transport = GrpcTransport(lambda _: f"127.0.0.1:{port}")
    yield transport
    await transport.close()
    await server.stop(0)


async def test_a_call_that_a_stopping_server_drops_is_unavailable_and_not_cancelled(wire: Wire) -> None:
    async def drop(request: bytes, context: Any) -> None:
        await context.abort(grpc.StatusCode.CANCELLED)

    async with foreign(drop) as transport:
        with pytest.raises(Unavailable) as raised:
            await transport.unary(wire.methods["Put"], wire.request(), {}, 5)
    assert raised.value.reason == "INTERRUPTED"


@pytest.mark.parametrize(
    ("pushback", "retry_after"),
    [
        ("700", 0.7),
        ("0", 0.0),
        ("-1", -1),
        ("-700", -1),
        ("soon", -1),
        ("", -1),
        ("0.5", -1),
        ("2147483647", 2147483.647),
        ("2147483648", -1),
        ("99999999999", -1),
    ],
)
async def test_a_foreign_server_says_when_it_wants_the_call_again(
    wire: Wire, pushback: str, retry_after: float
) -> None:
    async def busy(request: bytes, context: Any) -> None:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "busy", (("grpc-retry-pushback-ms", pushback),))

    async with foreign(busy) as transport:
        with pytest.raises(Unavailable) as raised:
            await transport.unary(wire.methods["Put"], wire.request(), {}, 5)
    assert raised.value.retry_after == retry_after


@pytest.mark.parametrize(
    ("name", "pushback"), [("missing", "1500"), ("never again", "-1"), ("called off", None), ("crash", None)]
)
async def test_a_foreign_client_is_told_when_to_call_again(wire: Wire, name: str, pushback: str | None) -> None:
    method = wire.methods["Put"]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{wire.server.port}") as channel:
        call = channel.unary_unary(method.path, method.input.SerializeToString, method.output.FromString)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call(wire.request(name=name), timeout=5)
    told = dict(raised.value.trailing_metadata() or ())
    assert told.get("grpc-retry-pushback-ms") == pushback


async def test_the_wish_never_to_be_called_again_crosses_whole(wire: Wire) -> None:
    with pytest.raises(Unavailable) as raised:
        await wire.call("never again")
    assert raised.value.retry_after == -1


async def test_a_handlers_own_cancelled_stays_what_it_is(wire: Wire) -> None:
    with pytest.raises(Cancelled, match="called off"):
        await wire.call("called off")


async def test_a_taken_port_is_one_sentence(wire: Wire) -> None:
    second = GrpcServer(wire.server._dispatcher, host="127.0.0.1", port=wire.server.port)
    with pytest.raises(ConfigurationError, match=f"Port {wire.server.port} cannot be used .* LANEWAY_GRPC_PORT"):
        await second.start()


async def test_a_client_of_another_loop_is_refused_with_what_to_do(wire: Wire) -> None:
    await wire.call("book")

    def elsewhere() -> None:
        asyncio.run(wire.call("book"))

    with pytest.raises(FailedPrecondition, match="another event loop"):
        await asyncio.to_thread(elsewhere)
