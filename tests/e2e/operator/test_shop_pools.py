"""The shop's workers, scaled by the sample WorkerPools: from zero when an order comes, and back."""

import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.e2e.operator.conftest import Say, installed
from tests.e2e.operator.kubectl import ROOT, Namespace, run, until
from tests.e2e.operator.plain_celery import IMAGE
from tests.e2e.orders import ENDED, ORDER
from tests.e2e.pools import SAMPLES, pools
from tests.fixtures.valkey import free_port

BURST = 30

pytestmark = [pytest.mark.core, pytest.mark.xdist_group("shop")]


@pytest.fixture
def shop(new_namespace: Callable[[], Namespace]) -> Iterator[Namespace]:
    """The shop with the values of the sample, without what observes it."""
    there = new_namespace()
    repository, _, tag = IMAGE.rpartition(":")
    values = {
        "laneway.image.repository": repository,
        "laneway.image.tag": tag,
        "laneway.jaeger.enabled": "false",
        "laneway.prometheus.enabled": "false",
        "laneway.stop.drain": "2",
        "laneway.services.fulfilment.worker.slots": "1",
    }
    options = [option for name, value in values.items() for option in ("--set", f"{name}={value}")]
    run("helm", "dependency", "update", str(ROOT / "charts/shop"))
    chart = [str(ROOT / "charts/shop"), "--values", str(SAMPLES / "values.yaml"), *options]
    run("helm", "--namespace", there.name, "install", "shop", *chart, "--wait", "--timeout", "240s")
    yield there


@contextmanager
def edge_of(there: Namespace) -> Iterator[httpx.Client]:
    """A client of the shop's edge."""
    port = free_port()
    command = ["kubectl", "--namespace", there.name, "port-forward", "service/shop-gateway-rest", f"{port}:80"]
    forward = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            until(lambda: _answers(client), 20, "the edge answers")
            yield client
    finally:
        forward.terminate()
        forward.wait()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").is_success
    except httpx.HTTPError:
        return False


def place(edge: httpx.Client) -> str:
    placed = edge.post("/v1/orders", json=ORDER, headers={"Idempotency-Key": str(uuid.uuid4())})
    placed.raise_for_status()
    return str(placed.json()["name"])


def states(edge: httpx.Client, orders: list[str]) -> set[str]:
    return {str(edge.get(f"/v1/{name}").json()["state"]) for name in orders}


def test_a_burst_of_orders_wakes_the_workers_it_needs_and_they_sleep_again(
    shop: Namespace, new_namespace: Callable[[], Namespace], figure: Say
) -> None:
    with installed(new_namespace(), shop, replicas=1), edge_of(shop) as edge:
        shop.apply(*pools())
        for name in ("fulfilment", "notifications"):
            until(lambda: shop.replicas(f"shop-{name}-worker") == 0, 120, f"{name} goes to zero")  # noqa: B023
        begin = time.monotonic()
        orders = [place(edge)]
        woken = until(lambda: shop.replicas("shop-fulfilment-worker") > 0, 15, "fulfilment wakes")
        orders += [place(edge) for _ in range(BURST - 1)]
        until(lambda: shop.replicas("shop-fulfilment-worker") > 1, 15, "one is not enough")
        until(lambda: states(edge, orders) <= ENDED, 120, "the orders are done")
        took = time.monotonic() - begin
        assert states(edge, orders) == {"SHIPPED"}
        until(lambda: shop.get("wp", "notifications")["status"].get("lastScale") is not None, 30, "mail is sent")
        back = until(lambda: shop.replicas("shop-fulfilment-worker") == 0, 150, "fulfilment goes back to zero")
        assert shop.condition("fulfilment", "MetricsAvailable")["status"] == "True"
        assert not shop.get("wp", "fulfilment")["status"].get("parked")
    figure(
        f"{BURST} orders on a shop that sleeps",
        f"woken after {woken:.1f} s, shipped after {took:.1f} s, asleep {back:.1f} s later",
    )
