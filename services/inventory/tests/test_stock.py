"""Stock under two orders at once, on the service alone."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from google.protobuf.empty_pb2 import Empty

from laneway.call import Call
from laneway.client import Lanes
from laneway.errors import FailedPrecondition, NotFound
from laneway.service import Service
from laneway.testing import serve
from shop.fulfilment.v1.events_pb2 import OrderRejected, OrderShipped
from shop.inventory.v1.inventory_laneway import InventoryClient
from shop.inventory.v1.inventory_pb2 import AdjustStockRequest, Line, ReleaseRequest, ReserveRequest
from shop.notifications.v1.notifications_laneway import NotificationsService
from shop.notifications.v1.notifications_pb2 import SendEmailRequest
from shop_inventory.service import service

PLENTY = 1_000_000
LAMP = "products/lamp"


@pytest.fixture
async def inventory() -> AsyncIterator[InventoryClient]:
    async with serve(service) as world:
        yield InventoryClient(world.lanes)


mails: list[SendEmailRequest] = []


def count_mails(lanes: Lanes) -> Service:
    """Notifications that keep what they are to send."""

    class Notifications(NotificationsService):
        async def send_email(self, request: SendEmailRequest, call: Call) -> Empty:
            mails.append(request)
            return Empty()

        async def on_order_shipped(self, event: OrderShipped, call: Call) -> Empty:
            return Empty()

        async def on_order_rejected(self, event: OrderRejected, call: Call) -> Empty:
            return Empty()

    mails.clear()
    return Service("notifications", Notifications())


async def level(inventory: InventoryClient, change: int = 0) -> int:
    return (await inventory.adjust_stock(AdjustStockRequest(product=LAMP, change=change))).available


async def reserve(inventory: InventoryClient, order: str, quantity: int) -> None:
    await inventory.reserve(ReserveRequest(order=order, lines=[Line(product=LAMP, quantity=quantity)]))


async def test_the_last_piece_goes_to_one_order(inventory: InventoryClient) -> None:
    await level(inventory, 1 - PLENTY)
    outcomes = await asyncio.gather(*(reserve(inventory, f"orders/{n}", 1) for n in range(5)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, FailedPrecondition)]
    assert len(refused) == 4
    assert {error.reason for error in refused} == {"OUT_OF_STOCK"}
    assert await level(inventory) == 0


async def test_reserving_twice_takes_once_and_releasing_twice_gives_once(inventory: InventoryClient) -> None:
    for _ in range(2):
        await reserve(inventory, "orders/1", 3)
    assert await level(inventory) == PLENTY - 3
    for _ in range(2):
        await inventory.release(ReleaseRequest(order="orders/1"))
    assert await level(inventory) == PLENTY


async def test_all_lines_or_none(inventory: InventoryClient) -> None:
    lines = [Line(product=LAMP, quantity=1), Line(product="products/book", quantity=PLENTY + 1)]
    with pytest.raises(FailedPrecondition):
        await inventory.reserve(ReserveRequest(order="orders/1", lines=lines))
    assert await level(inventory) == PLENTY


async def test_stock_never_goes_below_zero(inventory: InventoryClient) -> None:
    with pytest.raises(FailedPrecondition):
        await level(inventory, -PLENTY - 1)
    with pytest.raises(NotFound):
        await inventory.adjust_stock(AdjustStockRequest(product="products/yacht", change=1))


async def test_the_buyer_hears_each_morning_once_what_is_running_out() -> None:
    async with serve(service, count_mails) as world:
        await world.settle()  # the schedules begin
        await level(InventoryClient(world.lanes), 3 - PLENTY)
        for mornings in (1, 2):
            world.clock.advance(86_400)
            await world.settle()
            assert [mail.body for mail in mails] == ["products/lamp: 3\n"] * mornings
