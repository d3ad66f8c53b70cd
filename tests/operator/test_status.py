"""What a pool's status says, and when it is worth a write."""

from dataclasses import replace

import pytest

from laneway.scaling.model import QueueReading, Reading, Share, WorkerReading
from laneway_operator.status import changes, rounded, urgent
from tests.operator.conftest import World
from tests.operator.fakes import NAMESPACE, pool


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


async def test_what_was_learned_is_told_and_another_operator_begins_with_it(world: World) -> None:
    learned = {"serviceSeconds": "30", "startSeconds": "20", "slotsPerPod": 2}
    world.cluster.add(replace(pool(), status={"learned": learned}))
    world.signals.waiting = 1
    await world.look()
    assert "30 s each, 2 slots a pod, start-up 20.0 s" in world.cluster.events[0]["message"]
    assert world.cluster.status()["learned"] == learned


@pytest.fixture
def busy(world: World) -> World:
    """A pool that has been looked at twice, of which everything is known: two queues, two workers, one of them drains."""
    world.cluster.add(pool(queues=[{"name": "mail"}, {"name": "bulk"}], objective={"waiting": "2s"}, mode="PausedOut"))
    world.cluster.deploy(replicas=2)
    one, two = sorted(pod.name for pod in world.cluster.pods((NAMESPACE, "worker")))
    queues = (
        QueueReading(name="mail", waiting=7, oldest_seconds=3, parked=3, oldest_parked_seconds=90),
        QueueReading(name="bulk", waiting=1, oldest_seconds=12, parked=1, oldest_parked_seconds=600),
    )
    workers = (
        WorkerReading(pod=one, slots=4, shares={"mail": Share(active=2, reserved=1, processed=10, busy_seconds=2)}),
        WorkerReading(pod=two, slots=4, shares={"bulk": Share(active=1)}, draining=True),
    )
    world.signals.said = Reading(at=0, queues=queues, workers=workers, drained=frozenset({two}), unacked=6, orphans=2)
    return world


async def test_everything_that_is_known_of_a_pool_is_in_its_status(busy: World) -> None:
    await busy.look(2)
    status = dict(busy.cluster.status())
    assert status.pop("conditions")
    assert status == {
        "observedGeneration": 1,
        "queue": "mail,bulk",
        "selector": "app=worker",
        "replicas": 2,
        "readyReplicas": 2,
        "desiredReplicas": 2,
        "reason": "Steady",
        "objectiveMet": "False",
        "accuracy": "Full",
        "waiting": 8,
        "oldestSeconds": 12,
        "reserved": 1,
        "running": 3,
        "parked": 4,
        "oldestParkedSeconds": 600,
        "warmMinimum": 1,
        "learned": {"slotsPerPod": 4},
        "draining": ["worker-2"],
    }


async def test_every_input_and_decision_is_a_metric(busy: World) -> None:
    busy.metrics.follow(busy.poller.outcomes, lambda: True, lambda: True)
    await busy.look(2)
    told = {
        each.name.removeprefix("laneway_operator_pool_"): [(sample.labels, sample.value) for sample in each.samples]
        for each in busy.metrics.registry.collect()
    }
    of_pool = {"namespace": NAMESPACE, "pool": "mail"}
    conditions = {labels["type"]: value for labels, value in told.pop("condition")}
    assert conditions == {"MetricsAvailable": 1, "ObjectiveAttainable": 0, "ScalingActive": 0}
    assert {name: told[name] for name in EVERY} == {name: [(of_pool, value)] for name, value in EVERY.items()}
    assert {name for name, samples in told.items() if samples and samples[0][0] == of_pool} == set(EVERY)


EVERY = {
    "waiting": 8, "held": 4, "reserved": 1, "orphans": 2, "oldest_seconds": 12, "parked": 4, "oldest_parked_seconds": 600,
    "workers": 2, "draining": 1, "replicas": 2, "ready": 2, "desired": 2, "objective_met": 0, "arrivals_per_second": 0,
    "completions_per_second": 0, "service_seconds": 1, "startup_seconds": 5, "slots": 4, "need_steady": 0,
    "need_backlog": 2, "warm_minimum": 1, "minimum": 0, "maximum": 10,
}  # fmt: skip


async def test_what_the_operator_does_is_a_metric(world: World) -> None:
    world.metrics.follow(world.poller.outcomes, lambda: True, lambda: True)
    world.cluster.add(pool())
    world.signals.waiting = 400
    await world.look()
    text = world.metrics.render()[0].decode()
    for line in (
        'laneway_operator_pool_waiting{namespace="shop",pool="mail"} 400.0',
        'laneway_operator_decisions_total{reason="AtMaximum"} 1.0',
        'laneway_operator_scales_total{direction="out"} 1.0',
        "laneway_operator_leader 1.0",
    ):
        assert line in text
    world.cluster.resources.clear()
    await world.look()
    assert 'pool="mail"' not in world.metrics.render()[0].decode()
