"""What the gateway lets in."""

from fastapi import APIRouter

from laneway.client import Lanes
from laneway.service import Service
from shop.catalog.v1.catalog_laneway import CatalogClient
from shop.fulfilment.v1.fulfilment_laneway import FulfilmentClient
from shop.orders.v1.orders_laneway import OrdersClient

router = APIRouter()


@router.get("/")
async def index() -> dict[str, str]:
    """Where to go from here."""
    return {"products": "/v1/products", "orders": "/v1/orders"}


def service(lanes: Lanes) -> Service:
    """The gateway, as it is deployed."""
    public = [CatalogClient(lanes), OrdersClient(lanes), FulfilmentClient(lanes)]
    return Service("gateway", expose=public, routers=[router], database=False)
