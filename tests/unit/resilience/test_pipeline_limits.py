"""The limit, the attempt's time and the fallback around a call."""

import asyncio
from contextlib import aclosing, suppress
from dataclasses import replace

import pytest

from laneway import errors
from laneway.contract.policy import Limit as LimitPolicy
from laneway.contract.policy import Retry as RetryPolicy
from laneway.resilience.breaker import Breaker, State
from laneway.resilience.limit import Limit
from laneway.resilience.pipeline import Pipeline
from laneway.resilience.retry import RetryBudget, exhausted


@pytest.fixture
def build(policy, clock):
    def built(*, limit: int = 1, waiting: int = 0, breaker: Breaker | None = None, **changes) -> Pipeline:
        return Pipeline(
            "payments",
            breaker=breaker or Breaker("payments", policy, clock=clock, random=lambda: 0.5),
            retry=RetryPolicy(max_attempts=3, initial_backoff=0.1, max_backoff=1.0),
            budget=RetryBudget(clock=clock),
            limit=Limit("payments", LimitPolicy(max_concurrent=limit, max_waiting=waiting), clock=clock),
            answers=frozenset({"OUT_OF_STOCK"}),
            clock=clock,
            sleep=clock.sleep,
            random=lambda: 1.0,
            **changes,
        )

    return built


async def answer(number, given):
    return "answer"


async def down(number, given):
    raise errors.Unavailable("down")


async def out_of_time(number, given):
    raise errors.DeadlineExceeded("no answer in time")


FULL = 0.5
"""Seconds that the target may take where a test says so."""


async def slowly(clock, seconds):
    """What a call that is not answered ends with."""
    clock.now += seconds
    return errors.DeadlineExceeded("no answer in time")


async def give_up(pipeline: Pipeline, clock, seconds: float) -> None:
    """Call for so long, and get no answer."""

    async def hang(number, given):
        raise await slowly(clock, given)

    with suppress(errors.DeadlineExceeded):
        await pipeline.call(hang, deadline=clock.now + seconds, retryable=False)


async def lesser(error):
    return f"lesser, for {error}"


async def hold(pipeline: Pipeline) -> asyncio.Task[str]:
    """A call that runs until it is cancelled."""
    entered = asyncio.Event()

    async def hang(number, given):
        entered.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(pipeline.call(hang, deadline=None, retryable=False))
    await entered.wait()
    return task


async def test_a_rejection_of_the_limit_is_neutral_to_the_breaker_and_not_tried_again(build, clock):
    pipeline = build()
    running = await hold(pipeline)
    for _ in range(50):
        with pytest.raises(errors.ResourceExhausted) as rejected:
            await pipeline.call(answer, deadline=None, retryable=True)
        assert exhausted(rejected.value)
    assert pipeline.breaker.state is State.CLOSED
    assert clock.slept == []
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await pipeline.call(answer, deadline=None, retryable=True) == "answer", "a cancelled call leaves its place"


async def test_a_probe_that_the_limit_turns_away_gives_its_lease_back(build, clock):
    pipeline = build(limit=3)
    for _ in range(5):
        with suppress(errors.Unavailable):
            await pipeline.call(down, deadline=None, retryable=False)
    clock.now += 1.0
    running = [await hold(pipeline) for _ in range(2)]
    full = [pipeline.limit.take()]
    for _ in range(10):
        with pytest.raises(errors.ResourceExhausted):
            await pipeline.call(answer, deadline=None, retryable=False)
    assert full == [True]
    pipeline.limit.give_back(0.0)
    assert await pipeline.call(answer, deadline=None, retryable=False) == "answer"
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def test_a_call_that_waited_has_only_what_remains(build, clock):
    pipeline = build(waiting=1)
    running = await hold(pipeline)
    given = []

    async def note(number, seconds):
        given.append(seconds)

    waiting = asyncio.ensure_future(pipeline.call(note, deadline=clock.now + 10, retryable=False))
    await asyncio.sleep(0)
    clock.now += 4
    running.cancel()
    await waiting
    assert given == [pytest.approx(6)]


async def test_what_waited_while_the_breaker_opened_is_refused_and_keeps_no_place(build, clock):
    pipeline = build(waiting=9)
    running = await hold(pipeline)
    waiting = [asyncio.ensure_future(pipeline.call(answer, deadline=None, retryable=True)) for _ in range(3)]
    await asyncio.sleep(0)
    for _ in range(5):
        pipeline.breaker.acquire().failure()
    running.cancel()
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [getattr(end, "reason", end) for end in ends] == ["BREAKER_OPEN"] * 3
    assert (pipeline.limit.running, pipeline.limit.waiting) == (0, 0)


