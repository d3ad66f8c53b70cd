"""What mypy accepts without a cast."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from google.protobuf.empty_pb2 import Empty

from laneway.call import Call
from laneway.client import Priority
from shop.inventory.v1.inventory_laneway import InventoryClient, InventoryService
from shop.inventory.v1.inventory_pb2 import (
    AdjustStockRequest,
    CheckStockRequest,
    CheckStockResponse,
    ReleaseRequest,
    Reservation,
    ReserveRequest,
    StockLevel,
)


class Good(InventoryService):
    async def check_stock(self, request: CheckStockRequest, call: Call) -> CheckStockResponse:
        return CheckStockResponse(available=True)

    async def reserve(self, request: ReserveRequest, call: Call) -> Reservation:
        return Reservation(order=request.order)

    async def release(self, request: ReleaseRequest, call: Call) -> Empty:
        return Empty()

    async def adjust_stock(self, request: AdjustStockRequest, call: Call) -> StockLevel:
        return StockLevel(product=request.product)

    async def sync_stock(self, requests: AsyncIterator[AdjustStockRequest], call: Call) -> AsyncIterator[StockLevel]:
        async for request in requests:
            yield StockLevel(product=request.product)


async def uses(inventory: InventoryClient) -> bool:
    stock = await inventory.check_stock(CheckStockRequest())
    started = await inventory.release.start(ReleaseRequest(order="orders/1"))
    await inventory.release.start(ReleaseRequest(), at=datetime.now(UTC), priority=Priority.LOW)
    await inventory.release.start(ReleaseRequest(), after=timedelta(minutes=5), step="later")
    nothing: Empty = await started.result(timeout=1)
    return stock.available and nothing is not None
