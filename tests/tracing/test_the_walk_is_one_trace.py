"""One order is one trace, over every lane; nothing is orphaned."""

from collections.abc import AsyncIterator

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from laneway.client import Lanes
from laneway.service import Service
from laneway.testing import World, serve
from shop.orders.v1.orders_laneway import OrdersClient
from shop.orders.v1.orders_pb2 import PlaceOrderRequest, WantedLine
from shop_catalog.service import service as catalog
from shop_fulfilment.service import service as fulfilment
from shop_inventory.service import service as inventory
from shop_orders.service import service as orders
from shop_payments.provider import Ledger, provider_app
from shop_payments.provider_client import Provider
from shop_payments.service import Payments
from shop_payments.service import service as payments_service


@pytest.fixture
async def world() -> AsyncIterator[World]:
    def payments(lanes: Lanes) -> Service:
        provider = Provider(httpx.ASGITransport(provider_app(Ledger())))
        return Service("payments", Payments(provider), migrations=payments_service(lanes).migrations)

    async with serve(orders, catalog, inventory, payments, fulfilment) as world:
        yield world


@pytest.fixture
async def walk(world: World) -> list[ReadableSpan]:
    """The spans of one order, from the call to the capture."""
    world.spans.clear()
    line = WantedLine(product="products/lamp", quantity=1)
    await OrdersClient(world.lanes).place_order(PlaceOrderRequest(lines=[line], email="a@b.example", card_token="visa"))
    await world.settle()
    return list(world.spans.get_finished_spans())


def service(span: ReadableSpan) -> str:
    return str(span.resource.attributes["service.name"])


async def test_all_spans_are_of_one_trace(walk: list[ReadableSpan]) -> None:
    assert len({span.context.trace_id for span in walk}) == 1
    assert {"orders", "catalog", "inventory", "fulfilment", "payments"} <= {service(span) for span in walk}


async def test_every_parent_is_there(walk: list[ReadableSpan]) -> None:
    known = {span.context.span_id for span in walk}
    orphans = [span.name for span in walk if span.parent is not None and span.parent.span_id not in known]
    assert orphans == []
    assert len([span for span in walk if span.parent is None]) == 1


async def test_a_parent_begins_before_its_child(walk: list[ReadableSpan]) -> None:
    begin = {span.context.span_id: span.start_time for span in walk}
    assert all(begin[span.parent.span_id] <= span.start_time for span in walk if span.parent is not None)


EDGES = [
    ("orders", SpanKind.SERVER, "shop.orders.v1.Orders/PlaceOrder", "grpc"),
    ("inventory", SpanKind.SERVER, "shop.inventory.v1.Inventory/CheckStock", "grpc"),
    ("orders", SpanKind.PRODUCER, "publish fulfilment.saga", "event"),
    ("fulfilment", SpanKind.CONSUMER, "process fulfilment.saga", "event"),
    ("payments", SpanKind.CONSUMER, "process payments.provider", "queue"),
    ("payments", SpanKind.CLIENT, "POST authorizations", "http"),
    ("fulfilment", SpanKind.CONSUMER, "process fulfilment.bulk", "queue"),
    ("orders", SpanKind.CONSUMER, "process orders.events", "event"),
]


@pytest.mark.parametrize(("where", "kind", "name", "lane"), EDGES)
async def test_each_hop_has_its_span(
    walk: list[ReadableSpan], where: str, kind: SpanKind, name: str, lane: str
) -> None:
    assert any(
        (service(span), span.kind, span.name, (span.attributes or {})["laneway.lane"]) == (where, kind, name, lane)
        for span in walk
    )


async def test_a_failing_call_is_marked_and_tells_no_secrets(world: World) -> None:
    world.spans.clear()
    with pytest.raises(Exception, match="`lines`: "):
        await OrdersClient(world.lanes).place_order(PlaceOrderRequest(email="a@b.example", card_token="4111-secret"))
    spans = world.spans.get_finished_spans()
    [server] = [span for span in spans if span.kind is SpanKind.SERVER]
    assert not server.status.is_ok
    assert (server.attributes or {})["error.type"] == "InvalidArgument"
    assert "4111-secret" not in str([span.to_json() for span in spans])
