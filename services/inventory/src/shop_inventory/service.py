"""The inventory's handlers."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from google.protobuf.empty_pb2 import Empty
from sqlalchemy import delete, insert, select, update

from laneway.call import Call
from laneway.client import Lanes, Priority
from laneway.errors import FailedPrecondition, NotFound
from laneway.service import Service
from shop.inventory.v1.inventory_laneway import InventoryClient, InventoryService
from shop.inventory.v1.inventory_pb2 import (
    AdjustStockRequest,
    CheckStockRequest,
    CheckStockResponse,
    Line,
    ReleaseRequest,
    ReportLowStockRequest,
    Reservation,
    ReserveRequest,
    StockLevel,
)
from shop.notifications.v1.notifications_laneway import NotificationsClient
from shop.notifications.v1.notifications_pb2 import SendEmailRequest
from shop_inventory.domain import reservations, stock

BUYER = "buyer@laneway.example"
RUNNING_OUT = 10
MOST_REPORTED = 100


class Inventory(InventoryService):
    def __init__(self, itself: InventoryClient, notifications: NotificationsClient) -> None:
        self._itself = itself
        self._notifications = notifications

    async def check_stock(self, request: CheckStockRequest, call: Call) -> CheckStockResponse:
        wanted = _sum(request.lines)
        rows = await call.fetch(select(stock).where(stock.c.product.in_(wanted)))
        there = {row.product: row.available for row in rows}
        missing = [product for product, quantity in wanted.items() if there.get(product, 0) < quantity]
        return CheckStockResponse(available=not missing, missing=missing)

    async def reserve(self, request: ReserveRequest, call: Call) -> Reservation:
        if await call.fetch(select(reservations).where(reservations.c.order_name == request.order)):
            return Reservation(order=request.order)
        for product, quantity in sorted(_sum(request.lines).items()):
            enough = stock.c.product == product, stock.c.available >= quantity
            short = FailedPrecondition(f"Not enough of {product}.", reason="OUT_OF_STOCK")
            taken = update(stock).where(*enough).values(available=stock.c.available - quantity)
            call.execute(taken, expect=1, otherwise=short)
            call.execute(
                insert(reservations), [{"order_name": request.order, "product": product, "quantity": quantity}]
            )
        return Reservation(order=request.order)

    async def release(self, request: ReleaseRequest, call: Call) -> Empty:
        mine = reservations.c.order_name == request.order
        rows = await call.fetch(select(reservations).where(mine))
        for row in sorted(rows, key=lambda row: row.product):
            back = update(stock).where(stock.c.product == row.product)
            call.execute(back.values(available=stock.c.available + row.quantity), expect=1)
        if rows:
            # Expecting them all keeps two releases at once from giving back twice.
            call.execute(delete(reservations).where(mine), expect=len(rows))
        return Empty()

    async def report_low_stock(self, request: ReportLowStockRequest, call: Call) -> Empty:
        low = stock.c.available < RUNNING_OUT
        rows = await call.fetch(select(stock).where(low).order_by(stock.c.product).limit(MOST_REPORTED))
        if rows:
            body = "".join(f"{row.product}: {row.available}\n" for row in rows)
            mail = SendEmailRequest(to=BUYER, subject="Running out", body=body)
            await self._notifications.send_email.start(mail, priority=Priority.LOW)
        return Empty()

    async def adjust_stock(self, request: AdjustStockRequest, call: Call) -> StockLevel:
        rows = await call.fetch(select(stock).where(stock.c.product == request.product))
        if not rows:
            raise NotFound(f"There is no {request.product} in stock.", reason="NO_STOCK")
        before, after = rows[0].available, rows[0].available + request.change
        if after < 0:
            raise FailedPrecondition(f"Only {before} of {request.product} are available.", reason="OUT_OF_STOCK")
        as_read = stock.c.product == request.product, stock.c.available == before
        call.execute(update(stock).where(*as_read).values(available=after), expect=1)
        return StockLevel(product=request.product, available=after)

    async def sync_stock(self, requests: AsyncIterator[AdjustStockRequest], call: Call) -> AsyncIterator[StockLevel]:
        number = 0
        async for request in requests:
            number += 1
            yield await self._itself.adjust_stock(request, step=f"change {number}")


def _sum(lines: Iterable[Line]) -> Counter[str]:
    wanted: Counter[str] = Counter()
    for line in lines:
        wanted[line.product] += line.quantity
    return wanted


def service(lanes: Lanes) -> Service:
    """The inventory, as it is deployed."""
    handlers = Inventory(InventoryClient(lanes), NotificationsClient(lanes))
    return Service("inventory", handlers, migrations=Path(__file__).with_name("migrations"))
