"""What is kept of the objects that kopf's watches bring."""

from typing import Any

import pytest

from laneway_operator import watch

META = {"namespace": "shop", "name": "worker", "uid": "u", "generation": 2, "resourceVersion": "7"}
OWNER = [{"kind": "ReplicaSet", "name": "worker-5d8f", "controller": True}]


def deployment(**status: Any) -> dict[str, Any]:
    spec = {"replicas": 3, "selector": {"matchLabels": {"b": "2", "a": "1"}}}
    return {"metadata": META, "spec": spec, "status": {"observedGeneration": 2, **status}}


async def test_a_deployment_is_kept_as_far_as_scaling_goes() -> None:
    found = await watch._deployment(deployment(replicas=3, updatedReplicas=3, readyReplicas=2))
    assert found == {
        ("shop", "worker"): watch.Deployment(
            version="7", replicas=3, current=3, ready=2, rollout=False, selector="a=1,b=2"
        )
    }


@pytest.mark.parametrize(
    "status", [{"replicas": 4, "updatedReplicas": 1}, {"replicas": 3, "updatedReplicas": 3, "observedGeneration": 1}]
)
async def test_a_template_that_is_not_everywhere_yet_is_a_rollout(status: dict[str, Any]) -> None:
    found = await watch._deployment(deployment(**status))
    assert found["shop", "worker"].rollout


def pod(name: str = "worker-5d8f-abc", **meta: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "shop",
            "name": name,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"pod-template-hash": "5d8f"},
            "ownerReferences": OWNER,
            "annotations": {"controller.kubernetes.io/pod-deletion-cost": "-1000000"},
            **meta,
        },
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


async def test_a_pod_is_found_by_its_deployment() -> None:
    found = await watch._pod(pod())
    assert found == {
        ("shop", "worker"): watch.PodState(
            name="worker-5d8f-abc", created_at=1_767_225_600.0, ready=True, cost=-1_000_000
        )
    }


@pytest.mark.parametrize(
    "meta",
    [
        {"deletionTimestamp": "2026-01-01T00:00:00Z"},
        {"ownerReferences": [{"kind": "Job", "name": "worker", "controller": True}]},
        {"ownerReferences": []},
        {"labels": {}},
    ],
)
async def test_a_pod_that_goes_or_that_is_of_no_deployment_does_not_count(meta: dict[str, Any]) -> None:
    assert await watch._pod(pod(**meta)) == {}


async def test_an_autoscaler_is_found_by_what_it_scales() -> None:
    body = {
        "metadata": {"namespace": "shop", "name": "hpa"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "w"}},
    }
    assert await watch._autoscaler(body) == {("shop", "w"): "hpa"}
    body["spec"]["scaleTargetRef"]["kind"] = "StatefulSet"
    assert await watch._autoscaler(body) == {}


def test_kopf_is_given_no_handler_that_changes_an_object() -> None:
    registry = watch.KopfWatch().registry
    assert not registry._changing.get_all_handlers()
    assert not registry._spawning.get_all_handlers()
    assert not registry._webhooks.get_all_handlers()
