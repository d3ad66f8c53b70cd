from dataclasses import replace

import pytest

from laneway.scaling.model import Consume, Fallback, Intent, Memory, Mode, Objective, Pod, Reason
from laneway.scaling.onset import AGAIN, SETTLES
from tests.unit.scaling.conftest import Pool, pods, worker


def test_an_idle_pool_stays_at_zero() -> None:
    decision = Pool().look(0)
    assert (decision.replicas, decision.reason, decision.objective_met) == (0, Reason.STEADY, True)


def test_a_burst_on_zero_is_answered_in_one_step() -> None:
    pool = Pool()
    pool.look(0)
    decision = pool.look(400, oldest=0.5)
    assert (decision.reason, decision.remove) == (Reason.FROM_ZERO, ())
    pool.replicas = decision.replicas
    born = pool.now
    numbers = {pool.look(400, oldest=0.5 + age, there=pods(
        *(str(n) for n in range(pool.replicas)), ready=False, created_at=born)).replicas for age in (1, 2)}  # fmt: skip
    assert numbers == {decision.replicas}, "what was asked for is on its way; nothing is asked for twice"
    assert 400 / (4 * 10) <= decision.replicas <= 50


def test_one_message_starts_one_worker() -> None:
    assert Pool().look(1, oldest=1).replicas == 1


def test_long_tasks_get_a_slot_each_when_the_objective_leaves_no_time_to_wait() -> None:
    pool = Pool(memory=Memory(service_seconds=600.0, startup_seconds=2.0))
    assert pool.look(40, oldest=0.5).replicas == 10


def test_the_need_is_never_above_the_maximum_and_that_is_said() -> None:
    pool = Pool(replicas=0)
    decision = pool.look(100_000, oldest=1)
    assert (decision.replicas, decision.reason) == (50, Reason.CEILING)
    assert decision.objective_attainable.holds is False
    assert "the maximum is 50" in decision.objective_attainable.message


def test_unknown_is_not_zero() -> None:
    pool = Pool(replicas=7)
    pool.look(0, [worker(f"w{n}") for n in range(7)])
    decisions = [pool.miss(after=600) for _ in range(20)]
    assert {(decision.replicas, decision.remove, decision.drain) for decision in decisions} == {(7, (), ())}
    assert decisions[0].metrics_available.holds is False
    assert decisions[0].objective_attainable.holds is None


def test_after_failures_in_a_row_the_fallback_holds_and_one_success_ends_it() -> None:
    pool = Pool(replicas=2)
    pool.intent = replace(pool.intent, fallback=Fallback(replicas=6, after_failures=3))
    assert [pool.miss().replicas for _ in range(4)] == [2, 2, 6, 6]
    pool.look(0, [worker("a"), worker("b")])
    assert pool.miss().replicas == 2


def test_the_fallback_never_takes_pods_away() -> None:
    pool = Pool(replicas=9)
    pool.intent = replace(pool.intent, fallback=Fallback(replicas=3, after_failures=1))
    assert pool.miss().replicas == 9


def test_a_scaler_that_begins_does_not_scale_in_before_it_knows_the_past() -> None:
    pool = Pool(replicas=5)
    workers = [worker(f"w{n}") for n in range(5)]
    first = pool.look(0, workers)
    assert (first.replicas, first.drain, first.reason) == (5, (), Reason.REMEMBERED)
    later = pool.look(0, workers, after=pool.intent.memory_seconds + 1)
    assert len(later.drain) == 5


def test_scale_in_stops_at_the_largest_need_of_the_recent_past() -> None:
    pool = Pool(replicas=8)
    pool.grow_old()
    workers = [worker(f"w{n}", 4) for n in range(8)]
    need = pool.look(60, workers, oldest=1).figures.need
    assert 0 < need < 8
    idle = [worker(f"w{n}", processed=20, busy=20.0) for n in range(8)]
    decision = pool.look(0, idle, after=5)
    assert (decision.desired, len(decision.drain)) == (need, 8 - need)


def test_arrivals_and_service_times_are_learned_from_what_ends() -> None:
    pool = Pool(replicas=2, memory=Memory())
    processed = 0
    for _ in range(40):  # ten a second of half a second each
        processed += 5
        decision = pool.look(0, [worker(n, 3, processed=processed, busy=processed / 2) for n in "ab"])
    assert decision.figures.arrival_rate == pytest.approx(10, rel=0.1)
    assert decision.figures.service_seconds == pytest.approx(0.5, rel=0.1)
    assert decision.figures.need_steady == 2, "five busy slots of four a pod"


def test_a_worker_that_starts_again_has_not_undone_its_work() -> None:
    pool = Pool(replicas=1)
    pool.look(0, [worker("a", processed=1000, busy=500.0)])
    decision = pool.look(0, [worker("a", processed=3, busy=1.5)])
    assert 0 < decision.figures.arrival_rate <= 3


