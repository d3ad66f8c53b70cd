"""Servers of one call, placing an order of 1 KB: our edge, the same written by hand in FastAPI and Pydantic, and the
service behind both.

    python -m tests.benchmarks.orders edge|peer PORT [PORT OF THE SERVICE]
    python -m tests.benchmarks.orders service PORT

Without a service behind it an edge answers by itself, in the same process.
"""

import sys
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc.aio
import uvicorn
import uvloop
from fastapi import APIRouter, FastAPI, Header
from google.protobuf.message import Message
from pydantic import BaseModel

from laneway.contract.model import Contract, Method
from laneway.lanes.grpc.channel import GrpcTransport
from laneway.lanes.outgoing import Lanes
from laneway.lanes.rest.app import rest_app
from laneway.lanes.rest.options import EdgeOptions
from laneway.lanes.rest.protocol import guarded
from laneway.lanes.transport import Answer, Transport
from laneway.resilience.pipeline import Pipelines
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from shop.orders.v1 import orders_pb2 as pb

LINES = 13
SERVICE = pb.DESCRIPTOR.services_by_name["Orders"]
PLACE = f"/{SERVICE.full_name}/PlaceOrder"

cpu = APIRouter()


@cpu.get("/cpu")
async def used() -> float:
    """Seconds of CPU time that this process has used."""
    return time.process_time()


def request() -> pb.PlaceOrderRequest:
    """A request of about 1 KB."""
    line = pb.WantedLine(product="products/the-hitchhikers-guide-to", quantity=2)
    return pb.PlaceOrderRequest(
        request_id="8b0e6b0e-2f2b-4c0e-9c55-1d2f1b1b1b1b", lines=[line] * LINES, email="arthur@example.org",
        card_token="visa",
    )  # fmt: skip


def placed(asked: pb.PlaceOrderRequest) -> pb.Order:
    """The answer: an order of about 1 KB."""
    lines = [{"product": line.product, "quantity": line.quantity, "price_minor": 1999} for line in asked.lines]
    return pb.Order(
        name="orders/8b0e6b0e", state=pb.Order.PLACED, lines=lines, total_minor=1999 * len(lines), currency="EUR",
        email=asked.email,
    )  # fmt: skip


# Ours


class Here:
    """The service in the edge's own process."""

    async def unary(
        self, method: Method, request: Message, headers: Mapping[str, str], timeout: float | None
    ) -> Answer:
        return Answer(message=placed(request))  # type: ignore[arg-type]

    def stream(self, *_: Any) -> AsyncIterator[Message]:
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing to close."""


def edge(behind: str | None) -> FastAPI:
    """Our edge, with everything that it has in a deployment: policy, tracing, metrics."""
    transport: Transport = Here() if behind is None else GrpcTransport(lambda _: f"127.0.0.1:{behind}")
    tracing, metrics = Tracing("edge", "edge-1", None), Metrics()
    lanes = Lanes(transport, pipelines=Pipelines(), tracing=tracing, metrics=metrics)
    methods = [method for method in Contract.of([SERVICE]) if method.http]
    return rest_app(lanes, methods, [cpu], tracing=tracing, metrics=metrics)


# The peer: what a good hand writes, with no policy, no tracing and no metrics


class Wanted(BaseModel):
    product: str
    quantity: int


class Place(BaseModel):
    requestId: str | None = None  # noqa: N815 as in JSON
    lines: list[Wanted] = []
    email: str | None = None
    cardToken: str | None = None  # noqa: N815 as in JSON


class Line(BaseModel):
    product: str
    quantity: int
    priceMinor: str  # noqa: N815 as in JSON


class Order(BaseModel):
    name: str
    state: str
    lines: list[Line]
    totalMinor: str  # noqa: N815 as in JSON
    currency: str
    email: str | None


def peer(behind: str | None) -> FastAPI:
    """The same endpoint by hand."""
    app = FastAPI()
    app.include_router(cpu)
    calls: dict[str, Any] = {}

    @app.post("/v1/orders")
    async def place(asked: Place, idempotency_key: str | None = Header(default=None)) -> Order:
        if behind is None:
            return _by_hand(asked)
        if not calls:
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{behind}")
            calls["place"] = channel.unary_unary(PLACE, pb.PlaceOrderRequest.SerializeToString, pb.Order.FromString)
        lines = [pb.WantedLine(product=line.product, quantity=line.quantity) for line in asked.lines]
        message = pb.PlaceOrderRequest(request_id=idempotency_key, lines=lines, email=asked.email)
        return _of_message(await calls["place"](message, timeout=3))

    return app


def _by_hand(asked: Place) -> Order:
    lines = [Line(product=line.product, quantity=line.quantity, priceMinor="1999") for line in asked.lines]
    total = str(1999 * len(lines))
    return Order(
        name="orders/8b0e6b0e", state="PLACED", lines=lines, totalMinor=total, currency="EUR", email=asked.email
    )


def _of_message(order: pb.Order) -> Order:
    lines = [
        Line(product=line.product, quantity=line.quantity, priceMinor=str(line.price_minor)) for line in order.lines
    ]
    return Order(
        name=order.name, state=pb.Order.State.Name(order.state), lines=lines, totalMinor=str(order.total_minor),
        currency=order.currency, email=order.email,
    )  # fmt: skip


# Processes


async def serve(app: FastAPI, port: int, protocol: Any) -> None:
    """Serve on uvicorn, as both are."""
    await uvicorn.Server(
        uvicorn.Config(app, port=port, http=protocol, log_config=None, access_log=False, lifespan="off", loop="uvloop")
    ).serve()


async def service(port: int) -> None:
    """The service behind an edge, on bare grpc.aio."""

    async def place(asked: pb.PlaceOrderRequest, _: Any) -> pb.Order:
        return placed(asked)

    handler = grpc.unary_unary_rpc_method_handler(place, pb.PlaceOrderRequest.FromString, pb.Order.SerializeToString)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE.full_name, {"PlaceOrder": handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


async def main() -> None:
    """Run one of them until it is killed."""
    kind, port, *more = sys.argv[1:]
    behind = more[0] if more else None
    if kind == "service":
        await service(int(port))
    elif kind == "edge":
        await serve(edge(behind), int(port), guarded(EdgeOptions()))
    else:
        await serve(peer(behind), int(port), "httptools")


if __name__ == "__main__":
    uvloop.run(main())
