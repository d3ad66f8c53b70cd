"""What a pool's status says, and when it is worth a write."""

from dataclasses import replace

import pytest

from laneway_operator.status import changes, rounded, urgent
from tests.operator.conftest import World
from tests.operator.fakes import pool


def status_writes(world: World) -> int:
    return sum(each[0] == "status" for each in world.cluster.writes)


@pytest.mark.parametrize(
    ("value", "expected"), [(None, None), (0, 0), (7.4, 7), (99, 99), (101, 100), (1234, 1200), (87_654, 88_000)]
)
def test_numbers_are_rounded_to_two_digits_from_a_hundred_on(value: float | None, expected: int | None) -> None:
    assert rounded(value) == expected


def test_a_patch_names_what_is_new_and_what_is_gone() -> None:
    assert changes({"a": 1, "b": 2}, {"a": 1, "c": 3}) == {"b": None, "c": 3}
    assert changes({"a": 1}, {"a": 1}) == {}


def test_numbers_may_wait_and_decisions_may_not() -> None:
    assert not urgent({"waiting": 4, "oldestSeconds": 1})
    assert urgent({"waiting": 4, "desiredReplicas": 2})


async def test_a_pool_where_nothing_happens_is_written_once(world: World) -> None:
    world.cluster.add(pool())
    await world.look(100)
    assert status_writes(world) == 1


async def test_another_operator_does_not_write_what_is_written(world: World) -> None:
    world.cluster.add(pool())
    await world.look(3)
    world.restart()
    await world.look(3)
    assert status_writes(world) == 1


async def test_numbers_alone_are_written_every_five_seconds(world: World) -> None:
    world.cluster.add(pool(mode="Paused"))
    await world.look()
    before = status_writes(world)
    for waiting in range(1, 41):
        world.signals.waiting = waiting
        await world.look()
    assert 7 <= status_writes(world) - before <= 12


async def test_of_many_pools_that_work_numbers_are_written_a_few_a_second_and_decisions_at_once(world: World) -> None:
    for number in range(40):
        world.cluster.deploy(f"worker-{number}")
        world.cluster.add(pool(f"pool-{number}", target={"name": f"worker-{number}"}, mode="DryRun"))
    await world.look(5)
    before = status_writes(world)
    world.signals.waiting = 400
    await world.look()
    assert status_writes(world) - before == 40
    before = status_writes(world)
    for _ in range(20):
        world.signals.waiting += 100
        await world.look()
    assert 60 <= status_writes(world) - before <= 100


async def test_a_condition_keeps_the_time_of_its_last_change(world: World) -> None:
    world.cluster.add(pool())
    await world.look()
    before = world.cluster.status()["conditions"]
    world.signals.waiting = 400
    await world.look(10)
    after = world.cluster.status()["conditions"]
    assert before[0]["lastTransitionTime"] == after[0]["lastTransitionTime"]


async def test_the_last_scale_is_told_with_its_reason(world: World) -> None:
    world.cluster.add(pool())
    world.signals.waiting = 400
    await world.look(5)
    last = world.cluster.status()["lastScale"]
    assert (last["from"], last["to"]) == (0, 10)


async def test_an_event_tells_of_each_new_decision_once_with_its_numbers(world: World) -> None:
    world.cluster.add(pool())
    world.signals.waiting = 400
    await world.look()
    world.cluster.resources["shop", "mail"] = replace(world.cluster.resources["shop", "mail"])
    reasons = [each["reason"] for each in world.cluster.events]
    assert len(reasons) == 1
    assert "400 waiting" in world.cluster.events[0]["message"]
    assert world.cluster.events[0]["involvedObject"]["uid"] == "uid-mail"


async def test_every_input_and_decision_is_a_metric(world: World) -> None:
    world.metrics.follow(world.poller.outcomes, lambda: True)
    world.cluster.add(pool())
    world.signals.waiting = 400
    await world.look()
    text = world.metrics.render()[0].decode()
    for line in (
        'laneway_operator_pool_waiting{namespace="shop",pool="mail"} 400.0',
        'laneway_operator_pool_desired{namespace="shop",pool="mail"} 10.0',
        'laneway_operator_pool_condition{namespace="shop",pool="mail",type="MetricsAvailable"} 1.0',
        'laneway_operator_scales_total{direction="out"} 1.0',
        "laneway_operator_leader 1.0",
    ):
        assert line in text
    world.cluster.resources.clear()
    await world.look()
    assert 'pool="mail"' not in world.metrics.render()[0].decode()
