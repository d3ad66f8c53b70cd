"""The shop's edge tells of itself, and does what it tells."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from laneway.lanes.rest.options import EdgeOptions
from laneway.testing import serve
from shop_catalog.service import service as catalog
from shop_inventory.service import service as inventory
from shop_orders.service import service as orders
from tests.fixtures.edge import edge_of

ORDER = {"lines": [{"product": "products/lamp", "quantity": 1}], "email": "ada@example.org"}


@asynccontextmanager
async def client(options: EdgeOptions | None = None) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(orders, catalog, inventory) as world:
        transport = httpx.ASGITransport(edge_of(world.lanes, options))
        async with httpx.AsyncClient(transport=transport, base_url="http://edge") as http:
            yield http


async def test_the_document_has_the_contracts_operations_and_the_routers() -> None:
    async with client() as http:
        document = (await http.get("/openapi.json")).json()
        page = await http.get("/docs")
    assert (document["openapi"], document["info"]["title"]) == ("3.1.0", "gateway")
    assert document["paths"]["/"]["get"]["description"] == "Where to go from here."
    assert document["paths"]["/v1/orders/{name}:cancel"]["post"]["operationId"] == "Orders_CancelOrder"
    assert "/openapi.json" in page.text


async def test_an_edge_may_keep_it_to_itself() -> None:
    async with client(EdgeOptions(docs=False)) as http:
        assert {(await http.get(path)).status_code for path in ("/openapi.json", "/docs", "/redoc")} == {404}


async def test_what_breaks_a_rule_is_400_with_the_fields() -> None:
    async with client() as http:
        answer = await http.post("/v1/orders", json={**ORDER, "email": "nobody"}, headers={"Idempotency-Key": "k"})
    error = answer.json()["error"]
    [violations] = [each["fieldViolations"] for each in error["details"] if "fieldViolations" in each]
    assert (answer.status_code, error["details"][0]["reason"]) == (400, "INVALID_REQUEST")
    assert [violation["field"] for violation in violations] == ["email"]


@pytest.mark.parametrize(("more", "status"), [({}, 202), ({"email": "nobody"}, 400)])
async def test_a_call_that_is_queued_is_accepted_only_if_it_keeps_the_rules(more: dict[str, str], status: int) -> None:
    async with client() as http:
        headers = {"Idempotency-Key": "k", "Prefer": "respond-async"}
        assert (await http.post("/v1/orders", json={**ORDER, **more}, headers=headers)).status_code == status


async def test_a_key_of_another_queued_call_is_refused_in_the_name_of_the_method() -> None:
    async with client() as http:
        headers = {"Idempotency-Key": "k", "Prefer": "respond-async"}
        await http.post("/v1/orders", json=ORDER, headers=headers)
        answer = await http.post("/v1/orders", json={**ORDER, "email": "eve@example.org"}, headers=headers)
    assert answer.status_code == 422
    assert "another request than this one of shop.orders.v1.Orders.PlaceOrder;" in answer.json()["error"]["message"]


async def test_a_queued_call_has_the_clients_time_for_its_acceptance() -> None:
    async with client() as http:
        headers = {"Idempotency-Key": "k", "Prefer": "respond-async", "X-Request-Timeout": "0"}
        answer = await http.post("/v1/orders", json=ORDER, headers=headers)
    assert (answer.status_code, answer.json()["error"]["details"][0]["reason"]) == (400, "TIMEOUT_INVALID")


@pytest.mark.parametrize("owner", ["payments", "elsewhere"])
async def test_the_public_asks_for_operations_of_exposed_services_only(owner: str) -> None:
    """Or it would choose what host the edge connects to."""
    async with client() as http:
        answer = await http.get(f"/v1/operations/{owner}/1")
    assert (answer.status_code, answer.json()["error"]["details"][0]["reason"]) == (404, "NO_ROUTE")
