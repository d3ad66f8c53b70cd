"""The policy around a call: what is tried again, what the breaker hears, and what the caller gets."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from laneway import errors
from laneway.contract.policy import Retry as RetryPolicy
from laneway.resilience.breaker import Breaker, State
from laneway.resilience.pipeline import Pipeline
from laneway.resilience.retry import RetryBudget, exhausted

RETRY = RetryPolicy(max_attempts=3, initial_backoff=0.1, max_backoff=1.0)


class Target:
    """Answers, or raises what it was given, in turn; remembers what it was called with."""

    def __init__(self, *errors: BaseException) -> None:
        self._errors = list(errors)
        self.calls: list[tuple[int, float | None]] = []

    async def __call__(self, number: int, remaining: float | None) -> str:
        self.calls.append((number, remaining))
        if self._errors:
            raise self._errors.pop(0)
        return "answer"


@pytest.fixture
def pipeline(policy, clock):
    return Pipeline(
        "payments",
        breaker=Breaker("payments", policy, clock=clock, random=lambda: 0.5),
        retry=RETRY,
        budget=RetryBudget(clock=clock),
        answers=frozenset({"OUT_OF_STOCK"}),
        clock=clock,
        sleep=clock.sleep,
        random=lambda: 1.0,
    )


def down() -> errors.LanewayError:
    return errors.Unavailable("down")


async def swallow(call) -> None:
    with suppress(errors.LanewayError, OSError, ValueError, asyncio.CancelledError):
        await call


async def test_a_call_that_may_be_repeated_is_tried_again(pipeline, clock):
    target = Target(down(), down())
    assert await pipeline.call(target, deadline=None, retryable=True) == "answer"
    assert target.calls == [(1, None), (2, None), (3, None)]
    assert clock.slept == pytest.approx([0.1, 0.2])


async def test_a_call_that_must_not_be_repeated_is_not(pipeline):
    target = Target(down())
    with pytest.raises(errors.Unavailable) as failed:
        await pipeline.call(target, deadline=None, retryable=False)
    assert len(target.calls) == 1
    assert not exhausted(failed.value), "a layer above, with a key, may"


async def test_when_attempts_run_out_the_error_says_that_nobody_else_needs_to_try(pipeline):
    with pytest.raises(errors.Unavailable) as failed:
        await pipeline.call(Target(down(), down(), down()), deadline=None, retryable=True)
    assert exhausted(failed.value)


async def test_an_answer_of_the_business_is_not_tried_again(pipeline):
    target = Target(errors.ResourceExhausted("none left", reason="OUT_OF_STOCK"))
    with pytest.raises(errors.ResourceExhausted) as answered:
        await pipeline.call(target, deadline=None, retryable=True)
    assert len(target.calls) == 1
    assert not exhausted(answered.value)


async def test_a_call_whose_deadline_has_passed_is_not_started(pipeline, clock):
    target = Target()
    with pytest.raises(errors.DeadlineExceeded, match="payments was not called"):
        await pipeline.call(target, deadline=clock.now, retryable=True)
    assert target.calls == []


async def test_each_attempt_is_told_what_remains(pipeline, clock):
    target = Target(down())
    await pipeline.call(target, deadline=clock.now + 2, retryable=True)
    assert target.calls == [(1, pytest.approx(2.0)), (2, pytest.approx(1.9))]


async def test_it_gives_up_at_once_when_the_next_attempt_would_be_too_late(pipeline, clock):
    target = Target(errors.Unavailable("restarting", retry_after=3))
    with pytest.raises(errors.Unavailable) as failed:
        await pipeline.call(target, deadline=clock.now + 2, retryable=True)
    assert clock.slept == []
    assert exhausted(failed.value)


async def test_a_sleep_that_took_too_long_starts_nothing(pipeline, clock):
    async def oversleep(seconds):
        clock.now += 10

    pipeline._sleep = oversleep
    target = Target(down())
    with pytest.raises(errors.Unavailable) as failed:
        await pipeline.call(target, deadline=clock.now + 2, retryable=True)
    assert len(target.calls) == 1
    assert exhausted(failed.value), "the budget's token is spent, and no layer above needs to try"


async def test_an_open_breaker_refuses_at_once_and_is_not_waited_for(pipeline, clock):
    for _ in range(5):
        await swallow(pipeline.call(Target(down()), deadline=None, retryable=False))
    target = Target()
    with pytest.raises(errors.Unavailable) as refused:
        await pipeline.call(target, deadline=None, retryable=True)
    assert refused.value.reason == "BREAKER_OPEN"
    assert exhausted(refused.value)
    assert (target.calls, clock.slept) == ([], [])


async def test_a_refusal_in_the_middle_of_a_call_names_the_failure_that_caused_it(pipeline):
    for _ in range(4):
        await swallow(pipeline.call(Target(down()), deadline=None, retryable=False))
    last = down()
    with pytest.raises(errors.Unavailable) as refused:
        await pipeline.call(Target(last), deadline=None, retryable=True)
    assert refused.value.reason == "BREAKER_OPEN"
    assert refused.value.__cause__ is last


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (errors.Unavailable("e"), State.OPEN),
        (errors.DeadlineExceeded("e"), State.OPEN),
        (errors.Internal("e"), State.OPEN),
        (errors.Unknown("e"), State.OPEN),
        (errors.DataLoss("e"), State.OPEN),
        (ConnectionRefusedError("e"), State.OPEN),
        (TimeoutError("e"), State.OPEN),
        (errors.ResourceExhausted("e"), State.CLOSED),
        (errors.Unavailable("e", reason="BREAKER_OPEN"), State.CLOSED),
        (errors.NotFound("e"), State.CLOSED),
        (errors.FailedPrecondition("e"), State.CLOSED),
        (errors.Aborted("e"), State.CLOSED),
        (errors.Cancelled("e"), State.CLOSED),
        (errors.Unavailable("e", reason="OUT_OF_STOCK"), State.CLOSED),
        (errors.Internal("e", reason="REPLY_TOO_LARGE"), State.CLOSED),
        (ValueError("e"), State.CLOSED),
        (asyncio.CancelledError(), State.CLOSED),
    ],
    ids=lambda value: value.name if isinstance(value, State) else type(value).__name__,
)
async def test_the_breaker_opens_on_failures_of_the_target_only(pipeline, error, state):
    for _ in range(30):
        await swallow(pipeline.call(Target(error), deadline=None, retryable=False))
    assert pipeline.breaker.state is state


@pytest.mark.parametrize(
    ("error", "healthy"),
    [(errors.NotFound("e"), True), (errors.ResourceExhausted("e"), False), (asyncio.CancelledError(), False)],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
async def test_only_an_answer_of_the_target_closes_its_breaker(pipeline, clock, error, healthy):
    for _ in range(5):
        await swallow(pipeline.call(Target(down()), deadline=None, retryable=False))
    clock.now += 1
    for _ in range(3):
        await swallow(pipeline.call(Target(error), deadline=None, retryable=False))
    assert pipeline.breaker.state is (State.CLOSED if healthy else State.HALF_OPEN)


async def test_nothing_is_held_across_a_call_so_that_all_callers_are_in_it_together(pipeline, clock):
    async def meet(number, remaining):
        await together.wait()
        return "answer"

    async with asyncio.timeout(30):
        together = asyncio.Barrier(32)
        calls = [pipeline.call(meet, deadline=None, retryable=True) for _ in range(32)]
        assert await asyncio.gather(*calls) == ["answer"] * 32
        for _ in range(5):
            await swallow(pipeline.call(Target(down()), deadline=None, retryable=False))
        clock.now += 1
        together = asyncio.Barrier(3)
        probes = [pipeline.call(meet, deadline=None, retryable=True) for _ in range(3)]
        assert await asyncio.gather(*probes) == ["answer"] * 3


async def test_cancelling_callers_leaves_the_probes_to_others(pipeline, clock):
    for _ in range(5):
        await swallow(pipeline.call(Target(down()), deadline=None, retryable=False))
    clock.now += 1
    entered = asyncio.Semaphore(0)

    async def hang(number, remaining):
        entered.release()
        await asyncio.Event().wait()

    waiting = [asyncio.create_task(pipeline.call(hang, deadline=None, retryable=True)) for _ in range(100)]
    for _ in range(3):
        await entered.acquire()
    assert pipeline.breaker.state is State.HALF_OPEN
    for task in waiting:
        task.cancel()
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(end, asyncio.CancelledError) for end in ends) == 3, "the others were refused"
    for _ in range(3):
        await pipeline.call(Target(), deadline=None, retryable=True)
    assert pipeline.breaker.state is State.CLOSED


async def test_a_failing_target_gets_no_more_retries_than_the_budget_has(policy, clock):
    pipeline = Pipeline(
        "payments",
        breaker=Breaker("payments", replace(policy, consecutive_failures=0, failure_rate=1.0, window=9000, minimum_calls=9000)),
        retry=RETRY,
        budget=RetryBudget(floor=0, capacity=10, clock=lambda: 0.0),
        clock=clock,
        sleep=clock.sleep,
    )  # fmt: skip
    attempts = 0

    async def fail(number, remaining):
        nonlocal attempts
        attempts += 1
        raise down()

    for _ in range(1000):
        await swallow(pipeline.call(fail, deadline=None, retryable=True))
    assert 1100 <= attempts <= 1110


class Stream:
    """A stream of numbers; an exception among them is raised."""

    def __init__(self, *items: object) -> None:
        self._items = items
        self.closed = False

    async def __call__(self):
        try:
            for item in self._items:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self.closed = True


async def drain(pipeline: Pipeline, *items: object) -> list[object]:
    return [message async for message in pipeline.stream(Stream(*items))]


async def test_the_first_message_of_a_stream_tells_the_breaker(pipeline, clock):
    for _ in range(5):
        await swallow(drain(pipeline, down()))
    assert pipeline.breaker.state is State.OPEN
    clock.now += 1
    streams = [pipeline.stream(Stream(1, down())) for _ in range(3)]
    for stream in streams:
        assert await anext(stream) == 1
    assert pipeline.breaker.state is State.CLOSED
    for stream in streams:
        with pytest.raises(errors.Unavailable):
            await anext(stream)
    for _ in range(5):
        await swallow(drain(pipeline, 1, down()))
    assert pipeline.breaker.state is State.CLOSED, "what fails after the first message is not counted"


async def test_a_stream_without_messages_is_an_answer(pipeline, clock):
    for _ in range(5):
        await swallow(drain(pipeline, down()))
    clock.now += 1
    for _ in range(3):
        assert await drain(pipeline) == []
    assert pipeline.breaker.state is State.CLOSED


async def test_leaving_a_stream_closes_it_below(pipeline):
    below = Stream(1, 2, 3)
    stream = pipeline.stream(below)
    await anext(stream)
    await stream.aclose()
    assert below.closed