def test_one_burst_is_not_taken_for_a_rate() -> None:
    pool = Pool(replicas=1)
    for _ in range(10):
        pool.look(0, [worker("a")])
    assert pool.look(300, [worker("a")], oldest=0.5).figures.arrival_rate < 25


def test_startup_time_is_learned_from_pods_that_begin_to_report() -> None:
    pool = Pool(replicas=1, memory=Memory())
    pool.look(1, there=pods("a", ready=False, created_at=pool.now))
    pool.look(1, there=pods("a", ready=False, created_at=pool.now - 1), after=6)
    decision = pool.look(1, [worker("a", 1)], there=pods("a", created_at=pool.now - 7))
    assert decision.figures.startup_seconds == pytest.approx(8)


def test_the_warm_minimum_is_said_when_a_start_takes_longer_than_the_objective() -> None:
    pool = Pool(memory=Memory(service_seconds=1.0, startup_seconds=20.0))
    decision = pool.look(0)
    assert decision.figures.warm_minimum == 1
    assert decision.objective_attainable.reason == "StartsTooSlowly"
    assert "set the minimum to 1 (it is 0)" in decision.objective_attainable.message
    pool.intent = replace(pool.intent, minimum=1)
    assert pool.look(0).objective_attainable.holds


def test_nothing_scales_in_during_a_rollout_but_it_scales_out() -> None:
    pool = Pool(replicas=3)
    pool.grow_old()
    workers = [worker(f"w{n}") for n in range(3)]
    decision = pool.look(0, workers, rollout=True, drained=frozenset({"w0"}))
    assert (decision.replicas, decision.drain, decision.undrain) == (3, (), ("w0",))
    assert decision.reason is Reason.ROLLOUT
    assert pool.look(500, workers, rollout=True, oldest=2).replicas > 3


def test_never_to_zero_while_messages_of_dead_workers_are_left_and_one_is_started_for_them() -> None:
    pool = Pool(replicas=1)
    pool.grow_old()
    kept = pool.look(0, [worker("w0")], unacked=3, orphans=3)
    assert (kept.replicas, kept.drain) == (1, ())
    pool.replicas = 0
    decision = pool.look(0, unacked=3, orphans=3)
    assert (decision.replicas, decision.reason) == (1, Reason.ORPHANS)


def test_the_last_worker_is_not_drained_while_it_works() -> None:
    pool = Pool(replicas=1)
    pool.grow_old()
    assert pool.look(0, [worker("w0", 1)], unacked=1).drain == ()


@pytest.mark.parametrize(
    ("mode", "grows", "shrinks"),
    [(Mode.ACTIVE, True, True), (Mode.DRY_RUN, True, True), (Mode.PAUSED, False, False), (Mode.PAUSED_IN, True, False),
     (Mode.PAUSED_OUT, False, True)],
)  # fmt: skip
def test_modes(mode: Mode, grows: bool, shrinks: bool) -> None:
    pool = Pool(replicas=2)
    pool.intent = replace(pool.intent, mode=mode)
    pool.grow_old()
    decision = pool.look(900, [worker("w0"), worker("w1")], oldest=1)
    assert (decision.replicas > 2) is grows
    assert decision.scaling_active.holds is (mode is Mode.ACTIVE)
    idle = Pool(replicas=2, intent=pool.intent)
    idle.grow_old()
    assert bool(idle.look(0, [worker("w0"), worker("w1")]).drain) is shrinks


def test_a_paused_queue_asks_for_no_pods() -> None:
    pool = Pool()
    pool.intent = replace(pool.intent, consume=Consume.PAUSED)
    decision = pool.look(500, oldest=60)
    assert (decision.replicas, decision.scaling_active.reason) == (0, "ConsumePaused")


def test_open_breakers_hold_scale_out_and_say_so() -> None:
    pool = Pool(replicas=2)
    workers = [worker("w0", 4, breakers_open=1), worker("w1", 4)]
    decision = pool.look(900, workers, oldest=5)
    assert (decision.replicas, decision.reason) == (2, Reason.BREAKERS_OPEN)
    assert decision.scaling_active.holds is False


