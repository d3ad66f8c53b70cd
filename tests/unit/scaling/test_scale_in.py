from dataclasses import replace

from laneway.scaling.model import Pod, Reason
from tests.unit.scaling.conftest import Pool, pods, worker


def old(replicas: int) -> Pool:
    pool = Pool(replicas=replicas)
    pool.grow_old()
    return pool


def test_the_idlest_is_told_to_drain_and_nothing_is_taken_away_yet() -> None:
    pool = old(3)
    pool.intent = replace(pool.intent, minimum=2)
    decision = pool.look(0, [worker("a", 3), worker("b", 1), worker("c", 2)])
    assert (decision.replicas, decision.desired, decision.drain) == (3, 2, ("b",))
    assert decision.reason is Reason.DRAINING


def test_it_goes_only_when_it_has_said_that_it_drains_and_holds_nothing() -> None:
    pool = old(2)
    pool.intent = replace(pool.intent, minimum=1)
    drained = frozenset({"b"})
    busy = pool.look(0, [worker("a", 1), worker("b", 1, draining=True)], drained=drained)
    silent = pool.look(0, [worker("a", 1), worker("b")], drained=drained)
    reserved = pool.look(0, [worker("a", 1), worker("b", reserved=1, draining=True)], drained=drained)
    gone = pool.look(0, [worker("a", 1), worker("b", draining=True)], drained=drained)
    assert [each.replicas for each in (busy, silent, reserved, gone)] == [2, 2, 2, 1]
    assert (gone.remove, gone.reason) == (("b",), Reason.SCALE_IN)


def test_when_load_returns_they_consume_again_before_pods_are_added() -> None:
    pool = old(3)
    workers = [worker("a", 4), worker("b", draining=True), worker("c", draining=True)]
    decision = pool.look(100, workers, oldest=1, drained=frozenset({"b", "c"}))
    assert (decision.undrain, decision.replicas) == (("b", "c"), 3)


def test_who_drains_already_is_not_exchanged_for_another() -> None:
    pool = old(2)
    pool.intent = replace(pool.intent, minimum=1)
    workers = [worker("a"), worker("b", 3, draining=True)]
    decision = pool.look(0, workers, drained=frozenset({"b"}))
    assert (decision.drain, decision.undrain, decision.remove) == ((), (), ())


def test_the_drain_set_forgets_pods_that_are_gone() -> None:
    pool = old(2)
    pool.intent = replace(pool.intent, minimum=1)
    decision = pool.look(0, [worker("a"), worker("b")], drained=frozenset({"b", "long-gone"}))
    assert decision.undrain == ("long-gone",)


def test_a_drain_that_takes_longer_than_the_grace_is_said_and_nobody_is_killed() -> None:
    pool = old(2)
    pool.intent = replace(pool.intent, minimum=1, grace_seconds=30)
    workers = [worker("a", 2), worker("b", 1, draining=True)]
    first = pool.look(0, workers, drained=frozenset({"b"}))
    late = pool.look(0, workers, drained=frozenset({"b"}), after=31)
    assert (first.overdue, late.overdue, late.replicas, late.reason) == ((), ("b",), 2, Reason.OVERDUE)
    assert "nobody kills them" in late.message


def test_pods_that_never_worked_go_first_and_are_not_waited_for_but_told_to_take_nothing() -> None:
    pool = old(3)
    pool.intent = replace(pool.intent, minimum=1)
    there = (*pods("a", "b"), Pod(name="new", created_at=pool.now, ready=False))
    decision = pool.look(0, [worker("a", 1), worker("b", 1)], there=there)
    assert (decision.remove, decision.replicas, decision.drain) == (("new",), 2, ("new", "a"))
    decision = pool.look(0, [worker("a", 1), worker("b", 1)], there=there, drained=frozenset({"new", "a"}))
    assert (decision.remove, decision.replicas, decision.drain, decision.undrain) == (("new",), 2, (), ())


def test_a_pod_that_has_worked_and_fell_silent_is_not_taken_for_one_that_never_did() -> None:
    pool = old(2)
    there = pods("a", "b")
    pool.look(0, [worker("a", 1), worker("b", 1)], there=there)
    silent = (there[0], replace(there[1], ready=False))
    for drained in (frozenset[str](), frozenset({"b"})):
        decision = pool.look(0, [worker("a", 1)], there=silent, drained=drained)
        assert (decision.remove, decision.replicas) == ((), 2)


def test_pods_that_do_not_exist_yet_are_simply_not_asked_for() -> None:
    pool = old(4)
    pool.intent = replace(pool.intent, minimum=1)
    decision = pool.look(0, [worker("a", 1)])
    assert (decision.replicas, decision.remove, decision.drain) == (1, (), ())


def test_a_fixed_pod_is_never_chosen() -> None:
    pool = old(2)
    pool.intent = replace(pool.intent, minimum=1)
    there = (Pod(name="a", created_at=0, ready=True, fixed=True), *pods("b"))
    assert pool.look(0, [worker("a"), worker("b", 3)], there=there).drain == ("b",)


def test_a_ready_pod_that_does_not_report_is_left_alone() -> None:
    pool = old(2)
    pool.intent = replace(pool.intent, minimum=1)
    decision = pool.look(0, [worker("a")], there=pods("a", "silent"))
    assert (decision.drain, decision.remove) == (("a",), ())


def test_in_basic_mode_there_is_no_drain_and_that_is_said() -> None:
    pool = Pool(replicas=3)
    pool.intent = replace(pool.intent, minimum=1)
    there = pods("a", "b", "c")
    pool.look(0, there=there, basic=True)
    decision = pool.look(0, there=there, basic=True, after=700)
    assert (decision.replicas, decision.drain, decision.remove) == (1, (), ())
    assert decision.metrics_available.reason == "BasicMode"
    assert "CapacityReport" in decision.metrics_available.message