async def test_what_waits_for_its_turn_on_this_side_is_no_call_that_hangs(build, policy, clock):
    breaker = Breaker("payments", replace(policy, consecutive_failures=2, slow_call_duration=0.25), clock=clock)
    pipeline = build(waiting=1, breaker=breaker)
    running = await hold(pipeline)
    waiting = asyncio.ensure_future(pipeline.call(answer, deadline=None, retryable=False))
    await asyncio.sleep(0)
    clock.now += 60
    with pytest.raises(errors.ResourceExhausted):
        await pipeline.call(answer, deadline=None, retryable=False)
    assert breaker.state is State.CLOSED, "one call hangs, and none but that one has begun"
    running.cancel()
    assert await waiting == "answer"


async def test_an_attempt_has_its_own_time_within_the_deadline(build, clock):
    given = []

    async def slow(number, seconds):
        given.append(seconds)
        clock.now += seconds
        raise errors.DeadlineExceeded("no answer in time")

    with pytest.raises(errors.DeadlineExceeded):
        await build(attempt_timeout=2.0).call(slow, deadline=clock.now + 5, retryable=True)
    assert given == pytest.approx([2.0, 2.0, 5 - 2 - 0.1 - 2 - 0.2])
    given.clear()
    with pytest.raises(errors.DeadlineExceeded):
        await build(attempt_timeout=2.0).call(slow, deadline=None, retryable=False)
    assert given == [2.0]


async def test_our_own_deadline_is_a_failure_of_the_target(build, clock):
    pipeline = build(full_time=FULL)
    for _ in range(5):
        await give_up(pipeline, clock, FULL)
    assert pipeline.breaker.state is State.OPEN


@pytest.mark.parametrize("seconds", [0.95 * FULL, 60.0])
async def test_what_the_way_to_an_attempt_took_does_not_make_its_time_a_short_one(build, clock, seconds):
    pipeline = build(attempt_timeout=FULL)
    for _ in range(5):
        await give_up(pipeline, clock, seconds)
    assert pipeline.breaker.state is State.OPEN


async def test_a_caller_that_gives_no_time_cannot_open_the_breaker_for_all(build, clock):
    pipeline = build(full_time=FULL)
    for _ in range(5000):
        await give_up(pipeline, clock, 0.001)
    assert pipeline.breaker.state is State.CLOSED


async def test_callers_that_give_little_time_cannot_open_the_breaker_while_others_are_answered(build, clock):
    pipeline = build(limit=99, full_time=FULL)
    for _ in range(50):
        await asyncio.gather(*(give_up(pipeline, clock, 0.11 * FULL) for _ in range(8)))
        assert await pipeline.call(answer, deadline=None, retryable=False) == "answer"
    assert pipeline.breaker.state is State.CLOSED


@pytest.mark.parametrize("window", [0.0, 60.0])
async def test_a_target_that_answers_nobody_is_found_out_though_all_its_callers_give_little_time(build, policy, clock, window):  # fmt: skip
    breaker = Breaker("payments", replace(policy, window_time=window), clock=clock)
    pipeline = build(breaker=breaker, full_time=FULL)
    await pipeline.call(answer, deadline=None, retryable=False)
    last = clock.now
    while breaker.state is State.CLOSED:
        await give_up(pipeline, clock, FULL / 4)
    assert clock.now - last == FULL + FULL / 4 + 4 * FULL / 4, (
        "asked for the full time after the first, then five in a row"
    )


async def test_callers_that_give_up_together_do_not_add_up(build, clock):
    pipeline = build(limit=99, full_time=FULL)
    await give_up(pipeline, clock, FULL / 4)
    clock.now += 60
    for _ in range(50):
        with suppress(errors.DeadlineExceeded):
            await pipeline.call(out_of_time, deadline=clock.now + FULL / 4, retryable=False)
    assert pipeline.breaker.state is State.CLOSED, "it was asked for a quarter of the time"


async def test_probes_that_give_up_early_neither_close_nor_open_it_until_their_times_make_a_full_one(build, clock):
    pipeline = build(full_time=FULL)
    for _ in range(5):
        await give_up(pipeline, clock, FULL)
    clock.now += 2
    for _ in range(4):
        await give_up(pipeline, clock, FULL / 4)
        assert pipeline.breaker.state is State.HALF_OPEN
    await give_up(pipeline, clock, FULL / 4)
    assert pipeline.breaker.state is State.OPEN


async def test_what_hung_while_nobody_was_answered_failed_however_little_its_time(build, policy, clock):
    breaker = Breaker("payments", replace(policy, slow_call_duration=FULL / 8), clock=clock)
    pipeline = build(breaker=breaker, full_time=FULL)
    for _ in range(5):
        await give_up(pipeline, clock, FULL / 4)
    assert breaker.state is State.OPEN
    clock.now += 2
    await give_up(pipeline, clock, FULL / 4)
    assert breaker.state is State.OPEN, "a slow probe is a failed one"


