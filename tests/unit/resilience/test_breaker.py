"""What a breaker promises, the defects of its peers among it."""

from dataclasses import replace

import pytest

from laneway.contract.policy import Breaker as BreakerPolicy
from laneway.errors import ConfigurationError, Unavailable
from laneway.resilience.breaker import PROBE_LEASE, Breaker, Permit, State


@pytest.fixture
def breaker(policy, clock):
    return Breaker("payments", policy, clock=clock, random=lambda: 0.5)


@pytest.fixture
def opened(breaker):
    fail(breaker, 5)
    return breaker


@pytest.fixture
def half_open(opened, clock):
    """Half-open, with one of its three probes leased."""
    clock.now += 1.0
    opened.first_probe = opened.acquire()
    return opened


def fail(breaker: Breaker, calls: int) -> None:
    for _ in range(calls):
        breaker.acquire().failure()


def succeed(breaker: Breaker, calls: int) -> None:
    for _ in range(calls):
        breaker.acquire().success()


def admitted(breaker: Breaker, calls: int) -> list[Permit]:
    permits = []
    for _ in range(calls):
        try:
            permits.append(breaker.acquire())
        except Unavailable:
            continue
    return permits


def test_failures_in_a_row_open_it_at_once(breaker):
    fail(breaker, 4)
    assert breaker.state is State.CLOSED
    fail(breaker, 1)
    assert breaker.state is State.OPEN


def test_a_success_ends_the_row(breaker):
    fail(breaker, 4)
    succeed(breaker, 1)
    fail(breaker, 4)
    assert breaker.state is State.CLOSED


def test_the_failure_rate_opens_it_once_there_are_enough_calls(policy, clock):
    breaker = Breaker("payments", replace(policy, consecutive_failures=0), clock=clock)
    succeed(breaker, 5)
    fail(breaker, 4)
    assert breaker.state is State.CLOSED
    fail(breaker, 1)
    assert breaker.state is State.OPEN


def test_only_the_last_calls_count(policy, clock):
    breaker = Breaker("payments", replace(policy, consecutive_failures=0), clock=clock)
    fail(breaker, 9)
    succeed(breaker, 20)
    fail(breaker, 9)
    assert breaker.state is State.CLOSED
    fail(breaker, 1)
    assert breaker.state is State.OPEN


def test_more_calls_than_the_window_holds_are_never_asked_for(policy, clock):
    breaker = Breaker("payments", replace(policy, minimum_calls=100, window=4, consecutive_failures=0), clock=clock)
    fail(breaker, 4)
    assert breaker.state is State.OPEN


def test_an_open_breaker_refuses_and_says_when_to_come_back(opened, clock):
    clock.now += 0.25
    with pytest.raises(Unavailable, match="payments") as refused:
        opened.acquire()
    assert refused.value.reason == "BREAKER_OPEN"
    assert refused.value.retry_after == pytest.approx(0.75)


def test_of_100_calls_after_the_open_time_only_the_permitted_ones_are_admitted(opened, clock):
    clock.now += 1.0
    assert len(admitted(opened, 100)) == 3
    assert opened.state is State.HALF_OPEN


def test_answered_probes_do_not_admit_more_than_permitted(half_open):
    half_open.first_probe.success()
    assert len(admitted(half_open, 100)) == 2


def test_as_many_successes_as_probes_close_it(half_open):
    half_open.first_probe.success()
    succeed(half_open, 1)
    assert half_open.state is State.HALF_OPEN
    succeed(half_open, 1)
    assert half_open.state is State.CLOSED


def test_one_failed_probe_opens_it_again(half_open):
    succeed(half_open, 2)
    half_open.first_probe.failure()
    assert half_open.state is State.OPEN


def test_a_cancelled_probe_gives_its_lease_back(half_open):
    probes = [half_open.first_probe, *admitted(half_open, 2)]
    assert admitted(half_open, 1) == []
    for probe in probes:
        probe.neutral()
    assert half_open.state is State.HALF_OPEN
    assert len(admitted(half_open, 100)) == 3


