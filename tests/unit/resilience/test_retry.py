"""When it is tried again, and how long that waits."""

import pytest

from laneway.contract.policy import Retry as RetryPolicy
from laneway.errors import ResourceExhausted, Unavailable
from laneway.resilience.retry import RetryBudget, Retrying, mark_exhausted

POLICY = RetryPolicy(max_attempts=10, initial_backoff=0.1, max_backoff=1.0)


def retrying(clock, *, drawn: float = 1.0, budget: RetryBudget | None = None) -> Retrying:
    return Retrying(POLICY, budget or RetryBudget(clock=clock), random=lambda: drawn)


def test_backoff_doubles_up_to_its_maximum(clock):
    delays = [retrying(clock).delay(number, Unavailable("down"), None) for number in range(1, 7)]
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_backoff_is_spread_from_nothing_to_its_ceiling(clock):
    assert retrying(clock, drawn=0.0).delay(3, Unavailable("down"), None) == 0
    assert retrying(clock, drawn=0.5).delay(3, Unavailable("down"), None) == pytest.approx(0.2)


@pytest.mark.parametrize("drawn", [0.0, 0.5, 1.0])
def test_it_never_comes_back_before_the_server_asked(clock, drawn):
    delay = retrying(clock, drawn=drawn).delay(1, Unavailable("down", retry_after=5.0), None)
    assert 5.0 <= delay <= 5.1


def test_a_negative_wish_of_the_server_means_never(clock):
    assert retrying(clock).delay(1, Unavailable("down", retry_after=-1.0), None) is None


def test_a_throttled_call_comes_back_late(clock):
    assert retrying(clock, drawn=0.0).delay(1, ResourceExhausted("slow down"), None) == pytest.approx(0.5)


@pytest.mark.parametrize(("remaining", "delay"), [(0.1, None), (0.05, None), (0.11, 0.1)])
def test_a_delay_never_reaches_past_the_deadline(clock, remaining, delay):
    assert retrying(clock).delay(1, Unavailable("down"), remaining) == delay


def test_the_last_permitted_attempt_is_the_last(clock):
    assert retrying(clock).delay(9, Unavailable("down"), None) is not None
    assert retrying(clock).delay(10, Unavailable("down"), None) is None


def test_what_a_layer_below_has_retried_is_not_retried_again(clock):
    error = Unavailable("down")
    mark_exhausted(error)
    assert retrying(clock).delay(1, error, None) is None
    assert error.reason == "ATTEMPTS_EXHAUSTED", "without a reason the mark would not cross the wire"


def test_the_mark_leaves_a_reason_alone():
    error = Unavailable("down", reason="PROVIDER_DOWN")
    mark_exhausted(error)
    assert error.reason == "PROVIDER_DOWN"


def test_retries_stay_a_share_of_the_first_attempts(clock):
    budget = RetryBudget(floor=0.0, capacity=10, clock=clock)
    retries = 0
    for _ in range(1000):
        budget.attempted(0.2)
        retries += budget.withdraw()
    assert 200 <= retries <= 210


def test_a_rarely_called_target_may_be_retried_at_the_floor(clock):
    budget = RetryBudget(floor=0.5, capacity=1, clock=clock)
    assert budget.withdraw()
    assert not budget.withdraw()
    clock.now += 1.9
    assert not budget.withdraw()
    clock.now += 0.2
    assert budget.withdraw()


def test_an_attempt_that_could_not_be_made_costs_nothing(clock):
    budget = RetryBudget(floor=0.0, capacity=1, clock=clock)
    assert retrying(clock, budget=budget).delay(1, Unavailable("down"), 0.01) is None
    assert budget.withdraw()


def test_callers_that_were_asked_to_wait_do_not_come_back_at_the_same_moment(clock):
    assert retrying(clock, drawn=0.0).delay(1, Unavailable("down", retry_after=5.0), None) == 5.0
    assert retrying(clock, drawn=1.0).delay(1, Unavailable("down", retry_after=5.0), None) == pytest.approx(5.1)
    assert retrying(clock, drawn=1.0).delay(1, Unavailable("down", retry_after=0.5), None) == pytest.approx(0.55)


def test_the_floor_is_one_retry_a_second_unless_told(clock):
    budget = RetryBudget(clock=clock)
    while budget.withdraw():
        pass
    clock.now += 0.9
    assert not budget.withdraw()
    clock.now += 0.2
    assert budget.withdraw()
    assert not budget.withdraw()