async def test_what_gives_up_before_it_is_slow_or_beside_an_answer_has_not_hung(build, policy, clock):
    breaker = Breaker("payments", replace(policy, slow_call_duration=FULL / 4), clock=clock)
    pipeline = build(limit=99, breaker=breaker, full_time=FULL)

    async def beside(number, given):
        await pipeline.call(answer, deadline=None, retryable=False)
        raise await slowly(clock, given)

    for _ in range(5):
        await give_up(pipeline, clock, FULL / 8)
        with pytest.raises(errors.DeadlineExceeded):
            await pipeline.call(beside, deadline=clock.now + FULL / 2, retryable=False)
    assert breaker.state is State.CLOSED


async def test_a_declared_answer_of_the_business_is_one_though_it_speaks_of_a_deadline(build, clock):
    pipeline = build(full_time=FULL)
    for _ in range(5):
        await give_up(pipeline, clock, FULL)
    clock.now += 2

    async def sold_out(number, given):
        raise errors.DeadlineExceeded("the sale is over", reason="OUT_OF_STOCK")

    for _ in range(3):
        with pytest.raises(errors.DeadlineExceeded):
            await pipeline.call(sold_out, deadline=clock.now + FULL / 2, retryable=False)
    assert pipeline.breaker.state is State.CLOSED


