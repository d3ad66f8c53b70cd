"""The whole operator, on fakes: from what waits to what the Deployment is told, and back."""

import pytest

from laneway.errors import Unavailable
from laneway_operator.apply import FIRST_TO_GO
from tests.operator.conftest import World
from tests.operator.fakes import NAMESPACE, pool

AWAY = Unavailable("The broker does not answer.")


async def scaled_out(world: World, waiting: int = 100) -> int:
    """A pool with a backlog that has been scaled out for it; how many pods that were."""
    world.cluster.add(pool())
    world.signals.waiting = waiting
    await world.until(lambda: bool(world.cluster.scales()))
    return world.cluster.scales()[-1]


async def test_a_burst_on_zero_is_answered_at_the_first_look_in_one_step(world: World) -> None:
    world.cluster.add(pool())
    world.signals.waiting = 400
    await world.look()
    assert world.cluster.scales() == [10]
    await world.look(3)
    assert world.cluster.scales() == [10]


async def test_a_burst_that_is_still_coming_in_is_answered_in_one_step_within_a_second(world: World) -> None:
    world.cluster.add(pool(maxReplicas=100))
    await world.look()
    begin = world.clock.now
    world.signals.coming, world.signals.stamped = [90, 200, 110], False
    await world.look()
    assert world.clock.now - begin < 1 + 1, "a second until the look, and less than one for the burst"
    assert len(world.cluster.scales()) == 1
    [event] = world.cluster.events
    assert "400 waiting" in event["message"]
    await world.look(2)
    assert len(world.cluster.scales()) == 1


async def test_a_pool_to_which_a_burst_is_coming_does_not_free_who_drains_beside_it(world: World) -> None:
    for name, replicas, most in (("asleep", 0, 100), ("drains", 2, 1)):
        world.cluster.deploy(name, replicas=replicas)
        world.cluster.add(pool(name, target={"name": name}, maxReplicas=most))
    drains, busy = (pod.name for pod in world.cluster.pods((NAMESPACE, "drains")))
    world.signals.holds, world.signals.drained = {drains: 1, busy: 1}, {drains}
    world.signals.coming, world.signals.stamped = [50, 60], False
    await world.look()
    assert world.cluster.deployments[NAMESPACE, "asleep"].replicas > 0
    assert drains not in [pod for call in world.signals.calls for pod in call[1:]]


async def test_an_idle_pool_goes_to_zero_and_no_pod_that_holds_a_message_is_killed(world: World) -> None:
    pods = await scaled_out(world)
    busy = sorted(pod.name for pod in world.cluster.pods(("shop", "worker")))[0]
    world.signals.waiting, world.signals.holds = 0, {busy: 1}
    await world.until(lambda: world.cluster.deployments["shop", "worker"].replicas == 1)
    assert busy not in world.cluster.killed
    assert len(world.cluster.killed) == pods - 1
    world.signals.holds = {}
    await world.until(lambda: world.cluster.deployments["shop", "worker"].replicas == 0)


async def test_a_pod_is_drained_then_marked_then_looked_at_again_before_the_scale_is_patched(world: World) -> None:
    await scaled_out(world, waiting=400)
    world.signals.waiting = 0
    await world.until(lambda: len(world.cluster.scales()) > 1)
    order = [each[0] for each in world.cluster.writes if each[0] in ("cost", "scale")]
    assert order.index("cost") < len(order) - 1 - order[::-1].index("scale")
    assert world.signals.calls[0][0] == "drain"
    marked = {each[1] for each in world.cluster.writes if each[0] == "cost" and each[2] == FIRST_TO_GO}
    assert set(world.cluster.killed) <= marked


async def test_the_look_that_marks_a_pod_does_not_patch_the_scale(world: World) -> None:
    await scaled_out(world)
    world.signals.waiting = 0
    await world.until(lambda: any(each[0] == "cost" for each in world.cluster.writes))
    assert len(world.cluster.scales()) == 1
    assert not world.cluster.killed


async def test_load_that_returns_takes_the_drain_back(world: World) -> None:
    await scaled_out(world, waiting=400)
    world.signals.waiting = 0
    await world.until(lambda: any(each[0] == "cost" for each in world.cluster.writes))
    world.signals.waiting = 400
    await world.look(2)
    assert not world.signals.drained
    assert not world.cluster.killed
    assert all(pod.cost == 0 for pod in world.cluster.pods(("shop", "worker")))


async def test_a_pod_that_is_not_ready_but_holds_messages_keeps_the_scale(world: World) -> None:
    from dataclasses import replace

    await scaled_out(world, waiting=400)
    pods = world.cluster.pods_of["shop", "worker"]
    busy = sorted(pods)[-1]
    pods[busy] = replace(pods[busy], ready=False)
    world.signals.waiting, world.signals.holds = 0, {busy: 2}
    await world.look(30)
    assert not world.cluster.killed
    world.signals.holds = {}
    await world.until(lambda: world.cluster.deployments["shop", "worker"].replicas == 0)


