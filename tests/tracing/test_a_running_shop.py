"""One order through the shop as processes: its trace, whose id the caller chose, is whole in the collector."""

import time
import uuid

import grpc

from laneway.cli.traces import fetch_trace
from laneway.errors import NotFound
from shop.orders.v1.orders_pb2 import Order, PlaceOrderRequest, WantedLine
from tests.fixtures.shop import RunningShop
from tests.tracing.language import Trace
from tests.tracing.walk import chosen, missing

PATIENCE = 60.0


def seen(shop: RunningShop, trace_id: str) -> list[str]:
    try:
        return missing(Trace(fetch_trace(trace_id, shop.data)))
    except NotFound as error:
        return [error.message]


def test_an_order_is_one_trace_over_every_lane_and_process(shop: RunningShop) -> None:
    trace_id, traceparent = chosen()
    request = PlaceOrderRequest(
        request_id=str(uuid.uuid4()), lines=[WantedLine(product="products/lamp", quantity=1)],
        email="ada@example.org", card_token="visa",
    )  # fmt: skip
    with grpc.insecure_channel(f"127.0.0.1:{shop.state['processes']['orders']['port']}") as channel:
        place = channel.unary_unary(
            "/shop.orders.v1.Orders/PlaceOrder", PlaceOrderRequest.SerializeToString, Order.FromString
        )
        place(request, timeout=10, metadata=(("traceparent", traceparent),))
    deadline = time.monotonic() + PATIENCE
    while absent := seen(shop, trace_id):
        assert time.monotonic() < deadline, "\n".join(absent)
        time.sleep(0.2)
