"""Breaker, budget and limit together, in random histories of many calls: what must never happen does not.

- No more attempts run than the limit has places, nor probes than half-open permits; none begins while it is open.
- Only the end of an attempt of the present generation opens or closes the breaker.
- Retries stay within the budget.
"""

import asyncio
import os
import random
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from laneway.contract.policy import Breaker as BreakerPolicy
from laneway.contract.policy import BreakerMode
from laneway.contract.policy import Limit as LimitPolicy
from laneway.contract.policy import Retry as RetryPolicy
from laneway.errors import DeadlineExceeded, LanewayError, NotFound, ResourceExhausted, Unavailable
from laneway.resilience.breaker import PROBE_LEASE, Breaker, State
from laneway.resilience.limit import Limit
from laneway.resilience.pipeline import Pipeline
from laneway.resilience.retry import RetryBudget
from tests.unit.resilience import histories

STEPS = 1_000_000 if os.environ.get("CI") else 30_000
"""Steps of the long walks, in all, that did something."""

WALKS = 4

SLOW = 2.0
BREAKER = BreakerPolicy(
    failure_rate=0.5, minimum_calls=6, window=10, consecutive_failures=4, open_time=1.0, half_open_calls=2
)
RETRY = RetryPolicy(max_attempts=3, initial_backoff=0.2, max_backoff=2.0, budget=0.1)
LIMIT = LimitPolicy(max_concurrent=4, max_waiting=5)
FLOOR, CAPACITY = 0.01, 5.0

ENDS = {
    "success": lambda: None,
    "failure": lambda: Unavailable("down"),
    "late": lambda: DeadlineExceeded("no answer"),
    "answer": lambda: NotFound("nothing there"),
    "throttle": lambda: ResourceExhausted("less, please"),
}


@dataclass
class Attempt:
    """One that the target has not ended yet."""

    generation: int
    began: float
    end: "asyncio.Future[None]"


@dataclass
class World:
    """A pipeline, its callers and its target; time passes when told."""

    mode: BreakerMode = BreakerMode.AUTOMATIC
    slow: float = 0.0
    now: float = 0.0
    running: list[Attempt] = field(default_factory=list)
    callers: "list[asyncio.Task[None]]" = field(default_factory=list)
    sleepers: "list[tuple[float, asyncio.Future[None]]]" = field(default_factory=list)
    steps: int = 0
    firsts: int = 0
    retries: int = 0
    successes: dict[int, int] = field(default_factory=dict)
    ending: Attempt | None = None
    stale: str | None = None

    def __post_init__(self) -> None:
        policy = replace(BREAKER, mode=self.mode, slow_call_duration=self.slow)
        self.breaker = Breaker("target", policy, clock=lambda: self.now, random=lambda: 0.5, listeners=[self.changed])
        self.limit = Limit("target", LIMIT, clock=lambda: self.now)
        self.pipeline = Pipeline(
            "target",
            breaker=self.breaker,
            retry=RETRY,
            budget=RetryBudget(floor=FLOOR, capacity=CAPACITY, clock=lambda: self.now),
            limit=self.limit,
            keeps_time=True,
            clock=lambda: self.now,
            sleep=self.sleep,
            random=lambda: 0.5,
        )

    # What happens to the pipeline

    async def begin(self, patience: float | None) -> None:
        self.steps += 1
        deadline = None if patience is None else self.now + patience
        self.callers.append(asyncio.ensure_future(self.call(deadline)))
        await self.quiet()

    async def end(self, which: int, how: str) -> None:
        if not self.running:
            return
        self.steps += 1
        attempt = self.ending = self.running[which % len(self.running)]
        error = ENDS[how]()
        if error is None:
            attempt.end.set_result(None)
        else:
            attempt.end.set_exception(error)
        await self.quiet()
        self.ending = None

    async def cancel(self, which: int) -> None:
        if self.callers:
            self.steps += 1
            self.callers[which % len(self.callers)].cancel()
            await self.quiet()

    async def wait(self, seconds: float) -> None:
        self.steps += 1
        self.now += seconds
        for until, sleeper in self.sleepers:
            if until <= self.now and not sleeper.done():
                sleeper.set_result(None)
        self.sleepers = [(until, sleeper) for until, sleeper in self.sleepers if until > self.now]
        await self.quiet()

    async def quiet(self) -> None:
        """Let everything that can go on go on."""
        for _ in range(5):
            await asyncio.sleep(0)
        for _ in range(4 * LIMIT.max_waiting):  # a leave that nobody may use any more is handed on, one waiter a turn
            if self.limit.running == len(self.running):
                break
            await asyncio.sleep(0)
        for caller in [caller for caller in self.callers if caller.done()]:
            self.callers.remove(caller)
            if not caller.cancelled():
                caller.result()  # an assertion of its attempt is one of the walk
        assert self.stale is None, self.stale
        assert self.limit.running == len(self.running) <= LIMIT.max_concurrent
        assert self.limit.waiting <= LIMIT.max_waiting
        assert self.retries <= CAPACITY + RETRY.budget * self.firsts + FLOOR * self.now

    async def close(self) -> None:
        for caller in self.callers:
            caller.cancel()
        await asyncio.gather(*self.callers, return_exceptions=True)
        assert (self.limit.running, self.limit.waiting, self.running) == (0, 0, [])

    # What the pipeline does

    async def call(self, deadline: float | None) -> None:
        with suppress(LanewayError):
            await self.pipeline.call(self.attempt, deadline=deadline, retryable=True)

    async def attempt(self, number: int, given: float | None) -> None:
        if number == 1:
            self.firsts += 1
        else:
            self.retries += 1
        assert given is None or given > 0, "nothing begins after its deadline"
        assert self.breaker.state is not State.OPEN, "an open breaker lets nothing through"
        attempt = Attempt(self.breaker._generation, self.now, asyncio.get_running_loop().create_future())
        self.running.append(attempt)
        assert len(self.running) <= LIMIT.max_concurrent
        if self.breaker.state is State.HALF_OPEN:
            probes = sum(other.generation == attempt.generation for other in self.running)
            assert probes + self.successes.get(attempt.generation, 0) <= BREAKER.half_open_calls
        try:
            await attempt.end
            self.succeeded(attempt)
        except NotFound:
            self.succeeded(attempt)
            raise
        finally:
            self.running.remove(attempt)

    def succeeded(self, attempt: Attempt) -> None:
        self.successes[attempt.generation] = self.successes.get(attempt.generation, 0) + 1

    async def sleep(self, seconds: float) -> None:
        sleeper = asyncio.get_running_loop().create_future()
        self.sleepers.append((self.now + seconds, sleeper))
        await sleeper

    def changed(self, target: str, before: State, after: State) -> None:
        # The change has begun the next generation. What a listener raises is logged, so that it is noted here.
        ended = None if self.ending is None else self.ending.generation
        probing = (before, after) == (State.OPEN, State.HALF_OPEN)
        silent = (before, after) == (State.CLOSED, State.OPEN) and self.slow and self.hanging()
        if not (probing or silent) and ended != self.breaker._generation - 1:
            self.stale = f"{before} became {after} by the end of an attempt of {ended}"

    def hanging(self) -> int:
        """How many attempts of the generation before hang."""
        then = self.breaker._generation - 1
        return sum(other.generation == then and self.now - other.began >= self.slow for other in self.running)


