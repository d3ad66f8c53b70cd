"""Calls over gRPC with everything that a policy is (deadline, breaker, retry, limit, tracing, metrics, validation), against
bare grpc.aio: the same request of a contract with rules, the same answer of 1 KB.

    python -m tests.benchmarks.calls ours|peer PORT

is one of the servers; the clients run in the process that measures.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import uvloop

from laneway.call import Call, Surroundings
from laneway.contract.model import Contract, Method
from laneway.lanes.dispatch import Dispatcher
from laneway.lanes.grpc.channel import GrpcTransport
from laneway.lanes.grpc.server import GrpcServer
from laneway.lanes.outgoing import Lanes
from laneway.resilience.pipeline import Pipelines
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from shop.orders.v1 import orders_pb2 as pb
from tests.benchmarks import orders

GET = "shop.orders.v1.Orders.GetOrder"
ANSWER = orders.placed(orders.request())
REQUEST = pb.GetOrderRequest(name="orders/8b0e6b0e")

Client = Callable[[], Awaitable[Any]]


def method() -> Method:
    """The method that is called."""
    return Contract.of([orders.SERVICE]).methods[GET]


def ours(port: int) -> Client:
    """A call as a service makes it."""
    called = method()
    tracing, metrics = Tracing("caller", "caller-1", None), Metrics()
    lanes = Lanes(GrpcTransport(lambda _: f"127.0.0.1:{port}"), pipelines=Pipelines(), tracing=tracing, metrics=metrics)
    if called.rules is None or not called.repeatable:
        raise AssertionError("the method has to have rules, and to be one that is tried again")
    return lambda: lanes.call(called, REQUEST)


def peer(port: int) -> Client:
    """A call as grpc.aio makes it, with a deadline."""
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    call = channel.unary_unary(method().path, pb.GetOrderRequest.SerializeToString, pb.Order.FromString)
    return lambda: call(REQUEST, timeout=3)


async def rate(client: Client, *, in_flight: int, calls: int) -> float:
    """Microseconds a call, by the clock, with so many in flight."""
    left = iter(range(calls))

    async def customer() -> None:
        for _ in left:
            await client()

    begin = time.perf_counter()
    await asyncio.gather(*(customer() for _ in range(in_flight)))
    return (time.perf_counter() - begin) / calls * 1e6


# Servers


async def serve_ours(port: int) -> None:
    """A service of one handler, with all that a deployment has but a database."""

    async def get_order(request: pb.GetOrderRequest, call: Call) -> pb.Order:
        return ANSWER

    contract = Contract({GET: method()})
    tracing = Tracing("orders", "orders-1", None)
    surroundings = Surroundings(store=None, tracing=tracing, wall_clock=time.time, monotonic=time.monotonic)
    dispatcher = Dispatcher(contract, {GET: get_order}, surroundings=surroundings, metrics=Metrics())
    await GrpcServer(dispatcher, host="127.0.0.1", port=port).start()
    await asyncio.Event().wait()


async def serve_peer(port: int) -> None:
    """The same answer, on bare grpc.aio."""

    async def get_order(request: pb.GetOrderRequest, _: Any) -> pb.Order:
        return ANSWER

    handler = grpc.unary_unary_rpc_method_handler(get_order, pb.GetOrderRequest.FromString, pb.Order.SerializeToString)
    server = grpc.aio.server()
    handlers = {"GetOrder": handler}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(orders.SERVICE.full_name, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    kind, number = sys.argv[1:]
    uvloop.run((serve_ours if kind == "ours" else serve_peer)(int(number)))
