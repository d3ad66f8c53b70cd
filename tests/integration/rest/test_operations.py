"""The operations of queued calls over REST: for who started them, and nobody else."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from laneway.call import ANONYMOUS, Identity
from laneway.errors import Unauthenticated, Unavailable
from laneway.lanes.status import status_of
from laneway.store import operations
from laneway.testing import World, serve
from shop_catalog.service import service as catalog
from shop_inventory.service import service as inventory
from shop_orders.service import service as orders
from tests.fixtures.edge import edge_of

ORDER = {"lines": [{"product": "products/lamp", "quantity": 1}], "email": "ada@example.org"}


async def by_name(headers: Mapping[str, str]) -> Identity:
    """Who calls is who says so; good for a test only."""
    who = headers.get("authorization")
    if who == "wrong":
        raise Unauthenticated("The credentials are not good.")
    return ANONYMOUS if who is None else Identity(who)


@asynccontextmanager
async def edge() -> AsyncIterator[tuple[httpx.AsyncClient, World]]:
    async with serve(orders, catalog, inventory) as world:
        transport = httpx.ASGITransport(edge_of(world.lanes, authenticate=by_name))
        async with httpx.AsyncClient(transport=transport, base_url="http://edge") as http:
            yield http, world


async def started(http: httpx.AsyncClient, who: str | None = "ann", key: str = "k") -> str:
    """Start an order; where to look."""
    headers = {"Idempotency-Key": key, "Prefer": "respond-async", **_as(who)}
    answer = await http.post("/v1/orders", json=ORDER, headers=headers)
    assert answer.status_code == 202
    return answer.headers["Location"]


def _as(who: str | None) -> dict[str, str]:
    return {} if who is None else {"Authorization": who}


def reason(answer: httpx.Response) -> Any:
    return answer.json()["error"]["details"][0]["reason"]


async def test_the_owner_sees_how_it_stands_waits_and_forgets() -> None:
    async with edge() as (http, world):
        at, ann = await started(http), _as("ann")
        before = (await http.get(at, headers=ann)).json()
        waited = await http.post(f"{at}:wait", json={}, headers={**ann, "X-Request-Timeout": "0.05"})
        early = await http.delete(at, headers=ann)
        await world.settle()
        after = (await http.post(f"{at}:wait", headers=ann)).json()
        gone = [(await http.request(verb, at, headers=ann)).status_code for verb in ("DELETE", "GET")]
    assert (before.get("done"), before["metadata"]["state"]) == (None, "PENDING")
    assert before["metadata"]["@type"] == "type.googleapis.com/laneway.v1.OperationMetadata"
    assert "done" not in waited.json()
    assert (early.status_code, reason(early)) == (400, "OPERATION_PENDING")
    assert (after["done"], after["response"]["@type"]) == (True, "type.googleapis.com/shop.orders.v1.Order")
    assert gone == [200, 404]


async def test_a_start_that_is_repeated_names_the_same_place_and_says_so() -> None:
    async with edge() as (http, _):
        headers = {"Idempotency-Key": "k", "Prefer": "respond-async"}
        first, again = [await http.post("/v1/orders", json=ORDER, headers=headers) for _ in range(2)]
    assert (first.status_code, first.headers["location"]) == (again.status_code, again.headers["location"])
    assert [answer.headers.get("idempotent-replayed") for answer in (first, again)] == [None, "true"]


async def test_what_is_cancelled_ends_so() -> None:
    async with edge() as (http, world):
        at, ann = await started(http), _as("ann")
        answer = await http.post(f"{at}:cancel", json={}, headers=ann)
        await world.settle()
        ended = (await http.get(at, headers=ann)).json()
    assert (answer.status_code, answer.json()) == (200, {})
    assert (ended["done"], ended["error"]["code"], ended["metadata"]["state"]) == (True, 1, "CANCELLED")


@pytest.mark.parametrize("who", ["bob", None])
@pytest.mark.parametrize(("verb", "custom"), [("GET", ""), ("DELETE", ""), ("POST", ":cancel"), ("POST", ":wait")])
async def test_others_find_nothing(who: str | None, verb: str, custom: str) -> None:
    async with edge() as (http, _):
        at = await started(http)
        answer = await http.request(verb, f"{at}{custom}", headers=_as(who))
        mine = (await http.get(at, headers=_as("ann"))).json()
    assert (answer.status_code, reason(answer)) == (404, "OPERATION_UNKNOWN")
    assert mine["metadata"]["state"] == "PENDING"


@pytest.mark.parametrize("owner", ["payments", "elsewhere"])
async def test_of_a_service_that_the_edge_does_not_expose_nothing_is_asked(owner: str) -> None:
    """Its name would be a place to connect to, of the public's choice."""
    async with edge() as (http, _):
        answers = [await http.get(f"/v1/operations/{owner}{of}", headers=_as("ann")) for of in ("", "/m1")]
    assert [(answer.status_code, reason(answer)) for answer in answers] == [(404, "NO_ROUTE")] * 2


