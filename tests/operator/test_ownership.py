"""Whose a Deployment is, and what becomes of it when its WorkerPool goes."""

from dataclasses import replace

import pytest

from tests.operator.conftest import World
from tests.operator.fakes import NAMESPACE, pool


async def test_a_second_pool_on_a_deployment_is_refused_and_the_older_goes_on(world: World) -> None:
    world.cluster.add(pool("younger", created="2026-02-01T00:00:00Z"), pool("older"))
    world.signals.waiting = 400
    await world.look()
    assert world.cluster.condition("ScalingActive", "younger") == ("False", "ConflictingWorkerPool")
    assert "older" in world.cluster.status("younger")["conditions"][2]["message"]
    assert world.cluster.condition("ScalingActive", "older")[0] == "True"
    assert world.cluster.scales() == [10]


async def test_a_deployment_that_an_autoscaler_scales_is_not_touched(world: World) -> None:
    world.cluster.add(pool())
    world.cluster.hpas[NAMESPACE, "worker"] = ["keda-hpa-worker"]
    world.signals.waiting = 400
    await world.look(5)
    assert world.cluster.scales() == []
    assert world.cluster.condition("ScalingActive") == ("False", "ConflictingAutoscaler")
    assert [each["reason"] for each in world.cluster.events] == ["ConflictingAutoscaler"]
    world.cluster.hpas.clear()
    await world.look()
    assert world.cluster.scales() == [10]


async def test_a_dry_run_says_what_it_would_do_beside_the_autoscaler_that_does_it(world: World) -> None:
    world.cluster.add(pool(mode="DryRun", consume="Paused"))
    world.cluster.deploy(replicas=2)
    world.cluster.hpas[NAMESPACE, "worker"] = ["keda-hpa-worker"]
    await world.look(3)
    assert world.cluster.condition("ScalingActive") == ("False", "ConflictingAutoscaler")
    assert world.cluster.condition("MetricsAvailable") == ("True", "Reporting")
    assert world.cluster.status()["replicas"] == 2
    assert world.cluster.status()["desiredReplicas"] == 0
    world.cluster.add(replace(world.cluster.resources[NAMESPACE, "mail"], spec=pool(mode="DryRun").spec, generation=2))
    world.signals.waiting = 400
    await world.look(3)
    assert world.cluster.status()["desiredReplicas"] == 10
    world.cluster.resources.clear()
    await world.look()
    assert world.cluster.scales() == []
    assert world.signals.calls == []


async def test_two_deployments_on_one_queue_do_not_take_back_each_others_drains(world: World) -> None:
    for name in ("cheap", "quick"):
        world.cluster.deploy(name, replicas=2)
        world.cluster.add(pool(name, target={"name": name}))
    busy = [pod.name for name in ("cheap", "quick") for pod in world.cluster.pods((NAMESPACE, name))]
    world.signals.holds = dict.fromkeys(busy, 1)
    await world.look(5)
    world.signals.holds = dict.fromkeys(busy[1::2], 1)
    while len(world.cluster.killed) < 2:
        taken_back = {pod for call, *pods in world.signals.calls if call == "undrain" for pod in pods}
        assert taken_back <= set(world.cluster.killed)
        await world.look()
    assert sorted(world.cluster.killed) == busy[0::2]


async def test_pools_that_share_a_queue_say_so_and_go_on(world: World) -> None:
    for name in ("cheap", "quick", "other"):
        world.cluster.deploy(name)
    world.cluster.add(
        pool("cheap", target={"name": "cheap"}),
        pool("quick", target={"name": "quick"}, queues=[{"name": "bulk"}, {"name": "mail"}]),
        pool("other", target={"name": "other"}, broker={"secretRef": {"name": "broker"}, "keyPrefix": "mine:"}),
    )
    world.signals.waiting = 400
    await world.look()
    assert world.cluster.condition("ScalingActive", "cheap") == ("True", "SharedQueue")
    assert world.cluster.condition("ScalingActive", "quick") == ("True", "SharedQueue")
    assert "The queue mail is also in shop/cheap:" in world.cluster.status("quick")["conditions"][2]["message"]
    assert world.cluster.condition("ScalingActive", "other") == ("True", "Active")
    assert world.cluster.scales() == [10, 10, 10]
    world.cluster.resources.pop((NAMESPACE, "cheap"))
    await world.look(2)
    assert world.cluster.condition("ScalingActive", "quick") == ("True", "Active")


