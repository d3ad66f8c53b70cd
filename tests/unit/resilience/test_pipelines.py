"""Which calls share a breaker, and which a retry budget."""

from contextlib import suppress
from dataclasses import dataclass, replace

import pytest

from laneway.contract.policy import Breaker as BreakerPolicy
from laneway.contract.policy import BreakerMode, Fallback, Policy
from laneway.contract.policy import Retry as RetryPolicy
from laneway.errors import DeadlineExceeded, ResourceExhausted, Unavailable
from laneway.resilience.breaker import State
from laneway.resilience.pipeline import Pipelines

FALLBACK = Fallback(last_good=60.0, queue=False, reserve=0.25)


@dataclass(frozen=True)
class Method:
    owner: str
    full_name: str
    policy: Policy


@pytest.fixture
def authorize(policy: BreakerPolicy):
    retry = RetryPolicy(max_attempts=2, initial_backoff=0.1, max_backoff=1.0)
    limits = Policy(
        deadline=1,
        idempotency=None,
        retry=retry,
        breaker=policy,
        queue=None,
        subscription=None,
        errors=frozenset({"CARD_DECLINED"}),
    )
    return Method("payments", "shop.payments.v1.Payments.Authorize", limits)


@pytest.fixture
def refund(authorize):
    return replace(authorize, full_name="shop.payments.v1.Payments.Refund")


@pytest.fixture
def changes():
    return []


@pytest.fixture
def pipelines(clock, changes):
    return Pipelines(clock=clock, sleep=clock.sleep, listeners=[lambda *change: changes.append(change)])


async def fail(number, remaining):
    raise Unavailable("down")


async def answer(number, remaining):
    return "answer"


async def break_(pipelines: Pipelines, method: Method) -> None:
    for _ in range(5):
        with suppress(Unavailable):
            await pipelines.of(method).call(fail, deadline=None, retryable=False)


async def test_the_calls_of_a_method_share_a_breaker(pipelines, authorize, changes):
    await break_(pipelines, authorize)
    assert pipelines.of(authorize).breaker.state is State.OPEN
    assert changes == [("payments/shop.payments.v1.Payments.Authorize", State.CLOSED, State.OPEN)]


async def test_a_method_that_fails_does_not_stop_its_neighbours(pipelines, authorize, refund):
    await break_(pipelines, authorize)
    assert await pipelines.of(refund).call(answer, deadline=None, retryable=False) == "answer"


async def test_a_system_method_that_fails_at_one_service_is_called_at_another(pipelines, authorize):
    await break_(pipelines, authorize)
    elsewhere = pipelines.of(replace(authorize, owner="orders"))
    assert await elsewhere.call(answer, deadline=None, retryable=False) == "answer"


async def test_the_methods_of_a_service_share_a_retry_budget(pipelines, authorize, refund):
    attempts = 0

    async def throttled(number, remaining):
        nonlocal attempts
        attempts += 1
        raise ResourceExhausted("slow down", retry_after=0.0)

    for method in [authorize, refund] * 100:
        with suppress(ResourceExhausted):
            await pipelines.of(method).call(throttled, deadline=None, retryable=True)
    assert 200 + 10 + 20 - 2 <= attempts <= 200 + 10 + 20, "one bucket, full at first, and a tenth of all calls"


async def test_what_the_contract_declares_as_an_answer_is_one(pipelines, authorize):
    attempts = 0

    async def declined(number, remaining):
        nonlocal attempts
        attempts += 1
        raise Unavailable("declined", reason="CARD_DECLINED")

    with suppress(Unavailable):
        await pipelines.of(authorize).call(declined, deadline=None, retryable=True)
    assert attempts == 1


async def test_methods_of_a_group_share_a_breaker(pipelines, authorize, refund, changes):
    authorize, refund = (replace(m, policy=replace(m.policy, group="provider")) for m in (authorize, refund))
    await break_(pipelines, authorize)
    assert pipelines.of(refund).breaker.state is State.OPEN
    assert changes == [("payments/provider", State.CLOSED, State.OPEN)]
    elsewhere = replace(refund, owner="orders")
    assert pipelines.of(elsewhere).breaker.state is State.CLOSED, "a group is one of its service"


async def test_methods_of_a_group_with_other_numbers_do_not_share_a_breaker(pipelines, authorize, refund):
    sensitive = replace(refund.policy, group="provider", breaker=replace(refund.policy.breaker, window=7))
    refund = replace(refund, policy=sensitive)
    await break_(pipelines, replace(authorize, policy=replace(authorize.policy, group="provider")))
    assert pipelines.of(refund).breaker.state is State.CLOSED


async def test_a_policy_that_forces_the_breaker_open_takes_the_method_out_of_service(pipelines, authorize):
    forced = replace(authorize.policy, breaker=replace(authorize.policy.breaker, mode=BreakerMode.FORCED_OPEN))
    with pytest.raises(Unavailable, match="forced open"):
        await pipelines.of(authorize, forced).call(answer, deadline=None, retryable=False)
    assert await pipelines.of(authorize).call(answer, deadline=None, retryable=False) == "answer"


@pytest.mark.parametrize(
    ("changes", "full"),
    [
        ({}, 1.0),
        ({"attempt_timeout": 0.5}, 0.5),
        ({"fallback": FALLBACK}, 0.75),
        ({"fallback": FALLBACK, "attempt_timeout": 0.875}, 0.75),
    ],
    ids=["deadline", "attempt_timeout", "reserve", "both"],
)
async def test_who_gave_less_than_the_policys_time_says_nothing_of_the_target(
    pipelines, clock, authorize, changes, full
):
    async def hang(number, given):
        clock.now += given
        raise DeadlineExceeded("no answer in time")

    async def wait(seconds):
        with suppress(DeadlineExceeded):
            await pipelines.of(method).call(hang, deadline=clock.now + seconds, retryable=False)

    method = replace(authorize, policy=replace(authorize.policy, **changes))
    for _ in range(4):
        await wait(full)
    await wait(full * 0.8)
    assert pipelines.of(method).breaker.state is State.CLOSED
    await wait(full)
    assert pipelines.of(method).breaker.state is State.OPEN
