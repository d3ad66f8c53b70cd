"""What a breaker counts: windows of calls and of time, slow calls, and the modes that a person sets."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laneway.contract.policy import Breaker as BreakerPolicy
from laneway.contract.policy import BreakerMode
from laneway.errors import NotFound, ResourceExhausted, Unavailable
from laneway.resilience.breaker import Breaker, Permit, State
from laneway.resilience.window import CountWindow, TimeWindow


@pytest.fixture
def build(policy, clock):
    def built(**changes) -> Breaker:
        numbers = replace(policy, consecutive_failures=0, **changes)
        return Breaker("payments", numbers, clock=clock, random=lambda: 0.5)

    return built


def end(breaker: Breaker, calls: int, how: str = "success", *, after: float = 0.0) -> None:
    for _ in range(calls):
        permit = breaker.acquire()
        breaker._clock.now += after
        getattr(permit, how)()


def test_a_window_of_time_forgets_what_is_older_than_it(build, clock):
    breaker = build(window_time=10.0)
    end(breaker, 9, "failure")
    clock.now += 11
    end(breaker, 9, "failure")
    assert breaker.state is State.CLOSED, "eighteen failures, but never ten within ten seconds"
    end(breaker, 1, "failure")
    assert breaker.state is State.OPEN


def test_a_window_of_time_holds_as_many_calls_as_come(build):
    breaker = build(window_time=10.0, window=1)
    end(breaker, 5_000)
    end(breaker, 4_999, "failure")
    assert breaker.state is State.CLOSED
    end(breaker, 1, "failure")
    assert breaker.state is State.OPEN


def test_a_window_of_time_slides_by_tenths(clock):
    window = TimeWindow(10.0)
    for _ in range(10):
        window.add(clock.now, failed=True, slow=True)
        clock.now += 1.0
    assert (window.calls, window.failures, window.slow) == (10, 10, 10)
    window.add(clock.now + 4, failed=False, slow=False)
    assert (window.calls, window.failures, window.slow) == (6, 5, 5)
    window.add(clock.now + 1e9, failed=False, slow=False)
    assert (window.calls, window.failures, window.slow) == (1, 0, 0)


def test_slow_calls_open_it_at_their_own_rate(build):
    breaker = build(slow_call_duration=0.5, slow_call_rate=0.3)
    end(breaker, 7)
    end(breaker, 2, after=0.5)
    assert breaker.state is State.CLOSED
    end(breaker, 1, after=0.5)
    assert breaker.state is State.OPEN


def test_slow_calls_mean_nothing_where_no_call_is_called_slow(build):
    breaker = build(slow_call_rate=0.1)
    end(breaker, 100, after=60.0)
    assert breaker.state is State.CLOSED


def test_a_slow_probe_is_a_failed_one(build, clock):
    breaker = build(slow_call_duration=0.5)
    end(breaker, 10, "failure")
    clock.now += 1.0
    end(breaker, 1, after=0.5)
    assert breaker.state is State.OPEN


def test_time_that_a_call_was_held_up_on_this_side_is_not_the_targets(build, clock):
    breaker = build(slow_call_duration=0.5, slow_call_rate=0.1)
    for _ in range(20):
        permit = breaker.acquire()
        clock.now += 5.0
        permit.begin()
        clock.now += 0.1
        permit.success()
    assert breaker.state is State.CLOSED


def test_forced_open_it_refuses_everything_for_ever_and_says_why(build, clock):
    breaker = build(mode=BreakerMode.FORCED_OPEN)
    clock.now += 1e6
    with pytest.raises(Unavailable, match="forced open") as refused:
        breaker.acquire()
    assert (refused.value.reason, refused.value.retry_after) == ("BREAKER_OPEN", None)


def test_forced_closed_it_refuses_nothing(build):
    breaker = build(mode=BreakerMode.FORCED_CLOSED)
    end(breaker, 1_000, "failure")
    assert breaker.state is State.CLOSED


def test_observing_it_reports_what_it_would_do_and_refuses_nothing(policy, clock):
    changes = []
    observing = replace(policy, mode=BreakerMode.OBSERVE_ONLY)
    breaker = Breaker(
        "payments", observing, clock=clock, random=lambda: 0.5, listeners=[lambda *change: changes.append(change[2])]
    )
    end(breaker, 100, "failure")
    assert changes == [State.OPEN]
    clock.now += 1.0
    permits = [breaker.acquire() for _ in range(100)]
    assert breaker.state is State.HALF_OPEN
    for permit in permits:
        permit.success()
    assert changes == [State.OPEN, State.HALF_OPEN, State.CLOSED]


def test_switched_by_hand_it_forgets_what_was_and_late_results_change_nothing(build, clock):
    breaker = build()
    late = [breaker.acquire() for _ in range(10)]
    breaker.switch(BreakerMode.FORCED_OPEN)
    assert breaker.state is State.OPEN
    breaker.switch(BreakerMode.AUTOMATIC)
    for permit in late:
        permit.failure()
    assert breaker.state is State.CLOSED
    end(breaker, 10, "failure")
    with pytest.raises(Unavailable) as refused:
        breaker.acquire()
    assert refused.value.retry_after == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Unavailable("e"), State.OPEN),
        (ConnectionResetError("e"), State.OPEN),
        (NotFound("e"), State.CLOSED),
        (ResourceExhausted("e"), State.CLOSED),
        (asyncio.CancelledError(), State.CLOSED),
        (ValueError("e"), State.CLOSED),
    ],
    ids=lambda value: value.name if isinstance(value, State) else type(value).__name__,
)
def test_as_a_context_manager_a_permit_is_settled_by_how_the_block_ends(build, error, state):
    breaker = build()
    for _ in range(10):
        with pytest.raises(type(error)), breaker.admit():
            raise error
    assert breaker.state is state
    if state is State.CLOSED:
        with breaker.acquire():
            pass
        assert breaker.state is State.CLOSED


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["begin", "begin", "success", "failure", "neutral", "wait"]), st.integers(0, 9)),
        max_size=80,
    ),
    st.booleans(),
)
def test_a_shared_permit_does_what_one_of_its_own_does(steps, by_time):
    numbers = BreakerPolicy(
        failure_rate=0.5, minimum_calls=4, window=6, consecutive_failures=3, open_time=1.0, half_open_calls=2,
        window_time=5.0 if by_time else 0.0,
    )  # fmt: skip
    now = 0.0
    own, shared = (Breaker("payments", numbers, clock=lambda: now, random=lambda: 0.5) for _ in range(2))
    running: list[tuple[Permit, Permit]] = []
    for step, which in steps:
        if step == "wait":
            now += which / 4
        elif step == "begin":
            permits = [_given(own.acquire), _given(shared.admit)]
            assert (permits[0] is None) == (permits[1] is None)
            if None not in permits:
                running.append(tuple(permits))
        elif running:
            for permit in running.pop(which % len(running)):
                getattr(permit, step)()
        assert own.state is shared.state


def _given(acquire):
    try:
        return acquire()
    except Unavailable:
        return None


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans())), st.integers(1, 12))
def test_a_window_of_calls_counts_the_last_ones_whenever_one_of_them_is_bad(ends, size):
    window = CountWindow(size)
    for at, (failed, slow) in enumerate(ends, start=1):
        window.add(0.0, failed=failed, slow=slow)
        last = ends[max(0, at - size) : at]
        if failed or slow:
            counts = sum(end[0] for end in last), sum(end[1] for end in last)
            assert (window.calls, window.failures, window.slow) == (len(last), *counts)