def test_cancelled_calls_are_not_counted(breaker):
    for _ in range(100):
        breaker.acquire().neutral()
    assert breaker.state is State.CLOSED
    fail(breaker, 4)
    breaker.acquire().neutral()
    fail(breaker, 1)
    assert breaker.state is State.OPEN, "a cancellation is no success either"


def test_a_late_result_of_an_earlier_state_changes_nothing(breaker, clock):
    early = [breaker.acquire() for _ in range(10)]
    fail(breaker, 5)
    early.pop().success()
    early.pop().failure()
    assert breaker.state is State.OPEN
    clock.now += 1.0
    probes = admitted(breaker, 3)
    for permit in early[:3]:
        permit.success()
    for permit in early[3:6]:
        permit.failure()
    early[6].neutral()
    assert breaker.state is State.HALF_OPEN
    assert admitted(breaker, 100) == []
    for probe in probes:
        probe.success()
    early[7].failure()
    fail(breaker, 4)
    assert breaker.state is State.CLOSED, "a failure of before does not lengthen the row"


def test_a_permit_settles_once(breaker):
    permit = breaker.acquire()
    for _ in range(20):
        permit.failure()
    assert breaker.state is State.CLOSED


def test_a_probe_settles_once(half_open):
    half_open.first_probe.neutral()
    half_open.first_probe.neutral()
    assert len(admitted(half_open, 100)) == 3


def test_open_time_doubles_with_each_failed_probe_up_to_a_bound(opened, clock):
    waits = []
    for _ in range(7):
        with pytest.raises(Unavailable) as refused:
            opened.acquire()
        waits.append(refused.value.retry_after)
        clock.now += refused.value.retry_after
        fail(opened, 1)
    assert waits == pytest.approx([1, 2, 4, 8, 16, 16, 16])


def test_open_time_starts_anew_once_it_was_closed(half_open, clock):
    half_open.first_probe.failure()
    clock.now += 2.0
    succeed(half_open, 3)
    fail(half_open, 5)
    with pytest.raises(Unavailable) as refused:
        half_open.acquire()
    assert refused.value.retry_after == pytest.approx(1)


@pytest.mark.parametrize(("drawn", "wait"), [(0.0, 0.75), (0.5, 1.0), (1.0, 1.25)])
def test_open_time_is_jittered(policy, clock, drawn, wait):
    breaker = Breaker("payments", policy, clock=clock, random=lambda: drawn)
    fail(breaker, 5)
    with pytest.raises(Unavailable) as refused:
        breaker.acquire()
    assert refused.value.retry_after == pytest.approx(wait)


def test_probes_that_never_answer_are_written_off(half_open, clock):
    silent = [half_open.first_probe, *admitted(half_open, 2)]
    clock.now += PROBE_LEASE
    assert len(admitted(half_open, 100)) == 3
    for permit in silent:
        permit.failure()
    assert half_open.state is State.HALF_OPEN


def test_listeners_are_told_each_change_and_cannot_break_a_call(policy, clock, caplog):
    changes = []

    def broken(target, before, after):
        raise ValueError("no such metric")

    def listener(target, before, after):
        changes.append((target, before, after))

    breaker = Breaker("payments", policy, clock=clock, random=lambda: 0.5, listeners=[broken, listener])
    fail(breaker, 5)
    clock.now += 1.0
    succeed(breaker, 3)
    assert changes == [
        ("payments", State.CLOSED, State.OPEN),
        ("payments", State.OPEN, State.HALF_OPEN),
        ("payments", State.HALF_OPEN, State.CLOSED),
    ]
    assert len(caplog.records) == 3


@pytest.mark.parametrize(
    "mistake",
    [{"window": 0}, {"half_open_calls": 0}, {"open_time": 0}, {"failure_rate": 0}, {"failure_rate": 50}],
    ids=str,
)
def test_a_policy_that_could_never_work_is_refused(policy: BreakerPolicy, mistake):
    with pytest.raises(ConfigurationError, match=f"payments: {next(iter(mistake))} is"):
        Breaker("payments", replace(policy, **mistake))
