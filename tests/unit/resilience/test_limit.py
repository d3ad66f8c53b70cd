"""How many run, who waits, and who is turned away at once."""

import asyncio

import pytest

from laneway.contract.policy import Limit as LimitPolicy
from laneway.errors import ConfigurationError, ResourceExhausted
from laneway.resilience.limit import Limit


@pytest.fixture
def limit(clock):
    return Limit("payments", LimitPolicy(max_concurrent=2, max_waiting=3), clock=clock)


async def queued(limit: Limit, *deadlines: float | None) -> list[asyncio.Task[None]]:
    """Tasks that wait for a leave, in this order."""
    tasks = []
    for deadline in deadlines:
        tasks.append(asyncio.ensure_future(limit.wait(deadline)))
        await asyncio.sleep(0)
    return tasks


def usual(limit: Limit, seconds: float) -> None:
    """Let calls have taken so long."""
    assert limit.take()
    limit.give_back(seconds)


def test_no_more_run_than_permitted(limit):
    assert [limit.take() for _ in range(5)] == [True, True, False, False, False]
    limit.give_back(0.1)
    assert limit.take()
    assert not limit.take()


def test_a_limit_of_zero_is_none(clock):
    limit = Limit("payments", LimitPolicy(max_concurrent=0, max_waiting=0), clock=clock)
    assert all(limit.take() for _ in range(10_000))


async def test_who_waits_is_served_in_turn_and_nobody_overtakes(limit):
    assert limit.take()
    assert limit.take()
    first, second = await queued(limit, None, None)
    limit.give_back(0.1)
    assert not limit.take(), "the leave is the first one's, who has not run yet"
    await first
    assert (second.done(), limit.running) == (False, 2)
    limit.give_back(0.1)
    await second


async def test_a_full_queue_turns_away_at_once(limit):
    assert limit.take()
    assert limit.take()
    waiting = await queued(limit, None, None, None)
    with pytest.raises(ResourceExhausted, match="2 calls running and 3 waiting") as rejected:
        await limit.wait(None)
    assert rejected.value.reason == "CONCURRENCY_LIMIT"
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_what_could_not_end_in_time_is_shed_before_it_waits(limit, clock):
    usual(limit, 1.0)
    assert limit.take()
    assert limit.take()
    with pytest.raises(ResourceExhausted) as rejected:
        await limit.wait(clock.now + 1.4)
    assert rejected.value.retry_after == 1.0
    [waiting] = await queued(limit, clock.now + 1.6)
    limit.give_back(1.0)
    await waiting


async def test_where_calls_vary_what_would_just_be_in_time_is_shed_too(limit, clock):
    for seconds in (1.0, 0.5, 1.5, 0.5, 1.5):
        usual(limit, seconds)
    assert limit.take()
    assert limit.take()
    with pytest.raises(ResourceExhausted):
        await limit.wait(clock.now + 1.6)


async def test_what_can_no_longer_end_in_time_is_shed_when_its_turn_comes(limit, clock):
    usual(limit, 1.0)
    assert limit.take()
    assert limit.take()
    late, in_time = await queued(limit, clock.now + 2.0, clock.now + 20.0)
    clock.now += 1.5
    limit.give_back(1.0)
    await in_time
    with pytest.raises(ResourceExhausted):
        await late
    assert (limit.running, limit.waiting) == (2, 0)


async def test_a_wait_ends_when_it_has_lost_its_point_though_nobody_leaves(limit, clock):
    assert limit.take()
    assert limit.take()
    with pytest.raises(ResourceExhausted):
        await limit.wait(clock.now + 0.01)  # the loop's own time passes; the clock stands still
    assert limit.waiting == 0


async def test_who_goes_away_while_waiting_leaves_the_queue(limit):
    assert limit.take()
    assert limit.take()
    gone, next_one = await queued(limit, None, None)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    limit.give_back(0.1)
    await next_one
    assert (limit.running, limit.waiting) == (2, 0)


async def test_a_leave_given_to_one_who_is_just_going_away_is_handed_on(limit):
    assert limit.take()
    assert limit.take()
    gone, next_one = await queued(limit, None, None)
    limit.give_back(0.1)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    await next_one
    assert limit.running == 2


def test_a_limit_that_cannot_be_obeyed_is_refused():
    with pytest.raises(ConfigurationError, match="payments: max_concurrent is -1"):
        Limit("payments", LimitPolicy(max_concurrent=-1, max_waiting=0))


async def test_who_would_wait_behind_too_many_is_shed_at_once(limit, clock):
    usual(limit, 1.0)
    assert limit.take()
    assert limit.take()
    waiting = await queued(limit, None, None)
    [late] = await queued(limit, clock.now + 2.4)
    assert late.done(), "it does not wait for what it would have no use of"
    assert isinstance(late.exception(), ResourceExhausted)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_how_far_calls_are_from_the_usual_is_learned(limit, clock):
    for seconds in (1.0, 2.0):
        usual(limit, seconds)
    assert limit._expected == pytest.approx(1.1 + 2 * 0.1)
