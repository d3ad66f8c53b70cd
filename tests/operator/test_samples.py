"""The sample WorkerPools: each can be read, and those of the shop name what its contracts and its chart name."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from laneway.cli import discovery
from laneway.scaling.signals import Workers
from laneway_operator.resource import Resource, plan_of

SAMPLES = Path("k8s/samples")


def objects(path: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(path.read_text()) if each]


def resource(body: dict[str, Any]) -> Resource:
    name = body["metadata"]["name"]
    return Resource(namespace="n", name=name, uid=name, generation=1, created="", spec=body["spec"], status={})


POOLS = [each for path in sorted(SAMPLES.glob("*/pool*.yaml")) for each in objects(path)]


@pytest.mark.parametrize("body", POOLS, ids=lambda body: body["metadata"]["name"])
def test_a_sample_can_be_read(body: dict[str, Any]) -> None:
    assert plan_of(resource(body)).intent.maximum > 0


@pytest.mark.parametrize("body", objects(SAMPLES / "shop/pools.yaml"), ids=lambda body: body["metadata"]["name"])
def test_a_pool_of_the_shop_has_all_queues_of_its_service(body: dict[str, Any]) -> None:
    [service] = discovery.installed([body["metadata"]["name"]])
    plan = plan_of(resource(body))
    assert plan.intent.queues == tuple(service.queues)
    assert plan.workers is Workers.LANEWAY
    assert body["spec"]["target"]["name"] == f"shop-{service.name}-worker"
    assert plan.broker.name == f"shop-{service.name}"


def test_the_workers_of_a_sample_leave_their_number_to_the_pool() -> None:
    for body in objects(SAMPLES / "plain-celery/workers.yaml"):
        assert "replicas" not in body["spec"]
    values = yaml.safe_load((SAMPLES / "shop/values.yaml").read_text())["laneway"]["services"]
    pools = {each["metadata"]["name"] for each in objects(SAMPLES / "shop/pools.yaml")}
    assert {name for name, service in values.items() if service["worker"]["scale"]} == pools
