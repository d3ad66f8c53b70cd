"""`make bench-resilience`, second part: ten times the load that a target can bear, and a service that says nothing at all.

Callers come whether or not those before them have been answered. Of the overload, the peer is the same caller without
limit, breaker and budget, and a target that works on what nobody waits for any more. The service that says nothing is
the shop's inventory, and what is measured are the others. Time is the machine's own.
"""

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from laneway.contract.policy import Breaker as BreakerPolicy
from laneway.contract.policy import Limit as LimitPolicy
from laneway.contract.policy import Retry as RetryPolicy
from laneway.errors import DeadlineExceeded, LanewayError
from laneway.resilience import Breaker, Limit, Pipeline, RetryBudget
from tests.faults.black_hole import Felt, databases, feel
from tests.fixtures.postgres import server
from tests.fixtures.shop import RunningShop

SLOTS, SERVICE_TIME = 4, 0.04
CAPACITY = SLOTS / SERVICE_TIME
"""Calls per second that the target can do."""

DEADLINE = 0.5
NORMAL, PEAK, OVERLOAD = 0.7, 1.0, 10.0
PHASES = ((NORMAL, 5.0), (PEAK, 10.0), (OVERLOAD, 30.0), (NORMAL, 15.0))
"""Shares of the capacity that arrive, and for how many seconds."""

ROUNDS = 5
"""Black holes, one after the other."""

RETRY = RetryPolicy(max_attempts=3, initial_backoff=0.05, max_backoff=1.0)
BREAKER = BreakerPolicy(
    failure_rate=0.5, minimum_calls=20, window=100, consecutive_failures=5, open_time=1.0, half_open_calls=2
)

Attempt = Callable[[int, float | None], Awaitable[None]]
Call = Callable[[], Awaitable[None]]


@dataclass
class Target:
    """Does four calls at a time; `fair` is one that drops what nobody waits for any more."""

    fair: bool
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SLOTS))
    _working: set[asyncio.Task[None]] = field(default_factory=set)

    async def call(self, number: int, given: float | None) -> None:
        """An attempt, as a transport makes it: its time ends on this side, too."""
        patience = DEADLINE if given is None else given
        work = asyncio.create_task(self._work(time.monotonic() + patience))
        self._working.add(work)
        work.add_done_callback(self._working.discard)
        done, _ = await asyncio.wait({work}, timeout=patience)
        if not done:
            raise DeadlineExceeded("no answer in time")
        work.result()

    async def _work(self, deadline: float) -> None:
        async with self._slots:
            if self.fair and time.monotonic() > deadline:
                return  # nobody waits: a caller's time has ended on its side, too
            await asyncio.sleep(SERVICE_TIME)


def protected(target: Target) -> Call:
    pipeline = Pipeline(
        "target",
        breaker=Breaker("target", BREAKER),
        retry=RETRY,
        budget=RetryBudget(),
        keeps_time=True,
        limit=Limit("target", LimitPolicy(max_concurrent=2 * SLOTS, max_waiting=32)),
    )
    return lambda: pipeline.call(target.call, deadline=time.monotonic() + DEADLINE, retryable=True)


def unprotected(target: Target) -> Call:
    async def call() -> None:
        for attempt in range(1, RETRY.max_attempts):
            with suppress(LanewayError):
                await target.call(attempt, DEADLINE)
                return
        await target.call(RETRY.max_attempts, DEADLINE)

    return call


@dataclass
class Ends:
    """When calls began, and whether they were answered in time."""

    begun: list[tuple[float, bool]] = field(default_factory=list)

    async def one(self, call: Call) -> None:
        begin = time.monotonic()
        try:
            await call()
            good = time.monotonic() - begin <= DEADLINE
        except LanewayError:
            good = False
        self.begun.append((begin, good))

    def rate(self, since: float, until: float) -> float:
        """Good answers per second to calls that began in a span of time."""
        return sum(good for begin, good in self.begun if since <= begin < until) / (until - since)

    def share(self, since: float, until: float) -> float:
        ends = [good for begin, good in self.begun if since <= begin < until]
        return sum(ends) / len(ends) if ends else 0.0


async def overloaded(call: Call) -> tuple[float, float]:
    """Goodput under ten times the load, as a share of the peak's; seconds until it is normal again."""
    ends, running, moments = Ends(), set[asyncio.Task[None]](), [time.monotonic()]
    for share, seconds in PHASES:
        due, until = moments[-1], moments[-1] + seconds
        while due < until:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            while due <= time.monotonic() and due < until:
                task = asyncio.create_task(ends.one(call))
                running.add(task)
                task.add_done_callback(running.discard)
                due += 1 / (share * CAPACITY)
        moments.append(until)
    await asyncio.gather(*running)
    _, peak, overload, after, end = moments
    goodput = ends.rate(overload + 1, after) / ends.rate(peak + 1, overload)
    recovered = next(
        (moment for moment in range(int(end - after)) if ends.share(after + moment, after + moment + 1) >= 0.99),
        end - after,
    )
    return goodput, float(recovered)


async def black_hole() -> Felt:
    """What the shop feels of an inventory that says nothing: `laneway up`, on a PostgreSQL."""
    with server() as postgres, databases(postgres) as settings, TemporaryDirectory() as data:
        shop = RunningShop(Path(data), **settings, LANEWAY_DATABASE_POOL="4")
        try:
            return await feel(shop, postgres, rounds=ROUNDS)
        finally:
            shop.stop()


async def measure() -> list[dict[str, Any]]:
    """The figures, as they are kept."""
    goodput, back = await overloaded(protected(Target(fair=True)))
    bare_goodput, bare_back = await overloaded(unprotected(Target(fair=False)))
    felt = await black_hole()
    took, p99, oldest = (statistics.median(felt.opened_after), felt.p99_ratio, statistics.median(felt.oldest))
    return [
        _row("goodput at 10x load, of the peak", goodput, bare_goodput, "", "≥ 0.9", goodput >= 0.9),
        _row("back to normal after it", back, bare_back, "s", "≤ 10 s", back <= 10),
        _row("black hole: breaker opens after", took, None, "s", "≤ 1 s", took <= 1),
        _row("black hole: p99 of other calls", p99, None, "x", "≤ 1.3x", p99 <= 1.3),
        _row("black hole: oldest transaction", oldest, None, "s", "≤ 0.1 s", oldest <= 0.1),
    ]


def _row(work: str, own: float, peer: float | None, unit: str, goal: str, met: bool) -> dict[str, Any]:
    ratio = None if not peer or not own else (own / max(peer, 0.001) if unit == "" else max(peer, 0.001) / own)
    rounded = [None if value is None else round(value, 2) for value in (own, peer, ratio)]
    return {"work": work, "ours": rounded[0], "peer": rounded[1], "unit": unit, "ratio": rounded[2], "goal": goal, "met": met}  # fmt: skip


def main() -> None:
    """Run, print the table, keep the figures."""
    rows = asyncio.run(measure())
    print(f"{'':<34} {'ours':>8} {'bare':>8} {'':<4} {'ratio':>7}  goal")
    for row in rows:
        peer, ratio = ("" if row[name] is None else row[name] for name in ("peer", "ratio"))
        met = "met" if row["met"] else "missed"
        print(f"{row['work']:<34} {row['ours']:>8} {peer:>8} {row['unit']:<4} {ratio:>7}  {row['goal']} {met}")
    kept = Path("build/bench/outages.json")
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