async def test_a_broker_that_does_not_answer_scales_nothing_in_and_is_said_at_once(world: World) -> None:
    pods = await scaled_out(world)
    world.signals.waiting, world.signals.away = 0, AWAY
    await world.look(2)
    assert world.cluster.condition("MetricsAvailable")[0] == "False"
    await world.look(300)
    assert world.cluster.deployments["shop", "worker"].replicas == pods
    world.signals.away, world.signals.waiting = None, 400
    await world.look()
    assert world.cluster.condition("MetricsAvailable")[0] == "True"
    assert world.cluster.scales()[-1] == 10


async def test_the_secret_of_a_broker_that_does_not_answer_is_read_again(world: World) -> None:
    world.cluster.add(pool())
    await world.look(5)
    assert world.cluster.writes.count(("secret", "broker")) == 1
    world.signals.away = AWAY
    await world.look(5)
    assert world.cluster.writes.count(("secret", "broker")) == 2


async def test_after_some_failures_the_fallback_holds(world: World) -> None:
    world.cluster.add(pool(fallback={"replicas": 4, "afterFailures": 3}))
    world.signals.away = AWAY
    await world.look(2)
    assert world.cluster.scales() == []
    await world.look()
    assert world.cluster.scales() == [4]
    assert [each["reason"] for each in world.cluster.events][-1] == "Fallback"


async def test_the_fallback_also_holds_when_nobody_knows_where_the_broker_is(world: World) -> None:
    world.cluster.secrets.clear()
    world.cluster.add(pool(fallback={"replicas": 2, "afterFailures": 3}))
    await world.look(3)
    assert world.cluster.scales() == [2]
    assert "broker" in world.cluster.status()["conditions"][0]["message"]


async def test_an_api_server_that_is_away_changes_nothing_and_is_made_up_for_when_it_is_back(world: World) -> None:
    world.cluster.add(pool())
    await world.look()
    world.signals.waiting, world.cluster.away = 400, True
    await world.look(20)
    assert world.cluster.scales() == []
    world.cluster.away = False
    await world.look(2)
    assert world.cluster.scales() == [10]


async def test_while_the_api_server_is_away_nobody_begins_to_drain(world: World) -> None:
    await scaled_out(world, waiting=400)
    world.signals.waiting = 0
    world.lose()
    await world.look(60)
    assert not world.signals.calls
    world.regain()
    await world.until(lambda: world.cluster.deployments["shop", "worker"].replicas == 0)


async def test_an_api_server_that_goes_lets_who_drains_consume_again(world: World) -> None:
    await scaled_out(world, waiting=400)
    world.signals.waiting = 0
    world.signals.holds = {pod.name: 1 for pod in world.cluster.pods(("shop", "worker"))}
    await world.until(lambda: bool(world.signals.drained))
    world.lose()
    await world.look(2)
    assert not world.signals.drained


async def test_a_pod_that_a_patch_without_an_answer_may_still_delete_stays_drained(world: World) -> None:
    await scaled_out(world, waiting=400)
    pods = [pod.name for pod in world.cluster.pods(("shop", "worker"))]
    world.signals.waiting, world.signals.holds = 0, dict.fromkeys(pods[1:], 1)
    await world.until(lambda: ("cost", pods[0], FIRST_TO_GO) in world.cluster.writes)
    world.lose()
    await world.look(20)
    assert world.signals.drained == {pods[0]}
    world.signals.waiting = 400
    world.regain()
    await world.look(2)
    assert not world.signals.drained
    assert not world.cluster.killed


async def test_what_was_decided_while_the_api_server_was_away_is_told_when_it_is_back(world: World) -> None:
    await scaled_out(world, waiting=400)
    world.signals.waiting = 0
    await world.look(2)
    world.lose()
    await world.look(90)
    away_until = world.clock.now
    world.signals.waiting = 400
    world.regain()
    await world.look()
    [event] = [each for each in world.cluster.events if each["reason"] == "ClusterUnknown"]
    assert "nothing scales in while the cluster does not answer" in event["message"]
    assert event["type"] == "Warning"
    assert world.clock.now - away_until <= 3
    assert world.cluster.condition("ScalingActive") == ("True", "Active")


async def test_a_scale_that_is_refused_is_said_until_it_is_not(world: World) -> None:
    world.cluster.add(pool())
    world.signals.waiting, world.cluster.forbidden = 400, "admission webhook `freeze` denied the request"
    await world.look(10)
    assert world.cluster.condition("ScalingActive") == ("False", "NotCarriedOut")
    assert "freeze" in world.cluster.status()["conditions"][2]["message"]
    [event] = [each for each in world.cluster.events if each["reason"] == "NotCarriedOut"]
    assert event["type"] == "Warning"
    assert "`freeze` denied the request" in event["message"]
    assert "400 waiting" in event["message"]
    world.cluster.forbidden = ""
    await world.look(2)
    assert world.cluster.scales() == [10]
    assert world.cluster.condition("ScalingActive") == ("True", "Active")