class Together(histories.Machine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = World()

    @initialize(slow=st.sampled_from([0.0, SLOW]))
    def build(self, slow):
        self.world = World(slow=slow)

    def run(self, step) -> None:
        self.loop.run_until_complete(step)

    @rule(patience=st.sampled_from([None, 0.05, 0.5, 5.0]))
    def begin(self, patience):
        self.run(self.world.begin(patience))

    @rule(which=st.integers(0, 20), how=st.sampled_from([*ENDS, "failure", "failure"]))
    def end(self, which, how):
        self.run(self.world.end(which, how))

    @rule(which=st.integers(0, 20))
    def cancel(self, which):
        self.run(self.world.cancel(which))

    @rule(seconds=st.sampled_from([0.01, 0.2, 1.0, 4.0, PROBE_LEASE]))
    def wait(self, seconds):
        self.run(self.world.wait(seconds))

    def teardown(self) -> None:
        self.run(self.world.close())
        self.loop.close()


@histories.in_parts
def test_in_short_histories_nothing_happens_that_must_not(part):
    histories.run(Together, part)


@pytest.mark.parametrize("mode", [BreakerMode.AUTOMATIC, BreakerMode.FORCED_CLOSED])
@pytest.mark.parametrize("slow", [0.0, SLOW])
async def test_in_long_walks_nothing_happens_that_must_not(slow: float, mode: BreakerMode) -> None:
    world, chance = World(mode, slow), random.Random(slow)
    ill, until = 0.0, 0
    while world.steps < STEPS // WALKS:
        if world.steps >= until:  # the target has better and worse times
            ill, until = chance.choice([0.0, 0.1, 0.5, 1.0]), world.steps + 200
        kind = chance.random()
        if kind < 0.4:
            await world.begin(chance.choice([None, 0.05, 0.5, 5.0]))
        elif kind < 0.8:
            how = chance.choice(["failure", "late", "throttle"]) if chance.random() < ill else "success"
            await world.end(chance.randrange(20), how)
        elif kind < 0.85:
            await world.cancel(chance.randrange(20))
        else:
            await world.wait(chance.choice([0.01, 0.2, 1.0, 4.0]))
    if mode is BreakerMode.AUTOMATIC:
        assert len(world.successes) > STEPS // WALKS // 500, "the breaker has been through many lives"
    else:
        assert world.retries > 50, "the budget has been spent many times over"
    await world.close()