async def test_a_shared_queue_hides_nothing_that_is_worse(world: World) -> None:
    for name in ("cheap", "quick"):
        world.cluster.deploy(name)
        world.cluster.add(pool(name, target={"name": name}, mode="PausedOut" if name == "cheap" else "Active"))
    world.signals.waiting, world.cluster.forbidden = 400, "no"
    await world.look()
    assert world.cluster.condition("ScalingActive", "cheap") == ("False", "PausedOut")
    assert world.cluster.condition("ScalingActive", "quick") == ("False", "NotCarriedOut")


async def test_a_deployment_that_is_missing_is_said_and_waited_for(world: World) -> None:
    world.cluster.deployments.clear()
    world.cluster.add(pool())
    world.signals.waiting = 400
    await world.look(2)
    assert world.cluster.condition("ScalingActive") == ("False", "TargetMissing")
    world.cluster.deploy()
    await world.look()
    assert world.cluster.scales() == [10]


async def test_a_cron_that_means_nothing_is_said_and_nothing_is_scaled(world: World) -> None:
    window = {"name": "day", "start": "99 * * * *", "end": "0 18 * * *", "minReplicas": 1}
    world.cluster.add(pool(schedule=[window]))
    world.signals.waiting = 400
    await world.look(2)
    assert world.cluster.condition("ScalingActive") == ("False", "Misconfigured")
    assert "'day'" in world.cluster.status()["conditions"][2]["message"]
    assert world.cluster.scales() == []


async def test_deleting_a_pool_leaves_the_deployment_and_lets_its_pods_consume(world: World) -> None:
    world.cluster.add(pool())
    world.signals.waiting = 400
    await world.look()
    world.signals.waiting = 0
    await world.until(lambda: bool(world.signals.drained))
    world.cluster.resources.clear()
    await world.look(100)
    assert world.cluster.deployments[NAMESPACE, "worker"].replicas == 10
    assert not world.signals.drained
    assert not world.cluster.killed
    assert not world.poller.outcomes


async def test_deleting_a_pool_that_had_paused_its_queue_resumes_it(world: World) -> None:
    world.cluster.add(pool(consume="Paused"))
    await world.look(2)
    world.cluster.resources.clear()
    await world.look()
    assert not world.signals.paused


async def test_a_pool_that_the_api_server_does_not_have_is_forgotten(world: World) -> None:
    ghost = pool()
    world.cluster.pools = lambda: [ghost]  # type: ignore[method-assign]
    await world.look()
    assert world.cluster.forgotten == [(ghost.key, ghost.uid)]


async def test_a_pod_that_the_api_server_does_not_have_is_forgotten(world: World) -> None:
    world.cluster.add(pool())
    world.signals.waiting = 400
    await world.look()
    world.cluster.gone = {pod.name for pod in world.cluster.pods((NAMESPACE, "worker"))}
    world.signals.waiting = 0
    await world.until(lambda: bool(world.cluster.forgotten))
    assert {id for _, id in world.cluster.forgotten} <= world.cluster.gone


async def test_one_who_does_not_lead_does_nothing(world: World) -> None:
    world.cluster.add(pool())
    world.signals.waiting, world.leading = 400, False
    await world.look(5)
    assert world.cluster.writes == []
    world.leading = True
    await world.look()
    assert world.cluster.scales() == [10]


async def test_a_pool_that_is_made_anew_under_its_name_begins_anew(world: World) -> None:
    world.cluster.add(pool())
    await world.look(3)
    world.cluster.add(replace(pool(), uid="another"))
    await world.look()
    assert world.cluster.status()["observedGeneration"] == 1


@pytest.mark.parametrize("value", [b"amqp://rabbit", b""])
async def test_a_secret_that_is_no_url_is_said(world: World, value: bytes) -> None:
    world.cluster.secrets[NAMESPACE, "broker"] = {"url": value}
    world.cluster.add(pool())
    await world.look()
    assert "no URL of Redis or Valkey" in world.cluster.status()["conditions"][0]["message"]
