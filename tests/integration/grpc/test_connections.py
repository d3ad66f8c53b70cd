"""gRPC connections: balanced, watched, aged and drained without a failed call, within their limits."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from laneway.call import Call, Surroundings
from laneway.contract.model import Contract, Method
from laneway.errors import ConfigurationError, FailedPrecondition, InvalidArgument, Unavailable
from laneway.lanes.dispatch import Dispatcher
from laneway.lanes.grpc.channel import GrpcTransport
from laneway.lanes.grpc.connections import Connections
from laneway.lanes.grpc.options import Compression, GrpcOptions
from laneway.lanes.grpc.server import GrpcServer
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from tests.fixtures.names import Names, name_server
from tests.fixtures.protos import service_of
from tests.fixtures.proxy import proxy

BODY = """
service Shelf {
  rpc Put(Request) returns (Reply);
  rpc Watch(Request) returns (stream Reply);
}
"""
LARGE = 100_000


@dataclass
class Replica:
    """One server, and how many calls it has had."""

    server: GrpcServer
    calls: int = 0


@dataclass
class Replicas:
    """Servers of one service, started by the test."""

    contract: Contract
    stack: AsyncExitStack
    running: list[Replica] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    def method(self, name: str) -> Method:
        return self.contract.methods[f"test.shelf.v1.Shelf.{name}"]

    async def start(self, options: GrpcOptions | None = None, *, host: str = "127.0.0.1", port: int = 0) -> Replica:
        reply = self.method("Put").output

        async def put(request: Any, call: Call) -> Any:
            replica.calls += 1
            if request.name == "slow":
                await self.go_on.wait()
            return reply(text="x" * LARGE if request.name == "large" else "done")

        async def watch(request: Any, call: Call) -> AsyncIterator[Any]:
            yield reply(text="first")
            await self.go_on.wait()
            yield reply(text="last")

        surroundings = Surroundings(
            store=None, tracing=Tracing("s", "s", None), wall_clock=time.time, monotonic=time.monotonic
        )
        handlers: dict[str, Callable[..., Any]] = {"Put": put, "Watch": watch}
        by_name = {self.method(name).full_name: handler for name, handler in handlers.items()}
        dispatcher = Dispatcher(self.contract, by_name, surroundings=surroundings, metrics=Metrics())
        replica = Replica(GrpcServer(dispatcher, host=host, port=port, options=options))
        await replica.server.start()
        self.stack.push_async_callback(replica.server.stop, 0.1)
        self.running.append(replica)
        return replica

    def client(
        self, options: GrpcOptions | None = None, *, port: int | None = None, names: Names | None = None
    ) -> GrpcTransport:
        ports = [replica.server.port for replica in self.running] if port is None else [port]
        target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
        if names is not None:
            target = f"dns://127.0.0.1:{names.port}/shelf.test:{port}"
        transport = GrpcTransport(lambda _: target, options)
        self.stack.push_async_callback(transport.close)
        return transport

    async def put(self, client: GrpcTransport, name: str = "book", timeout: float = 5) -> str:
        answer = await client.unary(self.method("Put"), self.method("Put").input(name=name), {}, timeout)
        text: str = answer.message.text  # type: ignore[attr-defined]
        return text


@pytest.fixture
async def replicas(tmp_path: Path) -> AsyncIterator[Replicas]:
    async with AsyncExitStack() as stack:
        yield Replicas(Contract.of([service_of(tmp_path, BODY)]), stack)


@asynccontextmanager
async def customers(replicas: Replicas, client: GrpcTransport, number: int = 8) -> AsyncIterator[Counter[str]]:
    """Customers that call one after the other until the block ends; how their calls ended. Nothing is tried again."""
    ended: Counter[str] = Counter()
    leaving = asyncio.Event()

    async def customer() -> None:
        while not leaving.is_set():
            try:
                ended[await replicas.put(client)] += 1
            except Unavailable as error:
                ended[error.message] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(number):
            group.create_task(customer())
        try:
            yield ended
        finally:
            leaving.set()


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not fact():
            await asyncio.sleep(0.01)


async def test_calls_are_spread_over_the_replicas(replicas: Replicas) -> None:
    one, two = await replicas.start(), await replicas.start()
    client = replicas.client()
    await replicas.put(client)
    while not (one.calls and two.calls):  # both connections stand
        await replicas.put(client)
    before = one.calls, two.calls
    for _ in range(20):
        await replicas.put(client)
    assert (one.calls - before[0], two.calls - before[1]) == (10, 10)


async def test_a_replica_that_drains_fails_no_call(replicas: Replicas) -> None:
    options = GrpcOptions(connection_age_seconds=0.2)
    async with name_server("127.0.0.2") as names:
        leaving = await replicas.start(options, host="127.0.0.2")
        port = leaving.server.port
        async with customers(replicas, replicas.client(names=names, port=port)) as ended:
            await until(lambda: leaving.calls > 50)
            coming = await replicas.start(options, host="127.0.0.3", port=port)
            names.addresses = ["127.0.0.3"]  # as a rolling update does it: ready, then the other is told to stop
            await leaving.server.stop(5, drain=1)
            had = coming.calls
            await until(lambda: coming.calls > had + 50)
    assert set(ended) == {"done"}


async def test_a_connection_that_comes_of_age_fails_no_call(replicas: Replicas) -> None:
    options = GrpcOptions(connection_age_seconds=0.1)
    one, two = await replicas.start(options), await replicas.start(options)
    async with customers(replicas, replicas.client()) as ended:
        begin = time.monotonic()
        await until(lambda: time.monotonic() - begin > 1.5 and one.calls > 100 and two.calls > 100)
    assert set(ended) == {"done"}


async def test_a_stream_that_is_idle_outlives_many_pings(replicas: Replicas) -> None:
    often = GrpcOptions(keepalive_seconds=0.05, keepalive_timeout_seconds=5)
    await replicas.start(often)
    client = replicas.client(often)
    method = replicas.method("Watch")
    async with aclosing(client.stream(method, method.input(), {}, None)) as replies:  # type: ignore[type-var]
        assert (await anext(replies)).text == "first"
        pings = "laneway_grpc_connections_keep_alives_sent"
        await until(lambda: sum(told("client", pings).values()) > 5)
        replicas.go_on.set()
        assert (await anext(replies)).text == "last"


async def test_a_far_end_that_is_gone_without_a_word_is_found_out(replicas: Replicas) -> None:
    replica = await replicas.start()
    async with proxy(replica.server.port) as between:
        options = GrpcOptions(keepalive_seconds=0.1, keepalive_timeout_seconds=0.1)
        client = replicas.client(options, port=between.port)
        await replicas.put(client)
        between.black_hole()
        with pytest.raises(Unavailable):
            await replicas.put(client, timeout=30)


async def test_metrics_tell_of_each_connection(replicas: Replicas) -> None:
    one, two = await replicas.start(), await replicas.start()
    client = replicas.client()
    while not (one.calls and two.calls):
        await replicas.put(client)
    started = told("client", "laneway_grpc_connections_streams_started")
    for replica in (one, two):
        assert started[f"127.0.0.1:{replica.server.port}"] == replica.calls
    assert told("server", "laneway_grpc_connections_open")["127.0.0.1"] >= 2
    await client.close()
    await until(lambda: not told("client", "laneway_grpc_connections_open"))


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.DEFLATE])
async def test_messages_are_compressed_where_a_service_says_so(replicas: Replicas, compression: Compression) -> None:
    replica = await replicas.start()
    sizes = []
    for options in (GrpcOptions(), GrpcOptions(compression=compression)):
        async with proxy(replica.server.port) as between:
            client = replicas.client(options, port=between.port)
            await replicas.put(client, "a" * LARGE)
            sizes.append(between.sent)
            await client.close()
    assert sizes[0] > LARGE > 20 * sizes[1]


async def test_a_message_that_is_too_large_is_the_callers_mistake_and_not_tried_again(replicas: Replicas) -> None:
    await replicas.start(GrpcOptions(message_bytes=LARGE // 2))
    client = replicas.client()
    for name in ("a" * LARGE, "large"):  # what is sent, and what is answered
        with pytest.raises(InvalidArgument, match=r"GrpcOptions\.message_bytes") as raised:
            await replicas.put(client, name)
        assert (raised.value.reason, raised.value.transient) == ("MESSAGE_TOO_LARGE", False)


async def test_a_service_is_ready_whatever_becomes_of_those_it_calls(replicas: Replicas) -> None:
    """What it says of itself is about itself: no probe asks a far end."""
    replica = await replicas.start()
    nowhere = replicas.client(port=1)
    with pytest.raises(Unavailable):
        await replicas.put(nowhere)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{replica.server.port}") as channel:
        for service in ("", "test.shelf.v1.Shelf", "liveness"):
            asked = health_pb2.HealthCheckRequest(service=service)
            answer = await health_pb2_grpc.HealthStub(channel).Check(asked, timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_a_client_that_is_made_at_import_time_is_refused_with_what_to_do() -> None:
    with pytest.raises(FailedPrecondition, match="not at import time") as raised:
        GrpcTransport(lambda _: "127.0.0.1:1")
    assert raised.value.reason == "NO_EVENT_LOOP"


@pytest.mark.parametrize("name", ["message_bytes", "keepalive_seconds", "connection_age_seconds"])
def test_an_option_that_cannot_be_is_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"GrpcOptions.{name} is above zero"):
        GrpcOptions(**{name: 0})


def told(side: str, metric: str) -> dict[str, float]:
    """A metric of this process's connections, by far end."""
    samples = [sample for family in Connections().collect() for sample in family.samples if sample.name == metric]
    return {sample.labels["peer"]: sample.value for sample in samples if sample.labels["side"] == side}
