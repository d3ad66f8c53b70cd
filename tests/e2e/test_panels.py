"""Each panel and each alert finds data in a running shop: a renamed metric, label or job breaks this, and no panel in silence."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.e2e.conftest import RELEASE, Shop, operator_values
from tests.e2e.kube import ROOT, run
from tests.e2e.orders import ORDER, Customers, all_ended
from tests.e2e.panels import without_data
from tests.e2e.pools import SAMPLES, pools

PATIENCE = 120.0
"""Seconds until two scrapes have seen everything."""


async def order_twice(url: str) -> None:
    """The second one is answered by its key."""
    async with httpx.AsyncClient(base_url=url, timeout=15) as client:
        for _ in range(2):
            await client.post("/v1/orders", json=ORDER, headers={"Idempotency-Key": "panels-twice"})


async def until_told(prometheus: str, metric: str) -> None:
    """Wait until a metric has been scraped."""
    async with httpx.AsyncClient(base_url=prometheus, timeout=20) as client, asyncio.timeout(PATIENCE):
        while not (await client.get("/api/v1/query", params={"query": metric})).json()["data"]["result"]:
            await asyncio.sleep(1)


@contextmanager
def scaled(shop: Shop) -> Iterator[None]:
    """Its workers are scaled by the operator of its own release; afterwards they are as they were."""
    crd = run("helm", "template", "op", ROOT / "charts/laneway-operator", "--show-only", "templates/crd.yaml")
    run("kubectl", "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=crd)
    shop.upgrade("--values", str(SAMPLES / "values.yaml"), *operator_values())
    shop.namespace.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": pools()}))
    try:
        yield
    finally:
        shop.namespace.kubectl("delete", "workerpools", "--all")
        workers = [f"--set=laneway.services.{name}.worker.scale=false" for name in ("fulfilment", "notifications")]
        shop.upgrade("--set=operator.enabled=false", *workers)


async def test_every_panel_and_every_alert_finds_data(shop: Shop) -> None:
    async with (
        shop.namespace.forwarded(f"svc/{RELEASE}-prometheus", 9090) as port,
        Customers(shop.url, rate=4) as customers,
    ):
        prometheus = f"http://127.0.0.1:{port}"
        # What is told of failures only: retries, an open breaker, refusals, lesser answers.
        shop.namespace.kubectl("scale", f"deployment/{RELEASE}-inventory", "--replicas=0")
        await until_told(prometheus, "laneway_breaker_transitions_total")  # they order meanwhile
        shop.namespace.kubectl("scale", f"deployment/{RELEASE}-inventory", "--replicas=1")
        shop.namespace.kubectl("rollout", "status", f"deployment/{RELEASE}-inventory", "--timeout=90s")
        deadline = time.monotonic() + PATIENCE
        while empty := await without_data(prometheus, operator=False):
            assert time.monotonic() < deadline, "\n".join(empty)
            await order_twice(shop.url)
            await asyncio.sleep(2)
    assert set(await all_ended(shop.url, customers.acknowledged, within=120)) <= {"SHIPPED", "REJECTED"}


async def until_asleep(shop: Shop) -> None:
    """Wait until fulfilment has no worker."""
    async with asyncio.timeout(PATIENCE):
        while any(
            deployment["metadata"]["name"] == f"{RELEASE}-fulfilment-worker" and deployment["spec"]["replicas"]
            for deployment in shop.namespace.get("deployments")
        ):
            await asyncio.sleep(1)


async def test_every_panel_and_every_alert_of_the_operator_finds_data(shop: Shop) -> None:
    with scaled(shop):
        await until_asleep(shop)  # and woken by the customers: both are scales
        async with (
            shop.namespace.forwarded(f"svc/{RELEASE}-prometheus", 9090) as port,
            Customers(shop.url, rate=2) as customers,
        ):
            deadline = time.monotonic() + PATIENCE
            while empty := await without_data(f"http://127.0.0.1:{port}", operator=True):
                assert time.monotonic() < deadline, "\n".join(empty)
                await asyncio.sleep(2)
        assert set(await all_ended(shop.url, customers.acknowledged, within=120)) <= {"SHIPPED", "REJECTED"}
