"""What holds of every decision, whatever is observed."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from laneway.scaling.model import (
    Fallback,
    Intent,
    Memory,
    Mode,
    Objective,
    Observation,
    Pod,
    QueueReading,
    Reading,
    Share,
    Unknown,
    WorkerReading,
)
from laneway.scaling.onset import AGAIN, SETTLES
from laneway.scaling.sizing import decide
from laneway.scaling.staffing import Backlog, backlog_pods, steady_servers
from tests.unit.scaling.conftest import Pool

NAMES = [f"p{n}" for n in range(8)]
counts = st.integers(0, 50)
seconds = st.floats(0, 1e4)

intents = st.builds(
    Intent,
    queues=st.just(("q",)),
    minimum=st.integers(0, 3),
    maximum=st.integers(3, 30),
    objective=st.builds(Objective, seconds=st.floats(0.1, 600), percentile=st.floats(0.5, 0.999)),
    fallback=st.none() | st.builds(Fallback, replicas=st.integers(0, 40), after_failures=st.integers(1, 4)),
    memory_seconds=st.floats(0, 100),
    mode=st.sampled_from(Mode),
    slots=st.integers(1, 16),
)


@st.composite
def observations(draw: st.DrawFn) -> tuple[float, Observation]:
    """How long after the last one, and what is seen."""
    after = draw(st.floats(0, 100))
    there = draw(st.sets(st.sampled_from(NAMES)))
    pods = tuple(Pod(name=name, created_at=draw(st.floats(0, 1000)), ready=draw(st.booleans()), fixed=draw(st.booleans()))
                 for name in sorted(there))  # fmt: skip
    replicas = draw(st.integers(0, 30))
    rollout, stale = draw(st.booleans()), draw(st.booleans())
    if draw(st.integers(0, 4)) == 0:
        return after, Observation(
            reading=Unknown(at=0, reason="Away."), replicas=replicas, pods=pods, rollout=rollout, stale=stale
        )
    workers = tuple(
        WorkerReading(pod=name, slots=draw(st.integers(1, 16)), draining=draw(st.booleans()),
                      breakers_open=draw(st.integers(0, 1)),
                      shares={"q": Share(active=draw(counts), reserved=draw(counts), processed=draw(st.integers(0, 10**6)),
                                         busy_seconds=draw(seconds))})
        for name in draw(st.sets(st.sampled_from(NAMES))))  # fmt: skip
    queue = QueueReading(name="q", waiting=draw(st.integers(0, 10**6)), oldest_seconds=draw(st.none() | seconds))
    reading = Reading(
        at=0, queues=(queue,), workers=workers, drained=frozenset(draw(st.sets(st.sampled_from(NAMES)))),
        unacked=draw(counts), orphans=draw(st.integers(0, 3)), basic=draw(st.booleans()) and not workers,
        finished=draw(counts), held_seconds=draw(seconds),
    )  # fmt: skip
    return after, Observation(reading=reading, replicas=replicas, pods=pods, rollout=rollout, stale=stale)


@settings(max_examples=100, deadline=None)
@given(intents, st.lists(observations(), min_size=1, max_size=8))
def test_every_decision_is_safe(intent: Intent, seen: list[tuple[float, Observation]]) -> None:
    memory, now = Memory(), 1000.0
    for after, observation in seen:
        now += after
        reading = observation.reading
        if isinstance(reading, Reading):
            observation = replace(observation, reading=replace(reading, at=now))
        decision, memory = decide(intent, observation, memory, now)
        again, _ = decide(intent, observation, memory, now)
        names = {pod.name for pod in observation.pods}
        fewer = observation.replicas - decision.replicas

        assert 0 <= decision.replicas <= max(intent.maximum, observation.replicas)
        assert decision.desired >= 0
        assert not set(decision.drain) & set(decision.undrain)
        assert set(decision.remove) <= names
        if isinstance(reading, Unknown):
            assert fewer <= 0, "unknown is not zero"
            assert not decision.drain
            assert not decision.remove
            continue
        if decision.look_again is not None:
            assert observation.replicas == decision.replicas == 0, "only a pool of zero is waited for"
            assert not (decision.drain or decision.undrain or decision.remove)
        if observation.stale:
            assert fewer <= 0, "nothing scales in on an old look"
            assert not decision.drain
        workers = {worker.pod: worker for worker in reading.workers}
        for name in decision.remove:
            worker = workers.get(name)
            assert worker is None or (worker.held == 0 and worker.draining and name in reading.drained)
        if fewer > 0:
            assert intent.mode not in (Mode.PAUSED, Mode.PAUSED_IN)
            assert not observation.rollout
            assert reading.basic or fewer <= len(decision.remove) + max(0, observation.replicas - len(names))
            assert decision.replicas > 0 or not (reading.held or reading.orphans or reading.waiting)
        if fewer < 0:
            assert intent.mode not in (Mode.PAUSED, Mode.PAUSED_OUT)
            assert set(decision.undrain) == set(reading.drained), "who drains is taken back before pods are added"
        assert again.message, "a second decision on the same facts is possible"


@given(st.lists(st.integers(0, 400), min_size=12, max_size=12), st.none() | st.floats(0, 1))
def test_a_burst_is_answered_once_it_has_come_in_or_half_a_second_after_it_began(
    coming: list[int], age: float | None
) -> None:
    pool = Pool()
    pool.look(0)
    seen: list[int] = []
    decision = None
    for more in [1, *coming]:  # a look each AGAIN from the first that sees something on
        seen.append(more)
        oldest = None if age is None else age + AGAIN * (len(seen) - 1)
        decision = pool.look(sum(seen), after=AGAIN, oldest=oldest)
        if decision.look_again is None:
            break
    assert decision is not None
    assert decision.replicas > 0
    waited = AGAIN * (len(seen) - 1)
    for_long = (age or 0) + waited > SETTLES - 1e-6
    assert for_long or seen[-1] == 0 or decision.replicas == pool.intent.maximum, (
        "it was there, or more could not matter"
    )
    assert waited < SETTLES + AGAIN
    assert pool.memory.onset is None


@given(st.floats(0.01, 200), st.floats(0.001, 60), st.floats(0, 60), st.floats(0.5, 0.99))
def test_more_load_never_needs_fewer_servers(rate: float, service: float, within: float, percentile: float) -> None:
    servers = steady_servers(rate, service, within=within, percentile=percentile, at_most=100_000)
    more = steady_servers(rate * 1.5, service, within=within, percentile=percentile, at_most=100_000)
    stricter = steady_servers(rate, service, within=within / 2, percentile=percentile, at_most=100_000)
    assert servers > rate * service, "stable"
    assert more >= servers
    assert stricter >= servers


@given(st.integers(1, 10**6), st.floats(0.001, 600), st.integers(1, 64), st.floats(0, 60), st.floats(1, 600))
def test_a_longer_backlog_never_needs_fewer_pods(
    waiting: int, service: float, slots: int, startup: float, objective: float
) -> None:
    def needed(waiting: int) -> int:
        return backlog_pods(
            Backlog(waiting=waiting, active=0, rate=0, service=service, slots=slots, consuming=0, starting=(),
                    startup=startup, left=objective, objective=objective)
        )  # fmt: skip

    assert 1 <= needed(waiting) <= needed(2 * waiting)
    assert needed(waiting) <= -(-waiting // slots), "never more slots than messages"
