"""The handlers of orders."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from google.protobuf.empty_pb2 import Empty
from sqlalchemy import insert, select, update

from laneway.call import Call
from laneway.client import Lanes
from laneway.errors import FailedPrecondition, InvalidArgument, NotFound
from laneway.service import Service
from shop.catalog.v1.catalog_laneway import CatalogClient
from shop.catalog.v1.catalog_pb2 import GetProductRequest
from shop.fulfilment.v1.events_pb2 import OrderRejected, OrderShipped
from shop.inventory.v1.inventory_laneway import InventoryClient
from shop.inventory.v1.inventory_pb2 import CheckStockRequest, CheckStockResponse, Line
from shop.orders.v1.events_pb2 import OrderLine
from shop.orders.v1.orders_laneway import OrdersService
from shop.orders.v1.orders_pb2 import (
    Bestseller,
    CancelOrderRequest,
    GetOrderHistoryRequest,
    GetOrderRequest,
    ListBestsellersRequest,
    ListBestsellersResponse,
    ListOrdersRequest,
    ListOrdersResponse,
    OrderHistory,
    OrderSummary,
    PlaceOrderRequest,
    WatchOrderRequest,
)
from shop.orders.v1.orders_pb2 import Order as OrderMessage
from shop_orders.domain import UPCASTERS, Bestsellers, Order, State, bestsellers, orders

WATCH_EVERY = 0.2
"""Seconds between looks at the log while somebody watches an order.

It looks, because what closes an order is committed by another process, the worker, and a SQLite file tells nobody. A
look is one read of an index: of the events behind those that were seen.
"""


class Orders(OrdersService):
    def __init__(self, catalog: CatalogClient, inventory: InventoryClient) -> None:
        self._catalog = catalog
        self._inventory = inventory

    async def place_order(self, request: PlaceOrderRequest, call: Call) -> OrderMessage:
        lines, currency = await self._priced(request)
        call.progress(1, 2, "priced")  # for who has started it and looks on
        await self._check_stock(request)
        order = await call.load(Order, call.derive_key("order"))
        order.place(request, lines, currency)
        call.save(order)
        row = {"name": order.message.name, "state": order.state, "placed_at": call.now()}
        total = {"total_minor": order.message.total_minor, "currency": currency}
        call.execute(insert(orders), [{**row, **total}])
        return order.message

    async def get_order(self, request: GetOrderRequest, call: Call) -> OrderMessage:
        return (await self._known(request.name, call)).message

    async def list_orders(self, request: ListOrdersRequest, call: Call) -> ListOrdersResponse:
        size = min(request.page_size or 20, 1000)
        offset = int(request.page_token or 0)
        columns = (orders.c.name, orders.c.state, orders.c.total_minor, orders.c.currency)
        newest = select(*columns).order_by(orders.c.placed_at.desc(), orders.c.name)
        rows = await call.fetch(newest.limit(size + 1).offset(offset))
        more = {"next_page_token": str(offset + size)} if len(rows) > size else {}
        return ListOrdersResponse(orders=[OrderSummary(**row.as_dict()) for row in rows[:size]], **more)

    async def list_bestsellers(self, request: ListBestsellersRequest, call: Call) -> ListBestsellersResponse:
        size = min(request.page_size or 10, 100)
        view = Bestsellers.view(bestsellers)
        rows = await call.fetch(select(view).order_by(view.c.units.desc(), view.c.product).limit(size))
        return ListBestsellersResponse(products=[Bestseller(**row.as_dict()) for row in rows])

    async def cancel_order(self, request: CancelOrderRequest, call: Call) -> OrderMessage:
        order = await self._known(request.name, call)
        order.cancel()
        return self._changed(order, call)

    async def get_order_history(self, request: GetOrderHistoryRequest, call: Call) -> OrderHistory:
        id = request.name.removeprefix("orders/")
        events = await call.history(Order, id)
        if not events:
            raise _unknown(request.name)
        told = [event.message for event in events]
        return OrderHistory(
            entries=[
                OrderHistory.Entry(
                    version=event.version,
                    event=event.message.DESCRIPTOR.name,
                    time=datetime.fromtimestamp(event.recorded_at, UTC).isoformat(),
                    state=Order.replay(id, told[: event.version]).state,
                )
                for event in events
            ]
        )

    async def watch_order(self, request: WatchOrderRequest, call: Call) -> AsyncIterator[OrderMessage]:
        order = await self._known(request.name, call)
        if order.version > request.cursor:
            yield _watched(order)
        while order.state == State.PLACED:
            await asyncio.sleep(WATCH_EVERY)
            if news := await call.history(Order, order.id, after=order.version):
                order.follow(event.message for event in news)
                yield _watched(order)

    async def on_order_shipped(self, event: OrderShipped, call: Call) -> Empty:
        order = await self._known(event.order, call)
        order.close(shipped=True)
        self._changed(order, call)
        return Empty()

    async def on_order_rejected(self, event: OrderRejected, call: Call) -> Empty:
        order = await self._known(event.order, call)
        order.close(shipped=False, reason=event.reason)
        self._changed(order, call)
        return Empty()

    async def _priced(self, request: PlaceOrderRequest) -> tuple[list[OrderLine], str]:
        lines, currencies = [], set()
        for number, line in enumerate(request.lines):
            try:
                product = await self._catalog.get_product(GetProductRequest(name=line.product), step=f"price {number}")
            except NotFound as error:
                raise FailedPrecondition(f"There is no {line.product} to order.", reason="UNKNOWN_PRODUCT") from error
            lines.append(OrderLine(product=line.product, quantity=line.quantity, price_minor=product.price_minor))
            currencies.add(product.currency)
        if len(currencies) > 1:
            raise InvalidArgument("The lines of an order are of one currency.")
        return lines, currencies.pop()

    async def _check_stock(self, request: PlaceOrderRequest) -> None:
        lines = [Line(product=line.product, quantity=line.quantity) for line in request.lines]
        stock = await self._inventory.check_stock(CheckStockRequest(lines=lines), fallback=self._without_stock)
        if not stock.available:
            raise FailedPrecondition(f"Not in stock: {', '.join(stock.missing)}.", reason="NOT_AVAILABLE")

    async def _without_stock(self, _: CheckStockRequest, error: Exception) -> CheckStockResponse:
        """Fulfilment reserves later, and rejects what is not there."""
        return CheckStockResponse(available=True)

    async def _known(self, name: str, call: Call) -> Order:
        order = await call.load(Order, name.removeprefix("orders/"))
        if not order.exists:
            raise _unknown(name)
        return order

    def _changed(self, order: Order, call: Call) -> OrderMessage:
        call.save(order)
        call.execute(update(orders).where(orders.c.name == order.message.name).values(state=order.state))
        return order.message


def _watched(order: Order) -> OrderMessage:
    seen = OrderMessage(cursor=order.version)
    seen.MergeFrom(order.message)
    return seen


def _unknown(name: str) -> NotFound:
    return NotFound(f"There is no {name}.", reason="NO_ORDER")


def service(lanes: Lanes) -> Service:
    """Orders, as they are deployed."""
    handlers = Orders(CatalogClient(lanes), InventoryClient(lanes))
    return Service(
        "orders",
        handlers,
        migrations=Path(__file__).with_name("migrations"),
        aggregates=[Order],
        upcasters=UPCASTERS,
        projections=[Bestsellers()],
    )
