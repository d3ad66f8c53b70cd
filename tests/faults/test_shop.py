"""`laneway fault` on the shop as `laneway up` runs it: what a customer sees while a service is slow, fails or is gone, and
that all of it ends well."""

import json
import os
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from tests.faults.conftest import Figure
from tests.fixtures.roles import until
from tests.fixtures.shop import RunningShop

Sick = Callable[..., None]


@pytest.fixture
def http(shop: RunningShop) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shop.url, timeout=15) as client:
        yield client


@pytest.fixture
def sick(shop: RunningShop, http: httpx.Client) -> Iterator[Sick]:
    """Lets a service fail; all are well again at the end."""
    given: set[str] = set()

    def become(service: str, kind: str) -> None:
        given.add(service)
        before = len(shop.log())
        laneway(shop, "fault", service, kind)
        until(lambda: _felt(shop, service, kind, shop.log()[before:]), shop.log)

    until(lambda: well(http))
    yield become
    for service in given:
        laneway(shop, "fault", service, "none")
    until(lambda: well(http), shop.log)


def _felt(shop: RunningShop, service: str, kind: str, said: str) -> bool:
    """Whether each process of a service has its fault, by what was said since."""
    own = {name: each["pid"] for name, each in shop.state["processes"].items() if each["service"] == service}
    if kind == "down":
        return not any(own.values())
    lines = said.splitlines()
    return kind == "none" or all(
        any(line.split()[:1] == [name] and f"fault={kind}" in line for line in lines) for name in own
    )


def laneway(shop: RunningShop, *arguments: str) -> str:
    """What a command on the running shop prints."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LANEWAY_")}
    ended = subprocess.run(
        [sys.executable, "-m", "laneway.cli", *arguments, "--data", str(shop.data)],
        env=clean, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def placed(http: httpx.Client, *, product: str = "lamp", key: str | None = None, email: str = "a@b.example") -> Any:
    """The answer to an order."""
    order = {"lines": [{"product": f"products/{product}", "quantity": 1}], "email": email, "cardToken": "visa"}
    return http.post("/v1/orders", json=order, headers={"Idempotency-Key": key or str(uuid.uuid4())})


def degraded(answer: Any) -> str:
    return str(answer.headers.get("laneway-degraded", ""))


def well(http: httpx.Client) -> bool:
    try:
        answers = [placed(http, product=product) for product in ("lamp", "book")]
    except httpx.HTTPError:
        return False
    return all(answer.status_code == 200 and not degraded(answer) for answer in answers)


def state(http: httpx.Client, answer: Any) -> str:
    return str(http.get(f"/v1/{answer.json()['name']}").json()["state"])


def tried(shop: RunningShop) -> int:
    """How often the newest payment was tried and failed; -1 when none is asked for."""
    asked = "SELECT attempts FROM outbox WHERE service = 'payments' ORDER BY created_at DESC LIMIT 1"
    with closing(sqlite3.connect(f"file:{shop.data}/fulfilment.db?mode=ro", uri=True)) as connection:
        found = connection.execute(asked).fetchone()
    return -1 if found is None else int(found[0])


@pytest.mark.parametrize("kind", ["slow", "error", "hang", "flaky", "down"])
def test_while_inventory_is_sick_orders_are_accepted_degraded_and_shipped_once_it_is_well(
    shop: RunningShop, http: httpx.Client, sick: Sick, kind: str
) -> None:
    sick("inventory", kind)
    answers = []

    def told() -> bool:
        answers.append(placed(http))
        return degraded(answers[-1]).startswith("inventory: ")

    until(told)
    assert {answer.status_code for answer in answers} == {200}
    sick("inventory", "none")
    until(lambda: state(http, answers[-1]) == "SHIPPED", shop.log)


@pytest.mark.parametrize("kind", ["error", "hang", "down"])
def test_while_catalog_is_sick_what_was_ordered_of_late_has_its_last_price_and_the_rest_waits(
    http: httpx.Client, sick: Sick, kind: str
) -> None:
    sick("catalog", kind)
    until(lambda: degraded(placed(http)).startswith("catalog: last good answer, "))
    unknown = placed(http, product="chair")
    assert unknown.status_code in (503, 504)


@pytest.mark.parametrize("kind", ["error", "hang", "down"])
def test_while_payments_is_sick_orders_are_accepted_and_wait(
    shop: RunningShop, http: httpx.Client, sick: Sick, kind: str
) -> None:
    sick("payments", kind)
    last = placed(http)
    assert (last.status_code, degraded(last)) == (200, "")
    until(lambda: tried(shop) >= (0 if kind == "down" else 1), shop.log)
    assert state(http, last) == "PLACED"
    sick("payments", "none")
    until(lambda: state(http, last) == "SHIPPED", shop.log)


def test_while_notifications_is_down_orders_ship_and_their_mail_comes_later(
    shop: RunningShop, http: httpx.Client, sick: Sick
) -> None:
    sick("notifications", "down")
    answer = placed(http)
    name = answer.json()["name"]

    def mailed() -> bool:
        return any(name in mail["subject"] for mail in httpx.get(shop.state["urls"]["mail"]).json())

    until(lambda: state(http, answer) == "SHIPPED", shop.log)
    assert not mailed()
    sick("notifications", "none")
    until(mailed, shop.log)


@pytest.mark.parametrize("kind", ["error", "hang", "down"])
def test_while_orders_is_sick_a_customer_is_told_to_come_back_and_has_one_order_in_the_end(
    http: httpx.Client, sick: Sick, kind: str
) -> None:
    sick("orders", kind)
    key, customer = str(uuid.uuid4()), f"{uuid.uuid4()}@b.example"
    refused = placed(http, key=key, email=customer)
    assert refused.status_code in (500, 503, 504)
    if refused.status_code == 503:
        assert int(refused.headers["retry-after"]) >= 1
    sick("orders", "none")
    until(lambda: placed(http, key=key, email=customer).status_code == 200)
    again = placed(http, key=key, email=customer)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")


def test_load_shows_an_outage_and_without_breakers_the_same_is_slower(
    shop: RunningShop, http: httpx.Client, sick: Sick, figure: Figure
) -> None:
    sick("inventory", "hang")
    told = laneway(shop, "load", "--rate", "10", "--seconds", "8", "--unprotected", "--format", "json")
    seconds = [json.loads(line) for line in told.splitlines()][3:]
    assert [second["second"] for second in seconds] == [4, 5, 6, 7, 8]
    for shop_kind in ("protected", "unprotected"):
        assert sum(second[shop_kind]["degraded"] for second in seconds) > 0
    typical = {kind: sorted(each[kind]["p50_ms"] for each in seconds)[2] for kind in ("protected", "unprotected")}
    medians = f"{typical['protected']:.0f} and {typical['unprotected']:.0f} ms"
    figure("median of orders while inventory hangs, with breakers and without", medians, "< 500 and ≥ 500 ms")
    assert typical["protected"] < 500 <= typical["unprotected"], "each waits for its attempt to end"
