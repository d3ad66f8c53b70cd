"""The shop on a PostgreSQL and a Valkey of one's own: one value each, and nothing of ours beside them."""

import uuid
from collections.abc import Iterator

import httpx
import pytest
import yaml

from tests.e2e.conftest import RELEASE, install
from tests.e2e.kube import ROOT, Namespace
from tests.e2e.orders import ORDER, all_ended

BACKENDS = ROOT / "tests/e2e/own_backends.yaml"


@pytest.fixture
def own(cluster: None) -> Iterator[Namespace]:
    """A namespace with the two, and an empty database for each service."""
    namespace = Namespace("laneway-own")
    namespace.delete()
    namespace.create()
    try:
        namespace.kubectl("apply", "-f", BACKENDS)
        namespace.kubectl("rollout", "status", "deployment/own-postgresql", "deployment/own-valkey", "--timeout=90s")
        services = yaml.safe_load((ROOT / "charts/shop/values.yaml").read_text())["laneway"]["services"].keys() - {
            "gateway"
        }
        for service in services:
            namespace.kubectl(
                "exec", "deployment/own-postgresql", "--",
                "psql", "-U", "postgres", "-qc", f"CREATE DATABASE {service}",
            )  # fmt: skip
        yield namespace
    finally:
        namespace.delete()


async def test_an_order_ships_on_backends_of_ones_own(own: Namespace) -> None:
    install(
        own,
        "--set", "laneway.image.pullPolicy=Never",
        "--set-json", 'laneway.database.url="postgresql://postgres:their-secret@own-postgresql:5432/{service}"',
        "--set", "laneway.broker.url=redis://:their-password@own-valkey:6379/0",
        "--set", "laneway.jaeger.enabled=false",
        "--set", "laneway.prometheus.enabled=false",
        fresh=False,
    )  # fmt: skip
    assert own.get("statefulsets") == [], "nothing of ours beside theirs"
    async with own.forwarded(f"svc/{RELEASE}-gateway-rest", 80) as port:
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, timeout=15) as client:
            placed = await client.post("/v1/orders", json=ORDER, headers={"Idempotency-Key": str(uuid.uuid4())})
        assert placed.status_code == httpx.codes.OK, placed.text
        assert await all_ended(url, [placed.json()["name"]], within=60) == {"SHIPPED": 1}