def test_more_pods_without_more_throughput_hold_and_say_so_and_a_while_later_it_is_tried_again() -> None:
    pool = Pool(replicas=2)
    done = 0
    reasons = []
    for second in range(200):
        done += 8  # whatever the number of pods
        count = pool.replicas
        each = [worker(f"w{n}", 4, processed=done // count, busy=second * 4.0) for n in range(count)]
        decision = pool.look(5000, each, oldest=30)
        reasons.append(decision.reason)
        if second == 20:
            pool.replicas = 4
        if reasons.count(Reason.INEFFECTIVE) == 1:
            said = decision.message
    first = reasons.index(Reason.INEFFECTIVE)
    assert 20 < first < 60
    assert "4 pods end 8 messages/s and 2 pods ended 8" in said
    assert reasons[first : first + 60].count(Reason.INEFFECTIVE) >= 59
    assert Reason.SCALE_OUT in reasons[first + 60 :] or Reason.CEILING in reasons[first + 60 :]


def test_several_queues_are_summed_with_the_service_time_of_each() -> None:
    from laneway.scaling.model import Observation, QueueReading, Reading, Share, Traffic, WorkerReading

    pool = Pool(intent=Intent(queues=("quick", "slow"), maximum=500, slots=1, objective=Objective(seconds=10)))
    pool.memory = Memory(startup_seconds=1.0, traffic={
        "quick": Traffic(content=0, service_seconds=0.01), "slow": Traffic(content=0, service_seconds=30.0)})  # fmt: skip

    def need(quick: int, slow: int) -> int:
        queues = (QueueReading(name="quick", waiting=quick), QueueReading(name="slow", waiting=slow))
        share = WorkerReading(pod="a", slots=1, shares={"quick": Share(), "slow": Share()})
        reading = Reading(at=pool.now, queues=queues, workers=(share,))
        memory = pool.memory
        decision = pool.decide(Observation(reading=reading, replicas=1, pods=pods("a")))
        pool.memory = memory
        return decision.figures.need

    assert need(100, 0) <= 2
    assert need(0, 100) > 60
    assert need(100, 100) > 60


def test_the_sentence_has_the_numbers() -> None:
    message = Pool().look(400, oldest=0.5).message
    assert "400 waiting (oldest 0.5 s)" in message
    assert "1 s each" in message


def test_a_pod_that_is_not_ready_is_asked_for_already() -> None:
    pool = Pool(replicas=5)
    starting = tuple(Pod(name=f"p{n}", created_at=pool.now, ready=False) for n in range(5))
    assert pool.look(20, there=starting, oldest=0.5).replicas == 5


def test_the_age_of_the_head_is_found_from_arrivals_where_nobody_stamps() -> None:
    pool = Pool(replicas=1)
    pool.look(0, [worker("a")])
    assert pool.look(10, [worker("a")]).figures.oldest_seconds == 1
    assert pool.look(10, [worker("a")]).figures.oldest_seconds == 2
    taken = pool.look(6, [worker("a", 4)])
    assert (taken.figures.oldest_seconds, taken.objective_met) == (3, True)
    newer = pool.look(4, [worker("a", 4, processed=4)])
    assert newer.figures.oldest_seconds == 4, "two have come since, so two of the first ten wait still"
    newest = pool.look(4, [worker("a", 4, processed=8)])
    assert newest.figures.oldest_seconds == 1, "four have come since, and the head was taken first"
    late = [pool.look(40, [worker("a", 4, processed=8)]) for _ in range(12)][-1]
    assert late.objective_met is False


def test_the_age_of_a_backlog_that_was_there_before_is_not_known_at_first() -> None:
    assert Pool(replicas=1).look(10, [worker("a")]).objective_met is None


def test_a_burst_on_zero_is_decided_about_when_it_has_come_in() -> None:
    whole, pool = Pool(), Pool()
    whole.look(0)
    whole.look(400, after=1.3)
    pool.look(0)
    decisions = [pool.look(waiting, after=after) for waiting, after in ((100, 1.0), (300, 0.15), (400, 0.15))]
    assert [(each.replicas, each.look_again) for each in decisions] == [(0, AGAIN)] * 3
    decision = pool.look(400, after=0.15)
    assert (decision.look_again, decision.reason) == (None, Reason.FROM_ZERO)
    assert decision.replicas == whole.look(400, after=0.15).replicas > decisions[0].desired
    assert pool.memory.traffic["q"].arrivals[-1].seconds == pytest.approx(1.45), "one burst is no rate"


def test_work_that_keeps_coming_is_waited_for_for_half_a_second_and_no_longer() -> None:
    pool = Pool()
    pool.look(0)
    looks = [pool.look(10 * number, after=AGAIN) for number in range(1, 6)]
    assert [each.replicas > 0 for each in looks] == [False] * 4 + [True]


def test_a_burst_whose_head_is_old_is_over() -> None:
    pool = Pool()
    pool.look(0)
    assert pool.look(100, oldest=SETTLES).replicas > 0


def test_where_no_more_pods_are_allowed_nothing_is_waited_for() -> None:
    pool = Pool(intent=Intent(queues=("q",), maximum=3, slots=4))
    pool.look(0)
    assert pool.look(400).replicas == 3


def test_a_pool_that_has_pods_waits_for_nothing() -> None:
    pool = Pool(replicas=1)
    pool.look(0, [worker("a")])
    assert pool.look(400, [worker("a", 4)]).replicas > 1
