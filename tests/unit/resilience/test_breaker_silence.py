"""A target that says nothing at all is found out by the calls that hang, before their time is over."""

from dataclasses import replace

import pytest

from laneway.contract.policy import BreakerMode
from laneway.errors import Unavailable
from laneway.resilience.breaker import Breaker, Permit, State

SLOW = 0.25


@pytest.fixture
def build(policy, clock):
    """A breaker that opens on five in a row, and at whose target a call hangs from 0.25 s on."""

    def built(**changes) -> Breaker:
        numbers = replace(policy, **{"slow_call_duration": SLOW, **changes})
        return Breaker("inventory", numbers, clock=clock, random=lambda: 0.5)

    return built


def begin(breaker: Breaker, calls: int) -> list[Permit]:
    return [breaker.acquire() for _ in range(calls)]


def refuses(breaker: Breaker) -> bool:
    """Whether the next call is refused."""
    try:
        breaker.acquire().neutral()
    except Unavailable:
        return True
    return False


def test_calls_that_hang_open_it_before_any_of_them_has_ended(build, clock):
    breaker = build()
    begin(breaker, 5)
    clock.now += SLOW
    assert refuses(breaker)
    assert breaker.state is State.OPEN


def test_of_calls_that_come_one_by_one_the_last_of_the_row_must_hang_too(build, clock):
    breaker = build()
    for _ in range(5):
        begin(breaker, 1)
        clock.now += 0.0625
    clock.now += SLOW - 0.125
    assert not refuses(breaker)
    clock.now += 0.0625
    assert refuses(breaker)


def test_failures_and_calls_that_hang_are_one_row(build, clock):
    breaker = build()
    for permit in begin(breaker, 3):
        permit.failure()
    begin(breaker, 2)
    clock.now += SLOW
    assert refuses(breaker)


def test_an_answer_ends_the_silence_for_all_that_wait_beside_it(build, clock):
    breaker = build()
    *_, answered = begin(breaker, 10)
    clock.now += SLOW - 0.0625
    answered.success()
    clock.now += 60
    assert not refuses(breaker), "the others are slow, and count when they have ended"


def test_a_slow_answer_is_one(build, clock):
    breaker = build()
    first, *_ = begin(breaker, 5)
    clock.now += SLOW
    first.success()
    assert not refuses(breaker)


@pytest.mark.parametrize("when", [0.0, SLOW])
def test_a_call_that_its_caller_cancelled_does_not_hang(build, clock, when):
    breaker = build()
    cancelled, *_ = begin(breaker, 5)
    clock.now += when
    cancelled.neutral()
    clock.now += SLOW
    assert not refuses(breaker)


def test_a_call_that_is_held_up_on_this_side_does_not_hang_until_it_begins(build, clock):
    breaker = build()
    held, *_ = begin(breaker, 5)
    held.hold()
    clock.now += 60
    assert not refuses(breaker)
    held.begin()
    clock.now += SLOW - 0.0625
    assert not refuses(breaker)
    clock.now += 0.0625
    assert refuses(breaker)


def test_late_ends_of_what_hung_change_nothing(build, clock):
    breaker = build()
    hanging = begin(breaker, 5)
    clock.now += SLOW
    assert refuses(breaker)
    for permit in hanging:
        permit.failure()
    clock.now += 1.0
    for permit in begin(breaker, 3):
        permit.success()
    assert breaker.state is State.CLOSED
    assert not refuses(breaker), "a closed breaker listens anew"


@pytest.mark.parametrize(
    "changes",
    [{"slow_call_duration": 0.0}, {"consecutive_failures": 0}, {"mode": BreakerMode.FORCED_CLOSED}],
    ids=str,
)
def test_where_no_call_is_called_slow_or_no_row_counts_none_hangs(build, clock, changes):
    breaker = build(**changes)
    begin(breaker, 100)
    clock.now += 3600
    assert not refuses(breaker)


def test_observing_it_reports_the_silence_and_refuses_nothing(build, clock):
    breaker = build(mode=BreakerMode.OBSERVE_ONLY)
    begin(breaker, 5)
    clock.now += SLOW
    assert not refuses(breaker)
    assert breaker.state is State.OPEN
