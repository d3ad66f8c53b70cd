"""The policy around a client call, in the design's order: deadline → retry (budget) → breaker → attempt.

The attempt is any awaitable; its errors are `LanewayError`s by the time they come here (others are
counted, but never retried). It is given the seconds that remain and keeps to them itself: `asyncio.wait_for`
would lose its spans. Must not know a transport.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol, TypeVar
from weakref import WeakValueDictionary

from laneway.contract.policy import Breaker as BreakerPolicy
from laneway.contract.policy import Policy
from laneway.contract.policy import Retry as RetryPolicy
from laneway.errors import DeadlineExceeded, LanewayError
from laneway.resilience.breaker import Breaker, Permit, StateListener
from laneway.resilience.health import Health
from laneway.resilience.retry import RetryBudget, Retrying, mark_exhausted

T = TypeVar("T")

Attempt = Callable[[int, float | None], Awaitable[T]]
"""Makes one attempt, given its number (from 1) and the seconds that remain (None: no deadline)."""


class Pipeline:
    """Carries the calls to one target by its policy."""

    def __init__(
        self,
        target: str,
        *,
        breaker: Breaker,
        retry: RetryPolicy,
        budget: RetryBudget,
        answers: frozenset[str] = frozenset(),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.target = target
        self.breaker = breaker
        self._retrying = Retrying(retry, budget, random=random)
        self._answers = answers
        self._clock = clock
        self._sleep = sleep

    async def call(self, attempt: Attempt[T], *, deadline: float | None, retryable: bool) -> T:
        """Make a call; `deadline` is on the pipeline's clock, `retryable` says that repeating it is harmless.

        An open breaker refuses at once and is never waited for. An error on which this layer has given up is
        marked, so that no layer above tries again.

        Raises:
            DeadlineExceeded: the deadline had passed, and the call was not started.
            Unavailable: the breaker is open (reason `BREAKER_OPEN`).
            LanewayError: what the last attempt ended with.
        """
        remaining = self._remaining(deadline)
        if remaining is not None and remaining <= 0:
            raise DeadlineExceeded(f"{self.target} was not called: the deadline had passed.")
        self._retrying.first_attempt()
        number = 1
        last: LanewayError | None = None
        while True:
            permit = self._acquire(last)
            try:
                return await self._attempt(permit, attempt, number, remaining)
            except LanewayError as error:
                if not retryable or not error.transient or error.reason in self._answers:
                    raise
                delay = self._retrying.delay(number, error, self._remaining(deadline))
                if delay is None:
                    self._give_up(error)
                    raise
                await self._sleep(delay)
                remaining = self._remaining(deadline)
                if remaining is not None and remaining <= 0:  # slept longer than asked
                    self._give_up(error)
                    raise
                last = error
            number += 1

    async def stream(self, open: Callable[[], AsyncIterator[T]]) -> AsyncGenerator[T, None]:
        """Make a streaming call. The breaker decides at the first message (or the end before any).

        What fails after it is not counted, nothing is tried again. Close the generator when leaving early.
        """
        permit = self._acquire()
        messages: AsyncIterator[T] | None = None
        try:
            messages = open()
            async for message in messages:
                permit.success()
                yield message
            permit.success()
        except BaseException as error:
            permit.settle(Health.after(error, self._answers))
            raise
        finally:
            if isinstance(messages, AsyncGenerator):
                await messages.aclose()

    async def _attempt(self, permit: Permit, attempt: Attempt[T], number: int, remaining: float | None) -> T:
        try:
            result = await attempt(number, remaining)
        except BaseException as error:
            permit.settle(Health.after(error, self._answers))
            raise
        permit.success()
        return result

    def _acquire(self, cause: LanewayError | None = None) -> Permit:
        try:
            return self.breaker.acquire()
        except LanewayError as refusal:
            mark_exhausted(refusal)
            raise refusal from cause

    def _give_up(self, error: LanewayError) -> None:
        if self._retrying.enabled:
            mark_exhausted(error)

    def _remaining(self, deadline: float | None) -> float | None:
        return None if deadline is None else deadline - self._clock()


class Target(Protocol):
    """What a pipeline needs to know of a method; `laneway.contract.model.Method` is one."""

    @property
    def owner(self) -> str: ...
    @property
    def full_name(self) -> str: ...
    @property
    def policy(self) -> Policy: ...


class Pipelines:
    """The pipelines of a process: a breaker per method group of each service, a retry budget per service.

    A method that names no group is one of its own: if it fails, its neighbours go on. Methods of one group share
    a breaker if its policy is the same for them. All retries to one service come out of one budget.
    """

    def __init__(
        self,
        *,
        listeners: Sequence[StateListener] = (),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._listeners = tuple(listeners)
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._pipelines: dict[tuple[str, str], tuple[Policy, Pipeline]] = {}
        self._budgets: dict[str, RetryBudget] = {}
        self._breakers: WeakValueDictionary[tuple[str, BreakerPolicy], Breaker] = WeakValueDictionary()

    def of(self, method: Target, policy: Policy | None = None) -> Pipeline:
        """The pipeline of a method; made at its first call. A system method has one at each service.

        `policy` is the one in force, if it is not the method's own. When its breaker or retry has changed, the
        pipeline is made anew, with a closed breaker.
        """
        policy = policy or method.policy
        key = method.owner, method.full_name
        before, pipeline = self._pipelines.get(key, (None, None))
        if before is policy and pipeline is not None:
            return pipeline
        if pipeline is None or before is None or not _alike(before, policy):
            pipeline = self._build(method, policy)
        self._pipelines[key] = policy, pipeline
        return pipeline

    def refusing(self) -> int:
        """How many breakers are open now. May be called from any thread."""
        return sum(pipeline.breaker.refuses for _, pipeline in list(self._pipelines.values()))

    def _build(self, method: Target, policy: Policy) -> Pipeline:
        return Pipeline(
            f"{method.owner}/{method.full_name}",
            breaker=self._breaker(f"{method.owner}/{policy.group or method.full_name}", policy.breaker),
            retry=policy.retry,
            budget=self._budgets.setdefault(method.owner, RetryBudget(clock=self._clock)),
            answers=policy.errors,
            clock=self._clock,
            sleep=self._sleep,
            random=self._random,
        )

    def _breaker(self, target: str, policy: BreakerPolicy) -> Breaker:
        known = self._breakers.get((target, policy))
        if known is None:
            known = Breaker(target, policy, clock=self._clock, random=self._random, listeners=self._listeners)
            self._breakers[target, policy] = known
        return known


def _alike(one: Policy, other: Policy) -> bool:
    return (one.breaker, one.retry, one.group) == (other.breaker, other.retry, other.group)
