"""The policy around a client call, in the design's order:
fallback → deadline → retry (budget) → breaker → concurrency limit → attempt.

The attempt is any awaitable. Only a `LanewayError` is tried again; of others, `classify` says what they tell of the
target. An attempt that does not keep to the seconds that it is given is ended after them. Must not know a transport.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar
from weakref import WeakValueDictionary

from laneway.contract.policy import Breaker as BreakerPolicy
from laneway.contract.policy import Limit as LimitPolicy
from laneway.contract.policy import Policy
from laneway.contract.policy import Retry as RetryPolicy
from laneway.errors import DeadlineExceeded, LanewayError
from laneway.resilience.breaker import Breaker, Permit, State, StateListener
from laneway.resilience.health import Classify, Health
from laneway.resilience.limit import Limit
from laneway.resilience.retry import RetryBudget, Retrying, mark_exhausted

T = TypeVar("T")

Attempt = Callable[[int, float | None], Awaitable[T]]
"""Makes one attempt, given its number (from 1) and the seconds that it has (None: no deadline)."""

Fallback = Callable[[Exception], Awaitable[T]]
"""Makes a lesser answer, given what kept the call from its own."""

RefusalListener = Callable[[str, str], None]
"""Is told the target and the reason of each call that was refused on this side."""

FAIR_SHARE = 0.1
"""An attempt that was given less than this share of the full time, and ran out of it, says nothing of its target:
or a stranger at the edge could open a breaker for all by asking for a millisecond."""

NEARLY = 0.9
"""An attempt that was given this share of the full time had all of it: the rest went on the way to it."""


class Pipeline:
    """Carries the calls to one target by its policy.

    An attempt has at most `attempt_timeout` seconds. One that runs out of its time is a failure of the target if it had
    `full_time` (by default the same): what the target may take. If its caller gave it less, the breaker hears only that
    it gave up (`Permit.gave_up`).

    `answers` are the reasons of errors that are answers: neither tried again nor held against the target. `classify`
    says what an error tells of it, if `Health.after` does not do. `keeps_time` says that attempts keep
    to their time themselves, as those of gRPC do, and spares them a timer.
    """

    def __init__(
        self,
        target: str,
        *,
        breaker: Breaker,
        retry: RetryPolicy,
        budget: RetryBudget,
        limit: Limit | None = None,
        attempt_timeout: float | None = None,
        full_time: float | None = None,
        answers: frozenset[str] = frozenset(),
        classify: Classify | None = None,
        keeps_time: bool = False,
        refused: RefusalListener | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.target = target
        self.breaker = breaker
        self.limit = limit
        self._attempt_timeout = attempt_timeout
        self._full_time = (attempt_timeout or 0.0) if full_time is None else full_time
        self._retrying = Retrying(retry, budget, random=random)
        self._answers = answers
        self._classify = classify or partial(Health.after, answers=answers)
        self._keeps_time = keeps_time
        self._refused = refused
        self._clock = clock
        self._sleep = sleep

    async def call(
        self,
        attempt: Attempt[T],
        *,
        deadline: float | None,
        retryable: bool,
        fallback: Fallback[T] | None = None,
        reserve: float = 0.0,
        until: float | None = None,
    ) -> T:
        """Make a call; `deadline` is on the pipeline's clock, `retryable` says that repeating it is harmless.

        An open breaker refuses at once and is never waited for. An error on which this layer has given up is
        marked, so that no layer above tries again. A `fallback` answers in the place of a target that fails or
        sheds, never in that of one that answered; the attempts leave it `reserve` seconds before the deadline. Where
        they took longer, as on a machine that is overloaded, it has those seconds all the same until `until`: who made
        the call may have more time than the call.

        Raises:
            DeadlineExceeded: the deadline had passed, and the call was not started.
            Unavailable: the breaker is open (reason `BREAKER_OPEN`).
            ResourceExhausted: the concurrency limit is reached (reason `CONCURRENCY_LIMIT`).
            LanewayError: what the last attempt ended with.
        """
        if fallback is None:
            return await self._call(attempt, deadline, retryable=retryable)
        try:
            return await self._call(attempt, None if deadline is None else deadline - reserve, retryable=retryable)
        except Exception as error:
            if self._classify(error) not in (Health.FAILING, Health.THROTTLING):
                raise
            remaining = self._remaining(deadline)
            if remaining is not None and until is not None:
                remaining = max(remaining, min(reserve, until - self._clock()))
            if remaining is not None and remaining <= 0:
                raise
            return await self._fall_back(fallback, error, remaining)

    async def stream(self, open: Callable[[], AsyncIterator[T]]) -> AsyncGenerator[T, None]:
        """Make a streaming call. The breaker decides at the first message (or the end before any).

        However long that takes, it is not slow and does not hang: a feed may have no news. What fails after it is not
        counted, nothing is tried again, and the concurrency limit does not apply: a stream would hold its place for as
        long as it lives. Close the generator when leaving early.
        """
        permit = self._admitted(self.breaker.acquire)
        permit.hold()
        messages: AsyncIterator[T] | None = None
        try:
            messages = open()
            async for message in messages:
                permit.success()
                yield message
            permit.success()
        except BaseException as error:
            permit.settle(self._classify(error))
            raise
        finally:
            if isinstance(messages, AsyncGenerator):
                await messages.aclose()

    async def _fall_back(self, fallback: Fallback[T], error: Exception, remaining: float | None) -> T:
        try:
            async with asyncio.timeout(remaining) as limit:
                return await fallback(error)
        except TimeoutError:
            if limit.expired():
                raise error from None
            raise

    async def _call(self, attempt: Attempt[T], deadline: float | None, *, retryable: bool) -> T:
        remaining = self._remaining(deadline)
        if remaining is not None and remaining <= 0:
            raise DeadlineExceeded(f"{self.target} was not called: the deadline had passed.")
        number = 1
        last: LanewayError | None = None
        while True:
            permit = self._admitted(self.breaker.admit, last)
            try:
                return await self._attempt(permit, attempt, number, deadline)
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

    async def _attempt(self, permit: Permit, attempt: Attempt[T], number: int, deadline: float | None) -> T:
        if self.limit is not None and not self.limit.take():
            permit = await self._wait(permit, self.limit, deadline)
        given = self._given(deadline)
        if number == 1:
            self._retrying.first_attempt()
        try:
            if given is None or self._keeps_time:
                result = await self._limited(attempt, number, given)
            else:
                result = await self._in_time(attempt, number, given)
        except BaseException as error:
            self._settle(permit, error, given)
            raise
        permit.success()
        return result

    async def _wait(self, permit: Permit, limit: Limit, deadline: float | None) -> Permit:
        """Wait for a turn. A breaker that has opened meanwhile refuses it: what waited is no reason to call."""
        permit.hold()
        try:
            await limit.wait(deadline)
        except BaseException as error:
            permit.neutral()
            if isinstance(error, LanewayError):
                self._note(error)
            raise
        if permit.current:
            permit.begin()
            return permit
        try:
            return self._admitted(self.breaker.admit)
        except LanewayError:
            limit.give_back(None)
            raise

    async def _in_time(self, attempt: Attempt[T], number: int, given: float) -> T:
        try:
            async with asyncio.timeout(given) as limit:
                return await self._limited(attempt, number, given)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise DeadlineExceeded(f"{self.target} did not answer within {given:.3g} s.") from error

    async def _limited(self, attempt: Attempt[T], number: int, given: float | None) -> T:
        if self.limit is None:
            return await attempt(number, given)
        began = self._clock()
        try:
            return await attempt(number, given)
        finally:
            self.limit.give_back(self._clock() - began)

    def _settle(self, permit: Permit, error: BaseException, given: float | None) -> None:
        health, full = self._classify(error), self._full_time
        ours = health is Health.FAILING and isinstance(error, DeadlineExceeded)
        if not ours or given is None or given >= NEARLY * full:
            permit.settle(health)
        elif given < FAIR_SHARE * full:
            permit.neutral()
        else:
            permit.gave_up(given, full)

    def _given(self, deadline: float | None) -> float | None:
        """Seconds for the attempt that begins now."""
        remaining = self._remaining(deadline)
        if remaining is None or self._attempt_timeout is None:
            return self._attempt_timeout if remaining is None else remaining
        return min(remaining, self._attempt_timeout)

    def _admitted(self, by: Callable[[], Permit], cause: LanewayError | None = None) -> Permit:
        try:
            return by()
        except LanewayError as refusal:
            self._note(refusal)
            raise refusal from cause

    def _note(self, refusal: LanewayError) -> None:
        mark_exhausted(refusal)
        if self._refused is not None:
            self._refused(self.target, refusal.reason or "")

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
    """The pipelines of a process: breaker and concurrency limit per method group of each service, a retry budget
    per service.

    A method that names no group is one of its own: if it fails, its neighbours go on. Methods of one group share
    a breaker, or a limit, if its policy is the same for them. All retries to one service come out of one budget.
    """

    def __init__(
        self,
        *,
        listeners: Sequence[StateListener] = (),
        refused: RefusalListener | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._listeners = tuple(listeners)
        self._refused = refused
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._pipelines: dict[tuple[str, str], tuple[Policy, Pipeline]] = {}
        self._budgets: dict[str, RetryBudget] = {}
        self._breakers: WeakValueDictionary[tuple[str, BreakerPolicy], Breaker] = WeakValueDictionary()
        self._limits: WeakValueDictionary[tuple[str, LimitPolicy], Limit] = WeakValueDictionary()

    def of(self, method: Target, policy: Policy | None = None) -> Pipeline:
        """The pipeline of a method; made at its first call. A system method has one at each service.

        `policy` is the one in force, if it is not the method's own. When it changes, what it says of the breaker or
        of the limit decides whether they begin anew.
        """
        policy = policy or method.policy
        key = method.owner, method.full_name
        before, pipeline = self._pipelines.get(key, (None, None))
        if before is policy and pipeline is not None:
            return pipeline
        pipeline = self._build(method, policy)
        self._pipelines[key] = policy, pipeline
        return pipeline

    def refusing(self) -> int:
        """How many breakers are open now. May be called from any thread."""
        return sum(breaker.refuses for breaker in {pipeline.breaker for _, pipeline in list(self._pipelines.values())})

    def states(self) -> Mapping[str, State]:
        """The state of each breaker, by what it guards. May be called from any thread."""
        return {pipeline.breaker.target: pipeline.breaker.state for _, pipeline in list(self._pipelines.values())}

    def budgets(self) -> Mapping[str, RetryBudget]:
        """The retry budget of each service. May be called from any thread."""
        return dict(self._budgets)

    def _build(self, method: Target, policy: Policy) -> Pipeline:
        group = f"{method.owner}/{policy.group or method.full_name}"
        reserve = 0.0 if policy.fallback is None else policy.fallback.reserve
        return Pipeline(
            f"{method.owner}/{method.full_name}",
            breaker=self._breaker(group, policy.breaker),
            retry=policy.retry,
            budget=self._budgets.setdefault(method.owner, RetryBudget(clock=self._clock)),
            limit=self._limit(group, policy.limit),
            attempt_timeout=policy.attempt_timeout,
            full_time=min(policy.deadline - reserve, policy.attempt_timeout or policy.deadline),
            answers=policy.errors,
            keeps_time=True,
            refused=self._refused,
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

    def _limit(self, target: str, policy: LimitPolicy) -> Limit:
        known = self._limits.get((target, policy))
        if known is None:
            known = self._limits[target, policy] = Limit(target, policy, clock=self._clock)
        return known