async def test_cancelling_what_never_was_leaves_nothing_behind() -> None:
    async with edge() as (http, world):
        answer = await http.post("/v1/operations/orders/made-up:cancel", headers=_as("ann"))
        assert await operations.get(world.store("orders"), "made-up") is None
    assert answer.status_code == 404


async def test_a_list_has_ones_own_and_is_not_for_the_nameless() -> None:
    async with edge() as (http, _):
        mine = [await started(http, key=key) for key in ("a", "b")]
        await started(http, "bob")
        page = (await http.get("/v1/operations/orders?pageSize=1", headers=_as("ann"))).json()
        more = await http.get(f"/v1/operations/orders?pageToken={page['nextPageToken']}", headers=_as("ann"))
        none = (await http.get("/v1/operations/orders?filter=done%20%3D%20true", headers=_as("ann"))).json()
        refused = [await http.get("/v1/operations/orders", headers=_as(who)) for who in (None, "wrong")]
        odd = [
            await http.get(f"/v1/operations/orders?{query}", headers=_as("ann"))
            for query in ("pageSize=-1", "size=3", "filter=x", "pageToken=x")
        ]
    seen = [each["name"] for each in (*page["operations"], *more.json()["operations"])]
    assert sorted(f"/v1/{name}" for name in seen) == sorted(mine)
    assert none.get("operations", []) == []
    assert [answer.status_code for answer in refused] == [401, 401]
    assert [answer.status_code for answer in odd] == [400] * 4


async def test_what_a_queued_call_failed_of_names_no_address_to_the_public() -> None:
    down = Unavailable("catalog cannot be reached: ipv4:10.1.2.3:50051: refused", reason="UNREACHABLE")
    async with edge() as (http, world):
        at, ann = await started(http), _as("ann")
        failed = operations.fail(at.rpartition("/")[2], error=status_of(down).SerializeToString(), now=world.clock())
        await world.store("orders").commit([failed])
        answers = [
            await http.get(at, headers=ann),
            await http.post(f"{at}:wait", headers=ann),
            await http.get("/v1/operations/orders", headers=ann),
        ]
    for answer in answers:
        assert "10.1.2.3" not in answer.text
        assert '"code":14,"message":"A service behind this one cannot be reached; try again."' in answer.text
        assert '"reason":"UNREACHABLE"' in answer.text


async def test_a_wait_may_be_as_long_as_a_client_likes() -> None:
    async with edge() as (http, world):
        at, ann = await started(http), _as("ann")
        await world.settle()
        answers = [
            await http.post(f"{at}:wait", headers={**ann, "X-Request-Timeout": seconds})
            for seconds in ("1e12", "1e300")
        ]
    assert [(answer.status_code, answer.json()["done"]) for answer in answers] == [(200, True)] * 2


@pytest.mark.parametrize(
    ("prefer", "is_started"),
    [
        ("respond-async", True),
        ("wait=5, Respond-Async", True),
        ('respond-async; x="y", wait=5', True),
        ("x-respond-async", False),
        ("respond-asynchronously", False),
    ],
)
async def test_a_preference_is_a_word_of_the_header(prefer: str, is_started: bool) -> None:
    async with edge() as (http, _):
        answer = await http.post("/v1/orders", json=ORDER, headers={"Idempotency-Key": "k", "Prefer": prefer})
    assert (answer.status_code == 202) is is_started


@pytest.mark.parametrize(
    ("verb", "path", "allowed"),
    [("PUT", "/1", "DELETE, GET"), ("GET", "/1:cancel", "POST"), ("POST", "", "GET")],
)
async def test_another_verb_is_told_which_there_are(verb: str, path: str, allowed: str) -> None:
    async with edge() as (http, _):
        answer = await http.request(verb, f"/v1/operations/orders{path}")
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
