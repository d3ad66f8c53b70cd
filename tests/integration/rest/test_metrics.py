"""What the public asks for becomes no label of a metric."""

import re

import httpx

from laneway.lanes.rest.app import rest_app
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from laneway.testing import serve
from shop_catalog.service import service as catalog
from shop_gateway.service import service as gateway
from shop_inventory.service import service as inventory
from shop_orders.service import service as orders


async def test_unknown_routes_verbs_and_owners_are_counted_as_one() -> None:
    metrics = Metrics()
    async with serve(orders, catalog, inventory) as world:
        own = gateway(world.lanes)
        app = rest_app(world.lanes, own.exposed, own.routers, tracing=Tracing("edge", "1", None),
                       metrics=metrics, title="edge")  # fmt: skip
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://edge") as client:
            for number in range(50):
                await client.get(f"/evil/{number}", headers={"Host": f"evil{number}", "User-Agent": f"evil{number}"})
                await client.request(f"EVIL{number}", "/v1/orders")
                await client.get(f"/v1/operations/evil{number}/1")
                await client.post("/v1/orders", json={f"evil{number}": 1}, headers={"Idempotency-Key": f"evil{number}"})

    text = metrics.render()[0].decode()
    methods = set(re.findall(r'laneway_calls_total\{[^}]*method="([^"]*)"', text))
    assert methods == {"none", "shop.orders.v1.Orders.PlaceOrder"}
    assert "evil" not in text.lower()