@pytest.mark.parametrize(
    "error",
    [
        errors.Unavailable("e"),
        errors.DeadlineExceeded("e"),
        errors.Internal("e"),
        errors.ResourceExhausted("e"),
        ConnectionRefusedError("e"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_fallback_answers_for_a_target_that_fails_or_sheds(build, error):
    async def fails(number, given):
        raise error

    assert await build().call(fails, deadline=None, retryable=False, fallback=lesser) == "lesser, for e"


@pytest.mark.parametrize(
    "error",
    [
        errors.NotFound("e"),
        errors.Aborted("e"),
        errors.Unavailable("e", reason="OUT_OF_STOCK"),
        errors.Cancelled("e"),
        ValueError("e"),
        asyncio.CancelledError("e"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_fallback_never_stands_in_for_an_answer_or_a_mistake(build, error):
    async def ends(number, given):
        raise error

    with pytest.raises(type(error)):
        await build().call(ends, deadline=None, retryable=False, fallback=lesser)


async def test_a_fallback_answers_when_the_breaker_or_the_limit_refuses(build):
    pipeline = build()
    running = await hold(pipeline)
    assert "shed" in await pipeline.call(answer, deadline=None, retryable=True, fallback=lesser)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    for _ in range(5):
        await pipeline.call(down, deadline=None, retryable=False, fallback=lesser)
    assert "breaker is open" in await pipeline.call(answer, deadline=None, retryable=True, fallback=lesser)


async def test_attempts_leave_the_fallback_its_reserve_of_time(build, clock):
    given = []

    async def slow(number, seconds):
        given.append(seconds)
        clock.now += seconds
        raise errors.DeadlineExceeded("no answer in time")

    begin = clock.now
    told = await build().call(slow, deadline=begin + 2, retryable=True, fallback=lesser, reserve=0.5)
    assert (given, told) == ([1.5], "lesser, for no answer in time")
    assert clock.now == begin + 1.5


async def test_a_call_that_has_only_the_reserve_left_goes_to_the_fallback_at_once(build, clock):
    told = await build().call(down, deadline=clock.now + 0.4, retryable=True, fallback=lesser, reserve=0.5)
    assert "was not called" in told


async def test_after_the_deadline_nothing_falls_back(build, clock):
    with pytest.raises(errors.DeadlineExceeded):
        await build().call(answer, deadline=clock.now, retryable=True, fallback=lesser)


async def starved(build, clock, late, fallback):
    """Call with 1 s, of which the fallback has 10 ms, for a caller that has 2 s; the attempt overruns its time."""

    async def overruns(number, seconds):
        clock.now += seconds + late
        raise errors.DeadlineExceeded("no answer in time")

    now = clock.now
    return await build().call(
        overruns, deadline=now + 1, retryable=True, fallback=fallback, reserve=0.01, until=now + 2
    )


async def test_attempts_that_overrun_leave_the_fallback_its_reserve_of_what_the_caller_has(build, clock):
    assert "no answer in time" in await starved(build, clock, 0.9, lesser)
    with pytest.raises(errors.DeadlineExceeded):
        await starved(build, clock, 1.1, lesser)


async def test_a_late_fallback_has_no_more_than_its_reserve(build, clock):
    async def hangs(error):
        await asyncio.Event().wait()

    async with asyncio.timeout(30):
        with pytest.raises(errors.DeadlineExceeded):
            await starved(build, clock, 0.1, hangs)


async def test_a_fallback_that_takes_too_long_leaves_the_cause(build, clock):
    async def hangs(error):
        await asyncio.Event().wait()

    with pytest.raises(errors.Unavailable, match="down"):
        await build().call(down, deadline=clock.now + 0.01, retryable=False, fallback=hangs)


async def test_an_error_of_the_fallback_is_the_calls(build):
    async def fails(error):
        raise errors.NotFound("nothing kept")

    with pytest.raises(errors.NotFound):
        await build().call(down, deadline=None, retryable=False, fallback=fails)


async def test_methods_of_a_group_share_a_limit(policy, clock):
    from laneway.contract.policy import Policy
    from laneway.resilience.pipeline import Pipelines
    from tests.unit.resilience.test_pipelines import Method

    limited = Policy(
        deadline=1, idempotency=None, retry=RetryPolicy(max_attempts=1, initial_backoff=0, max_backoff=0),
        breaker=policy, queue=None, subscription=None, errors=frozenset(), group="provider",
        limit=LimitPolicy(max_concurrent=1, max_waiting=0),
    )  # fmt: skip
    pipelines = Pipelines(clock=clock, sleep=clock.sleep)
    authorize = Method("payments", "Authorize", limited)
    running = await hold(pipelines.of(authorize))
    with pytest.raises(errors.ResourceExhausted):
        await pipelines.of(replace(authorize, full_name="Refund")).call(answer, deadline=None, retryable=False)
    await pipelines.of(replace(authorize, owner="orders")).call(answer, deadline=None, retryable=False)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_watchers_of_a_quiet_feed_neither_hang_nor_are_slow(build, policy, clock):
    breaker = Breaker("feed", replace(policy, slow_call_duration=0.25), clock=clock)
    pipeline, news = build(breaker=breaker), asyncio.Event()

    async def feed():
        await news.wait()
        yield "news"

    async def watch():
        async with aclosing(pipeline.stream(feed)) as messages:
            return await anext(messages)

    watchers = [asyncio.ensure_future(watch()) for _ in range(20)]
    await asyncio.sleep(0)
    clock.now += 3600
    late = asyncio.ensure_future(watch())
    await asyncio.sleep(0)
    news.set()
    assert await asyncio.gather(*watchers, late) == ["news"] * 21
    assert breaker.state is State.CLOSED, "twenty first messages after an hour are no slow calls"


async def test_a_quiet_feed_that_is_probed_is_well_when_it_has_news(build, policy, clock):
    breaker = Breaker("feed", replace(policy, slow_call_duration=0.25), clock=clock)
    pipeline = build(breaker=breaker)
    for _ in range(5):
        breaker.acquire().failure()
    clock.now += 2

    async def feed():
        clock.now += 10
        yield "news"

    for _ in range(3):
        assert [message async for message in pipeline.stream(feed)] == ["news"]
    assert breaker.state is State.CLOSED


@pytest.mark.parametrize("waited", [0.0, 60.0])
async def test_time_in_our_own_queue_is_not_the_targets(build, policy, clock, waited):
    breaker = Breaker("payments", replace(policy, consecutive_failures=2, slow_call_duration=0.25), clock=clock)
    for _ in range(2):
        breaker.acquire().failure()
    clock.now += 2
    pipeline = build(waiting=9, breaker=breaker)
    running = await hold(pipeline)
    waiting = [asyncio.ensure_future(pipeline.call(answer, deadline=None, retryable=False)) for _ in range(2)]
    await asyncio.sleep(0)
    clock.now += waited
    running.cancel()
    assert await asyncio.gather(*waiting) == ["answer"] * 2
    assert breaker.state is State.HALF_OPEN, "two probes were well, though they waited"


async def test_what_began_after_its_turn_came_hangs_from_then_on(build, policy, clock):
    breaker = Breaker("payments", replace(policy, consecutive_failures=1, slow_call_duration=0.25), clock=clock)
    pipeline = build(waiting=1, breaker=breaker)
    running, began = await hold(pipeline), asyncio.Event()

    async def hang(number, given):
        began.set()
        await asyncio.Event().wait()

    waiting = asyncio.ensure_future(pipeline.call(hang, deadline=None, retryable=False))
    await asyncio.sleep(0)
    running.cancel()
    await began.wait()
    clock.now += 0.25
    with pytest.raises(errors.Unavailable, match="breaker is open"):
        await pipeline.call(answer, deadline=clock.now + 0.01, retryable=False)
    waiting.cancel()
    await asyncio.gather(running, waiting, return_exceptions=True)
