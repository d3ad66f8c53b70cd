"""`make bench-sync`: the synchronous lanes against what they stand in for, on this machine.

A call with its whole policy against bare grpc.aio; the JSON codec against json_format; the transcoded edge against the same
endpoint by hand in FastAPI and Pydantic, both on uvicorn over real sockets; a thousand routes against ten.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import grpc.aio
import uvloop
from google.api.http_pb2 import HttpRule
from google.protobuf import json_format

from laneway.contract.model import Method, method_of
from laneway.errors import LanewayError
from laneway.lanes.rest.codec import JsonCodec
from laneway.lanes.rest.router import Router
from shop.orders.v1 import orders_pb2 as pb
from tests.benchmarks import calls, orders
from tests.benchmarks.figures import Figure, figure, in_turns, tell
from tests.fixtures.valkey import free_port

ROUNDS = 15
REQUESTS = 300
CONNECTIONS = 8
CALL_ROUNDS = 41
CALLS = 500


def codec() -> Iterator[Figure]:
    """Writing and reading an order of 1 KB."""
    ours, order = JsonCodec(), orders.placed(orders.request())
    text = ours.encode(order)
    if ours.decode(text, pb.Order) != order or json.loads(text) != json_format.MessageToDict(order):
        raise AssertionError("the codecs do not agree")
    size = f"an order of {len(text):,} bytes"
    yield in_turns(
        f"JSON codec, {size}, out",
        lambda: ours.encode(order),
        lambda: json_format.MessageToJson(order, indent=None),
        goal=5,
    )
    yield in_turns(
        f"JSON codec, {size}, in",
        lambda: ours.decode(text, pb.Order),
        lambda: json_format.Parse(text, pb.Order()),
        goal=5,
    )


def routes() -> Figure:
    """A request on the last of a thousand routes, against the last of ten."""
    method = method_of(orders.SERVICE.methods_by_name["PlaceOrder"])
    many, few = _router(method, 1_000), _router(method, 10)
    body = JsonCodec().encode(orders.request())

    def ask(router: Router, path: str) -> None:
        match = router.match("POST", path)
        if match is None:
            raise AssertionError(path)
        match.binding.request(match.parts, "", body)

    return in_turns(
        "1,000 routes against 10, a request",
        lambda: ask(many, "/v1/kinds-999/x/orders:place"),
        lambda: ask(few, "/v1/kinds-9/x/orders:place"),
        goal=round(1 / 1.2, 2),
    )


def _router(method: Method, size: int) -> Router:
    rules = (HttpRule(post=f"/v1/kinds-{number}/{{email}}/orders:place", body="*") for number in range(size))
    return Router([replace(method, http=tuple(rules))], JsonCodec())


async def policies() -> list[Figure]:
    """A call with its whole policy, against one without: the time of each by the clock, in turns."""
    with ExitStack() as stack:
        clients: dict[str, calls.Client] = {}
        for kind, client in (("ours", calls.ours), ("peer", calls.peer)):
            port = free_port()
            stack.enter_context(_process(kind, port, module="tests.benchmarks.calls"))
            clients[kind] = client(port)
            await _answering(clients[kind])
        return [await _in_turns(clients, in_flight) for in_flight in (1, 32)]


async def _in_turns(clients: dict[str, calls.Client], in_flight: int) -> Figure:
    costs: dict[str, list[float]] = {kind: [] for kind in clients}
    for round in range(CALL_ROUNDS + 1):
        for kind, client in clients.items():
            cost = await calls.rate(client, in_flight=in_flight, calls=CALLS)
            if round:  # the first warms up
                costs[kind].append(cost)
    work = f"gRPC, a call with its whole policy, {in_flight} in flight"
    return figure(work, costs["ours"], costs["peer"], unit="µs", goal=0.85)


async def _answering(client: calls.Client) -> None:
    """Wait until a server that may still be starting answers."""
    async with asyncio.timeout(60):
        while True:
            try:
                await client()
                return
            except (LanewayError, grpc.aio.AioRpcError):
                await asyncio.sleep(0.05)


async def edges() -> list[Figure]:
    """Placing an order over HTTP: CPU time of the edge's process for each request."""
    behind = free_port()
    with ExitStack() as stack:
        stack.enter_context(_process("service", behind))
        return [
            await _compared(stack, "REST, an order of 1 KB, answered in the edge", []),
            await _compared(stack, "REST, an order of 1 KB, a gRPC service behind", [behind]),
        ]


async def _compared(stack: ExitStack, work: str, behind: list[int]) -> Figure:
    ports = {kind: free_port() for kind in ("edge", "peer")}
    for kind, port in ports.items():
        stack.enter_context(_process(kind, port, *behind))
    answers = [json.loads(await _first(port)) for port in ports.values()]
    if answers[0] != answers[1]:
        raise AssertionError(f"the endpoints differ: {answers}")
    costs: dict[str, list[float]] = {kind: [] for kind in ports}
    for round in range(ROUNDS + 1):
        for kind, port in ports.items():
            cost = await _cost(port)
            if round:  # the first warms up
                costs[kind].append(cost)
    return figure(work, costs["edge"], costs["peer"], unit="µs", goal=1)


async def _cost(port: int) -> float:
    begin = await _used(port)
    await asyncio.gather(*(_customer(port, REQUESTS // CONNECTIONS) for _ in range(CONNECTIONS)))
    return (await _used(port) - begin) / (REQUESTS // CONNECTIONS * CONNECTIONS) * 1e6


async def _customer(port: int, requests: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(requests):
        await _ask(reader, writer, POST)
    writer.close()


async def _used(port: int) -> float:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    text = await _ask(reader, writer, b"GET /cpu HTTP/1.1\r\nHost: edge\r\n\r\n")
    writer.close()
    return float(text)


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise AssertionError(head.decode())
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return await reader.readexactly(int(length.partition(b":")[2]))


async def _first(port: int) -> bytes:
    """The first answer of a server, which may still be starting."""
    async with asyncio.timeout(60):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            answer = await _ask(reader, writer, POST)
            writer.close()
            return answer


@contextmanager
def _process(*arguments: Any, module: str = "tests.benchmarks.orders") -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-m", module, *map(str, arguments)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _post() -> bytes:
    request = orders.request()
    body = JsonCodec().encode(request)
    return (
        b"POST /v1/orders HTTP/1.1\r\nHost: edge\r\nContent-Type: application/json\r\nIdempotency-Key: %s\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (request.request_id.encode(), len(body), body)
    )


POST = _post()


def main() -> None:
    """Measure, print the table, keep the figures."""
    tell("sync", [*uvloop.run(policies()), *codec(), *uvloop.run(edges()), routes()])


if __name__ == "__main__":
    main()