async def test_a_drain_that_the_broker_refuses_is_said_and_no_pod_goes(world: World) -> None:
    await scaled_out(world)
    world.signals.waiting, world.signals.read_only = 0, Unavailable("NOPERM: this user may not run SADD.")
    await world.look(30)
    assert world.cluster.condition("ScalingActive") == ("False", "NotCarriedOut")
    assert not world.cluster.killed


async def test_a_decision_made_on_an_old_look_is_refused_and_made_anew(world: World) -> None:
    from dataclasses import replace

    world.cluster.add(pool())
    seen = world.cluster.deployments["shop", "worker"]
    world.cluster.deployments["shop", "worker"] = replace(seen, version="later")
    world.cluster.deployment = lambda key: seen  # type: ignore[method-assign, assignment]
    world.signals.waiting = 400
    await world.look(2)
    assert world.cluster.scales() == []
    del world.cluster.deployment  # type: ignore[method-assign]
    await world.look()
    assert world.cluster.scales() == [10]


async def test_no_scale_in_while_the_deployment_rolls_out(world: World) -> None:
    from dataclasses import replace

    await scaled_out(world)
    world.signals.waiting = 0
    key = "shop", "worker"
    world.cluster.deployments[key] = replace(world.cluster.deployments[key], rollout=True)
    await world.look(60)
    assert not world.cluster.killed
    world.cluster.deployments[key] = replace(world.cluster.deployments[key], rollout=False)
    await world.until(lambda: world.cluster.deployments[key].replicas == 0)


async def test_a_pod_that_ignores_the_drain_is_reported_and_not_killed(world: World) -> None:
    await scaled_out(world, waiting=400)
    world.signals.waiting, world.signals.obey = 0, False
    world.signals.holds = {pod.name: 1 for pod in world.cluster.pods(("shop", "worker"))}
    await world.look(200)
    assert not world.cluster.killed
    world.signals.holds = dict.fromkeys(list(world.signals.holds)[:9], 1)
    await world.look(100)
    assert world.cluster.status()["ignoringDrain"]
    assert "DrainOverdue" in {each["reason"] for each in world.cluster.events}


async def test_a_dry_run_says_what_it_would_do_and_does_nothing(world: World) -> None:
    world.cluster.add(pool(mode="DryRun"))
    world.signals.waiting = 400
    await world.look(3)
    assert world.cluster.scales() == []
    assert world.cluster.status()["desiredReplicas"] == 10
    assert world.cluster.events[0]["message"].startswith("Dry run: ")


@pytest.mark.parametrize(("mode", "waiting", "expected"), [("Paused", 400, 0), ("PausedOut", 400, 0)])
async def test_a_paused_pool_is_not_scaled_out(world: World, mode: str, waiting: int, expected: int) -> None:
    world.cluster.add(pool(mode=mode))
    world.signals.waiting = waiting
    await world.look(5)
    assert world.cluster.deployments["shop", "worker"].replicas == expected


async def test_a_pool_that_is_paused_in_never_gets_fewer(world: World) -> None:
    world.cluster.add(pool(mode="PausedIn"))
    world.signals.waiting = 400
    await world.look()
    world.signals.waiting = 0
    await world.look(100)
    assert world.cluster.scales() == [10]
    assert not world.signals.drained


async def test_consuming_is_paused_and_resumed(world: World) -> None:
    from dataclasses import replace

    world.cluster.add(pool(consume="Paused"))
    await world.look(3)
    assert world.signals.calls == [("pause",)]
    world.cluster.add(replace(pool(), generation=2))
    await world.look(3)
    assert world.signals.calls == [("pause",), ("resume",)]


async def test_a_window_of_the_schedule_raises_the_floor(world: World) -> None:
    evening = {"name": "evening", "start": "0 20 * * *", "end": "30 20 * * *", "minReplicas": 3}  # it is 20:26
    world.cluster.add(pool(schedule=[evening]))
    await world.look()
    assert world.cluster.scales() == [3]
    world.clock.advance(600)
    await world.until(lambda: world.cluster.deployments["shop", "worker"].replicas == 0)


async def test_a_new_operator_goes_on_where_the_last_one_was_killed(world: World) -> None:
    await scaled_out(world, waiting=400)
    world.signals.waiting = 0
    await world.until(lambda: any(each[0] == "cost" for each in world.cluster.writes))
    for _ in range(20):
        world.restart()
        await world.look(4)
    assert set(world.cluster.killed) <= world.signals.drained | set(world.cluster.killed)
    await world.until(lambda: world.cluster.deployments["shop", "worker"].replicas == 0)
    assert len(set(world.cluster.killed)) == 10
