"""What mypy must not accept."""

from laneway.call import Call
from shop.fulfilment.v1.fulfilment_laneway import FulfilmentClient
from shop.fulfilment.v1.fulfilment_pb2 import ShipOrderRequest
from shop.inventory.v1.inventory_laneway import InventoryClient, InventoryService
from shop.inventory.v1.inventory_pb2 import CheckStockRequest, Reservation, ReserveRequest


class Wrong(InventoryService):
    async def check_stock(self, request: CheckStockRequest, call: Call) -> Reservation:  # error: override
        return Reservation()

    async def reserve(self, request: CheckStockRequest, call: Call) -> Reservation:  # error: override
        return Reservation()


async def misuses(inventory: InventoryClient, fulfilment: FulfilmentClient) -> None:
    await inventory.check_stock(ReserveRequest())  # error: arg-type
    await inventory.check_stock.start(CheckStockRequest())  # error: attr-defined
    await fulfilment.ship_order(ShipOrderRequest())  # error: operator
    await fulfilment.ship_order.start(ShipOrderRequest(), at=60)  # error: arg-type
    await fulfilment.ship_order.start(ShipOrderRequest(), priority="high")  # error: arg-type
