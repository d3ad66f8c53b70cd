"""The pipeline in a program that has no contract, and calls what raises errors of its own."""

import asyncio
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from laneway import errors
from laneway.contract.policy import Retry as RetryPolicy
from laneway.resilience import Breaker, Health, Pipeline, RetryBudget, State

PAGE = Path(__file__).parents[3] / "docs" / "resilience.md"


class Foreign(Exception):
    """As a library raises it; it says nothing of its kind to us."""


class NotThere(Foreign):
    """An answer of the target."""


class Stop(BaseException):
    """As `KeyboardInterrupt`: no error of a call."""


def classify(error: BaseException) -> Health:
    return Health.HEALTHY if isinstance(error, NotThere) else Health.after(error)


def group(*members: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("together", members)


@pytest.fixture
def build(policy, clock):
    def built(**changes) -> Pipeline:
        return Pipeline(
            "search",
            breaker=Breaker("search", policy, clock=clock),
            retry=RetryPolicy(max_attempts=1, initial_backoff=0, max_backoff=0),
            budget=RetryBudget(),
            clock=clock,
            **changes,
        )

    return built


@pytest.mark.parametrize(
    ("error", "health"),
    [
        (Foreign(), Health.FAILING),
        (RuntimeError(), Health.FAILING),
        (TimeoutError(), Health.FAILING),
        (KeyError(), Health.NOTHING),
        (TypeError(), Health.NOTHING),
        (UnicodeEncodeError("ascii", "ß", 0, 1, "e"), Health.NOTHING),
        (asyncio.CancelledError(), Health.NOTHING),
        (Stop(), Health.NOTHING),
        (errors.Cancelled("e"), Health.NOTHING),
        (group(ValueError(), ConnectionError()), Health.FAILING),
        (group(ValueError(), group(errors.ResourceExhausted("e"), errors.NotFound("e"))), Health.THROTTLING),
        (group(ValueError(), errors.NotFound("e")), Health.HEALTHY),
        (group(ValueError()), Health.NOTHING),
    ],
    ids=repr,
)
def test_what_an_error_says_of_the_target(error, health):
    assert Health.after(error) is health


@pytest.mark.parametrize("window_time", [0.0, 60.0])
@pytest.mark.parametrize(("error", "state"), [(Foreign, State.OPEN), (NotThere, State.CLOSED)])
def test_a_breaker_alone_is_told_by_its_own_classes(policy, clock, window_time, error, state):
    breaker = Breaker("search", replace(policy, window_time=window_time), clock=clock, classify=classify)
    for _ in range(5):
        with suppress(Foreign), breaker.admit():
            raise error
    assert breaker.state is state


@pytest.mark.parametrize(("error", "state"), [(Foreign, State.OPEN), (NotThere, State.CLOSED)])
async def test_a_pipeline_is_told_by_its_own_classes(build, error, state):
    async def fail(number, given):
        raise error

    pipeline = build(classify=classify)
    for _ in range(5):
        with suppress(Foreign):
            await pipeline.call(fail, deadline=None, retryable=False)
    assert pipeline.breaker.state is state


async def test_an_attempt_that_does_not_keep_to_its_time_is_ended_and_failed(build):
    ended = []

    async def hang(number, given):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(asyncio.current_task())

    pipeline = build(attempt_timeout=0.01)
    for _ in range(5):
        with pytest.raises(errors.DeadlineExceeded, match=r"search did not answer within 0\.01 s"):
            await pipeline.call(hang, deadline=None, retryable=False)
    assert pipeline.breaker.state is State.OPEN
    assert ended == [asyncio.current_task()] * 5, "in its caller's task, with its span"


async def test_an_attempts_own_timeout_stays_what_it_is(build):
    async def fail(number, given):
        raise TimeoutError("of the library")

    with pytest.raises(TimeoutError, match="of the library"):
        await build(attempt_timeout=60.0).call(fail, deadline=None, retryable=False)


def test_the_example_of_the_page_does_what_the_page_says(capsys):
    [example] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(compile(example, str(PAGE), "exec"), {"__name__": "__main__"})  # noqa: S102 (our own page)
    [told] = re.findall(r"```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert capsys.readouterr().out == told
