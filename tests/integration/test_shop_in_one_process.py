"""The whole shop on `laneway.testing`: real handlers and contracts, no server, no waiting."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from laneway.client import Lanes
from laneway.errors import Aborted, AlreadyExists, Cancelled, FailedPrecondition, InvalidArgument, NotFound, Unavailable
from laneway.history.sagas import open_sagas
from laneway.lanes.everywhere import REGISTER, RESUME, START
from laneway.service import Service
from laneway.store import events
from laneway.testing import World, serve
from laneway.v1 import saga_pb2, system_pb2
from shop.catalog.v1.catalog_laneway import CatalogClient
from shop.catalog.v1.catalog_pb2 import (
    CreateProductRequest,
    DeleteProductRequest,
    GetProductRequest,
    ListProductsRequest,
    Product,
    UpdateProductRequest,
)
from shop.inventory.v1.inventory_laneway import InventoryClient
from shop.inventory.v1.inventory_pb2 import AdjustStockRequest, CheckStockRequest, Line
from shop.orders.v1.orders_laneway import OrdersClient
from shop.orders.v1.orders_pb2 import (
    CancelOrderRequest,
    GetOrderHistoryRequest,
    GetOrderRequest,
    ListBestsellersRequest,
    ListOrdersRequest,
    Order,
    PlaceOrderRequest,
    WantedLine,
    WatchOrderRequest,
)
from shop.payments.v1.payments_laneway import PaymentsClient
from shop.payments.v1.payments_pb2 import CaptureRequest
from shop_catalog.service import service as catalog
from shop_fulfilment.domain import PAYMENT_PATIENCE
from shop_fulfilment.service import FulfilmentHandlers
from shop_fulfilment.service import service as fulfilment
from shop_inventory.service import service as inventory
from shop_orders.service import service as orders
from shop_payments.provider import Ledger, provider_app
from shop_payments.provider_client import Provider
from shop_payments.service import Payments
from shop_payments.service import service as payments_service

State = Order.State
PLENTY = 1_000_000


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
async def world(ledger: Ledger) -> AsyncIterator[World]:
    def payments(lanes: Lanes) -> Service:
        provider = Provider(httpx.ASGITransport(provider_app(ledger)))
        return Service("payments", Payments(provider), migrations=payments_service(lanes).migrations)

    async with serve(orders, catalog, inventory, payments, fulfilment) as world:
        yield world


def wanted(card: str = "visa", quantity: int = 2, **more: Any) -> PlaceOrderRequest:
    line = WantedLine(product="products/lamp", quantity=quantity)
    return PlaceOrderRequest(lines=[line], email="ada@example.org", card_token=card, **more)


async def available(world: World, product: str = "products/lamp") -> int:
    level = await InventoryClient(world.lanes).adjust_stock(AdjustStockRequest(product=product, change=0))
    return level.available


async def test_an_order_walks_to_its_shipment(world: World, ledger: Ledger) -> None:
    client = OrdersClient(world.lanes)
    placed = await client.place_order(wanted())
    assert (placed.state, placed.total_minor) == (State.PLACED, 9800)
    await world.settle()
    assert (await client.get_order(GetOrderRequest(name=placed.name))).state == State.SHIPPED
    [payment] = ledger.authorizations.values()
    assert (payment["captured"], payment["refunded"]) == (9800, 0)
    assert await available(world) == PLENTY - 2


async def test_the_same_order_twice_is_one_order(world: World, ledger: Ledger) -> None:
    client = OrdersClient(world.lanes)
    first, again = [await client.place_order(wanted(request_id="one")) for _ in range(2)]
    assert first == again
    await world.settle()
    assert len(ledger.authorizations) == 1
    assert len((await client.list_orders(ListOrdersRequest())).orders) == 1


@pytest.mark.parametrize("token", ["99999999999999999999", "²", "٣", "-1", "next"])
async def test_a_page_token_that_no_list_gave_is_named(world: World, token: str) -> None:
    with pytest.raises(InvalidArgument, match="`page_token`: does not match"):
        await OrdersClient(world.lanes).list_orders(ListOrdersRequest(page_token=token))


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"lines": []}, "lines"),
        ({"lines": [WantedLine(product="products/lamp")]}, "lines[0].quantity"),
        ({"lines": [WantedLine(product="lamp", quantity=1)]}, "lines[0].product"),
        ({"email": "nobody"}, "email"),
    ],
)
async def test_what_is_no_order_is_refused(world: World, fields: dict[str, Any], wrong: str) -> None:
    order = {"lines": [WantedLine(product="products/lamp", quantity=1)], "email": "ada@example.org"} | fields
    with pytest.raises(InvalidArgument) as raised:
        await OrdersClient(world.lanes).place_order(PlaceOrderRequest(**order))
    assert [violation.field for violation in raised.value.violations] == [wrong]


async def test_pages_of_orders_follow_each_other(world: World) -> None:
    client = OrdersClient(world.lanes)
    placed = {(await client.place_order(wanted(request_id=str(number)))).name for number in range(3)}
    first = await client.list_orders(ListOrdersRequest(page_size=2))
    second = await client.list_orders(ListOrdersRequest(page_size=2, page_token=first.next_page_token))
    assert {order.name for page in (first, second) for order in page.orders} == placed
    assert (len(first.orders), second.next_page_token) == (2, "")


async def test_a_declined_card_rejects_the_order_and_puts_the_stock_back(world: World) -> None:
    client = OrdersClient(world.lanes)
    placed = await client.place_order(wanted(card="declined"))
    await world.settle()
    order = await client.get_order(GetOrderRequest(name=placed.name))
    assert (order.state, order.reason) == (State.REJECTED, "The card was declined.")
    assert await available(world) == PLENTY


async def test_a_provider_that_is_down_delays_an_order_and_loses_nothing(world: World, ledger: Ledger) -> None:
    client = OrdersClient(world.lanes)
    ledger.mode = "down"
    placed = await client.place_order(wanted())
    await world.settle()
    assert (await client.get_order(GetOrderRequest(name=placed.name))).state == State.PLACED
    ledger.mode = "ok"
    world.clock.advance(60)
    await world.settle()
    assert (await client.get_order(GetOrderRequest(name=placed.name))).state == State.SHIPPED


async def test_what_has_shipped_is_captured_when_the_provider_is_back_after_an_hour(
    world: World, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "answer", _down_for_captures(ledger))
    client = OrdersClient(world.lanes)
    placed = await client.place_order(wanted())
    await world.settle()
    assert (await client.get_order(GetOrderRequest(name=placed.name))).state == State.SHIPPED
    for _ in range(60):
        world.clock.advance(60)  # the longest pause between two attempts
        await world.settle()
    assert [entry["captured"] for entry in ledger.authorizations.values()] == [0]
    monkeypatch.undo()
    world.clock.advance(60)
    await world.settle()
    assert [entry["captured"] for entry in ledger.authorizations.values()] == [9800]


def _down_for_captures(ledger: Ledger) -> Callable[..., Any]:
    answer = ledger.answer

    def act(key: str, id: str | None, action: str | None, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return (503, {"error": "down"}) if action == "capture" else answer(key, id, action, body)

    return act


async def test_a_payment_that_never_answers_ends_the_wait_and_a_late_one_is_given_back(
    world: World, ledger: Ledger
) -> None:
    client = OrdersClient(world.lanes)
    world.stop("payments")
    placed = await client.place_order(wanted())
    await world.settle()
    world.clock.advance(PAYMENT_PATIENCE + 1)
    await world.settle()
    assert (await client.get_order(GetOrderRequest(name=placed.name))).state == State.REJECTED
    assert await available(world) == PLENTY
    world.resume("payments")
    world.clock.advance(60)
    await world.settle()
    assert all(entry["captured"] == entry["refunded"] for entry in ledger.authorizations.values())
    assert not any(entry["open"] for entry in ledger.authorizations.values())


async def test_without_inventory_an_order_is_accepted_degraded(world: World) -> None:
    client = OrdersClient(world.lanes)
    world.stop("inventory")
    answer = await world.lanes.call(client.place_order.method, wanted())
    assert answer.degraded == "inventory: unavailable"
    world.resume("inventory")
    world.clock.advance(60)
    await world.settle()
    name = answer.message.name
    assert (await client.get_order(GetOrderRequest(name=name))).state == State.SHIPPED


async def test_without_catalog_what_was_ordered_a_moment_ago_has_the_price_that_it_had(world: World) -> None:
    client = OrdersClient(world.lanes)
    await client.place_order(wanted())
    world.stop("catalog")
    world.clock.advance(200)
    answer = await world.lanes.call(client.place_order.method, wanted())
    assert answer.degraded == "catalog: last good answer, 200 s old"
    world.clock.advance(200)
    with pytest.raises(Unavailable):
        await client.place_order(wanted())


async def test_what_is_not_in_stock_is_refused_at_the_door(world: World) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        await OrdersClient(world.lanes).place_order(wanted(quantity=PLENTY + 1))
    assert refused.value.reason == "NOT_AVAILABLE"


async def test_a_cancelled_order_is_compensated(world: World, ledger: Ledger) -> None:
    client = OrdersClient(world.lanes)
    placed = await client.place_order(wanted())
    await client.cancel_order(CancelOrderRequest(name=placed.name))
    await world.settle()
    assert (await client.get_order(GetOrderRequest(name=placed.name))).state == State.CANCELLED
    assert await available(world) == PLENTY
    assert all(entry["captured"] == entry["refunded"] for entry in ledger.authorizations.values())


async def test_a_shipped_order_cannot_be_cancelled(world: World) -> None:
    client = OrdersClient(world.lanes)
    placed = await client.place_order(wanted())
    await world.settle()
    with pytest.raises(FailedPrecondition, match="only a placed order"):
        await client.cancel_order(CancelOrderRequest(name=placed.name))


async def test_the_history_is_the_audit_trail(world: World) -> None:
    client = OrdersClient(world.lanes)
    placed = await client.place_order(wanted())
    await world.settle()
    history = await client.get_order_history(GetOrderHistoryRequest(name=placed.name))
    assert [(entry.event, entry.state) for entry in history.entries] == [
        ("OrderPlaced", State.PLACED),
        ("OrderClosed", State.SHIPPED),
    ]


async def test_watching_shows_the_order_until_its_end(world: World) -> None:
    client = OrdersClient(world.lanes)
    placed = await client.place_order(wanted())
    states = []
    async for order in client.watch_order(WatchOrderRequest(name=placed.name)):
        states.append(order.state)
        await world.settle()
    assert states == [State.PLACED, State.SHIPPED]


async def test_a_watch_goes_on_behind_what_was_seen(world: World) -> None:
    client = OrdersClient(world.lanes)
    placed = await client.place_order(wanted())
    await world.settle()
    [seen] = [order async for order in client.watch_order(WatchOrderRequest(name=placed.name))]
    rest = {
        cursor: [order.state async for order in client.watch_order(WatchOrderRequest(name=placed.name, cursor=cursor))]
        for cursor in (seen.cursor - 1, seen.cursor)
    }
    assert rest == {seen.cursor - 1: [State.SHIPPED], seen.cursor: []}


async def test_placing_can_be_started_and_its_operation_waited_for(world: World) -> None:
    client = OrdersClient(world.lanes)
    started = await client.place_order.start(wanted(request_id="later"))
    again = await client.place_order.start(wanted(request_id="later"))
    assert started.name == again.name
    await world.settle()
    order = await started.result(timeout=5)
    await world.settle()
    assert (await client.get_order(GetOrderRequest(name=order.name))).state == State.SHIPPED


async def test_placing_that_is_cancelled_before_its_turn_places_nothing(world: World) -> None:
    client = OrdersClient(world.lanes)
    started = await client.place_order.start(wanted())
    await client.place_order.operation(started.name).cancel()
    await world.settle()
    with pytest.raises(Cancelled):
        await started.result(timeout=5)
    assert list((await client.list_orders(ListOrdersRequest())).orders) == []


async def test_a_started_call_that_is_refused_ends_its_operation_with_the_reason(world: World) -> None:
    client = OrdersClient(world.lanes)
    started = await client.place_order.start(wanted(quantity=PLENTY + 1))
    await world.settle()
    with pytest.raises(FailedPrecondition) as refused:
        await started.result(timeout=5)
    assert refused.value.reason == "NOT_AVAILABLE"


async def test_warehouses_sync_over_one_stream(world: World) -> None:
    async def changes() -> AsyncIterator[AdjustStockRequest]:
        for change in (5, -3):
            yield AdjustStockRequest(product="products/lamp", change=change)

    levels = [level.available async for level in InventoryClient(world.lanes).sync_stock(changes())]
    assert levels == [PLENTY + 5, PLENTY + 2]


async def test_checking_stock_names_what_is_missing(world: World) -> None:
    lines = [Line(product="products/lamp", quantity=1), Line(product="products/yacht", quantity=1)]
    answer = await InventoryClient(world.lanes).check_stock(CheckStockRequest(lines=lines))
    assert (answer.available, list(answer.missing)) == (False, ["products/yacht"])


async def test_the_catalog_keeps_two_editors_apart(world: World) -> None:
    client = CatalogClient(world.lanes)
    lamp = await client.get_product(GetProductRequest(name="products/lamp"))
    cheaper = Product(name=lamp.name, price_minor=1, etag=lamp.etag)
    updated = await client.update_product(UpdateProductRequest(product=cheaper))
    assert (updated.price_minor, updated.title) == (1, lamp.title)
    with pytest.raises(Aborted) as stale:
        await client.update_product(UpdateProductRequest(product=cheaper))
    assert stale.value.reason == "ETAG_MISMATCH"


async def test_the_catalog_lists_in_pages_and_forgets_what_is_deleted(world: World) -> None:
    client = CatalogClient(world.lanes)
    desk = Product(title="A desk", price_minor=20000, currency="EUR")
    await client.create_product(CreateProductRequest(product_id="desk", product=desk))
    with pytest.raises(AlreadyExists):
        await client.create_product(CreateProductRequest(product_id="desk", product=desk))
    found, token = [], ""
    while True:
        page = await client.list_products(ListProductsRequest(page_size=3, page_token=token))
        found += [product.name for product in page.products]
        token = page.next_page_token
        if not token:
            break
    assert found == ["products/book", "products/chair", "products/desk", "products/lamp"]
    await client.delete_product(DeleteProductRequest(name="products/desk"))
    with pytest.raises(NotFound):
        await client.get_product(GetProductRequest(name="products/desk"))


async def test_capturing_nothing_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        await PaymentsClient(world.lanes).capture(CaptureRequest(order="orders/none"))


async def test_an_order_without_lines_is_refused_with_a_sentence(world: World) -> None:
    with pytest.raises(InvalidArgument, match="`lines`: "):
        await OrdersClient(world.lanes).place_order(PlaceOrderRequest(email="a@b.c"))


@pytest.mark.parametrize("event", ["shop.orders.v1.OrderClosed", "shop.fulfilment.v1.OrderShipped", "no.Such"])
async def test_only_a_services_own_published_events_can_be_subscribed_to(world: World, event: str) -> None:
    request = system_pb2.RegisterRequest(method="a.B.C", service="a", queue="q", event=event)
    with pytest.raises(InvalidArgument, match=event):
        await world.lanes.call(REGISTER.at("orders"), request)


@pytest.mark.parametrize("unsaid", ["method", "service", "queue"])
async def test_a_subscription_of_nobody_is_refused(world: World, unsaid: str) -> None:
    """Its deliveries could not be published, and who tries would try them first again and again."""
    named = {"method": "a.B.C", "service": "a", "queue": "q", unsaid: ""}
    request = system_pb2.RegisterRequest(**named, event="shop.orders.v1.OrderPlaced", from_start=True)
    with pytest.raises(InvalidArgument, match=f"give its {unsaid}"):
        await world.lanes.call(REGISTER.at("orders"), request)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [({"at": Timestamp(seconds=10**15)}, "at is no moment"), ({"after": Duration(seconds=-1)}, "before now"),
     ({"priority": 99}, "HIGH, NORMAL or LOW")],
)  # fmt: skip
async def test_a_start_at_no_time_is_the_callers_mistake(world: World, wrong: Any, sentence: str) -> None:
    start = system_pb2.StartRequest(
        method="shop.orders.v1.Orders.PlaceOrder", payload=wanted().SerializeToString(), **wrong
    )
    with pytest.raises(InvalidArgument, match=sentence):
        await world.lanes.call(START.at("orders"), start)


async def test_what_is_ordered_most_comes_first(world: World) -> None:
    client = OrdersClient(world.lanes)
    for product, quantity in (("products/lamp", 2), ("products/book", 3), ("products/lamp", 4)):
        await client.place_order(
            PlaceOrderRequest(
                lines=[WantedLine(product=product, quantity=quantity)], email="ada@example.org", card_token="visa"
            )
        )
    await world.settle()
    answer = await client.list_bestsellers(ListBestsellersRequest())
    assert [(each.product, each.units, each.orders) for each in answer.products] == [
        ("products/lamp", 6, 2),
        ("products/book", 3, 1),
    ]
    first = await client.list_bestsellers(ListBestsellersRequest(page_size=1))
    assert [each.product for each in first.products] == ["products/lamp"]


async def test_an_order_that_was_closed_by_an_older_version_of_the_shop_is_shipped(world: World) -> None:
    client = OrdersClient(world.lanes)
    placed = await client.place_order(wanted())
    world.stop("fulfilment")
    closed = b"\n\x08orders/1\x10\x01"  # shipped = true, as it was written once
    written = events.NewEvent("old", "shop.orders.v1.OrderClosed", closed, world.clock())
    await world.store("orders").commit(events.append(f"order/{placed.name.removeprefix('orders/')}", 1, [written]))
    assert (await client.get_order(GetOrderRequest(name=placed.name))).state == State.SHIPPED


async def resumed(world: World, order: str) -> list[str]:
    request = saga_pb2.ResumeSagaRequest(stream=f"fulfilment/{order}")
    answer: Any = (await world.lanes.call(RESUME.at("fulfilment"), request)).message
    return list(answer.actions)


async def test_a_saga_that_lost_a_step_is_seen_and_goes_on_when_it_is_resumed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    act = FulfilmentHandlers.act

    async def forgetful(self: FulfilmentHandlers, saga: Any, action: Any) -> None:
        if action.name != "ship":
            await act(self, saga, action)

    monkeypatch.setattr(FulfilmentHandlers, "act", forgetful)
    client = OrdersClient(world.lanes)
    placed = await client.place_order(wanted())
    await world.settle()
    [stuck] = await open_sagas(world.store("fulfilment"), told_before=world.clock())
    assert (stuck.stream, stuck.step) == (f"fulfilment/{placed.name}", "authorize")
    monkeypatch.undo()

    assert await resumed(world, placed.name) == ["ship"]
    await world.settle()
    assert (await client.get_order(GetOrderRequest(name=placed.name))).state == State.SHIPPED
    assert await open_sagas(world.store("fulfilment"), told_before=world.clock()) == []
    assert await resumed(world, placed.name) == []


async def test_resuming_a_saga_that_only_waits_does_nothing_twice(world: World, ledger: Ledger) -> None:
    client = OrdersClient(world.lanes)
    ledger.mode = "down"
    placed = await client.place_order(wanted())
    await world.settle()
    assert [await resumed(world, placed.name) for _ in range(2)] == [["authorize"], ["authorize"]]
    ledger.mode = "ok"
    world.clock.advance(60)
    await world.settle()
    assert (await client.get_order(GetOrderRequest(name=placed.name))).state == State.SHIPPED
    assert len(ledger.authorizations) == 1


async def test_only_a_saga_that_is_there_is_resumed(world: World) -> None:
    with pytest.raises(NotFound, match="no saga fulfilment/orders/none"):
        await resumed(world, "orders/none")
    with pytest.raises(InvalidArgument, match="it has: fulfilment/"):
        await world.lanes.call(RESUME.at("fulfilment"), saga_pb2.ResumeSagaRequest(stream="order/7"))
