"""`laneway up` under a burst: worker processes come, and go again without harm."""

import time
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.fixtures.shop import RunningShop

ORDER = {"lines": [{"product": "products/book", "quantity": 1}], "email": "a@b.example", "cardToken": "visa"}
BURST = 30


@pytest.fixture
def shop(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A shop whose workers do one thing at a time."""
    running = RunningShop(tmp_path, LANEWAY_WORKER_SLOTS="1")
    yield running
    assert running.stop() == 0


def until(fact: Callable[[], bool], shop: RunningShop, within: float = 240) -> None:
    deadline = time.monotonic() + within
    while not fact():
        assert time.monotonic() < deadline, shop.log()[-3000:]
        time.sleep(0.1)


def workers(shop: RunningShop) -> set[str]:
    return {name for name in shop.state["processes"] if name.startswith("payments-worker")}


def test_a_burst_of_slow_payments_gets_more_workers_and_then_they_go(shop: RunningShop) -> None:
    httpx.put(f"{shop.state['urls']['provider']}/faults", json={"mode": "slow"}).raise_for_status()
    assert workers(shop) == {"payments-worker"}
    with httpx.Client(base_url=shop.url, timeout=30) as http:
        for _ in range(BURST):
            http.post("/v1/orders", json=ORDER, headers={"Idempotency-Key": str(uuid.uuid4())}).raise_for_status()

        until(lambda: len(workers(shop)) == 4, shop)
        httpx.put(f"{shop.state['urls']['provider']}/faults", json={"mode": "ok"}).raise_for_status()

        def shipped() -> int:
            orders = http.get("/v1/orders", params={"page_size": 1000}).json()["orders"]
            return sum(order["state"] == "SHIPPED" for order in orders)

        until(lambda: shipped() == BURST, shop)
    until(lambda: workers(shop) == {"payments-worker"}, shop)
    assert "killed" not in shop.log()
