"""`make bench-resilience`: what a closed breaker adds to a call, beside its peers, and what an open one lets through.

32 callers at once call what does nothing but give the others their turn; the time of the bare call is taken off. All
are measured in turn, round by round, and the best round of each counts: what is slower was disturbed.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pybreaker
from circuitbreaker import CircuitBreaker
from purgatory import AsyncCircuitBreakerFactory

from laneway.contract.policy import Breaker as BreakerPolicy
from laneway.contract.policy import Limit as LimitPolicy
from laneway.contract.policy import Retry as RetryPolicy
from laneway.errors import Unavailable
from laneway.resilience import Breaker, Limit, Pipeline, RetryBudget

CALLERS = 32
CALLS = 100
ROUNDS = 100
PROBES = 100
OPEN_TIME = 0.05

Call = Callable[[], Awaitable[object]]
Guarded = Callable[[Call], Awaitable[object]]

POLICY = BreakerPolicy(
    failure_rate=0.5, minimum_calls=20, window=100, consecutive_failures=5, open_time=OPEN_TIME, half_open_calls=2
)

SLOW = replace(POLICY, slow_call_duration=0.25)
"""The same, which hears the silence of calls that hang."""


class Failed(Exception):
    """What a failing target raises."""


async def turn() -> None:
    """The call: gives the others their turn."""
    await asyncio.sleep(0)


async def bare(call: Call) -> object:
    return await call()


def ours(policy: BreakerPolicy = POLICY) -> Guarded:
    breaker = Breaker("target", policy)

    async def guarded(call: Call) -> object:
        with breaker.admit():
            return await call()

    return guarded


def ours_whole() -> Guarded:
    pipeline = Pipeline(
        "target",
        breaker=Breaker("target", POLICY),
        retry=RetryPolicy(max_attempts=3, initial_backoff=0.05, max_backoff=1.0),
        budget=RetryBudget(),
        keeps_time=True,
        limit=Limit("target", LimitPolicy(max_concurrent=256, max_waiting=256)),
    )

    async def guarded(call: Call) -> object:
        return await pipeline.call(lambda number, given: call(), deadline=time.monotonic() + 10, retryable=True)

    return guarded


def of_pybreaker() -> Guarded:
    breaker = pybreaker.CircuitBreaker(fail_max=5, reset_timeout=OPEN_TIME)

    async def guarded(call: Call) -> object:
        with breaker.calling():
            return await call()

    return guarded


def of_circuitbreaker() -> Guarded:
    breaker = CircuitBreaker(failure_threshold=5, recovery_timeout=OPEN_TIME)

    @breaker
    async def guarded(call: Call) -> object:
        return await call()

    return guarded  # type: ignore[no-any-return]


def of_purgatory() -> Guarded:
    breakers = AsyncCircuitBreakerFactory(default_threshold=5, default_ttl=OPEN_TIME)

    async def guarded(call: Call) -> object:
        async with await breakers.get_breaker("target"):  # as its manual has it
            return await call()

    return guarded


async def one_round(guarded: Guarded) -> float:
    """Seconds of the processor for a call, with all callers at work."""

    async def caller() -> None:
        for _ in range(CALLS):
            await guarded(turn)

    begin = time.thread_time()  # of the processor: others use this machine, too
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return (time.thread_time() - begin) / (CALLERS * CALLS)


async def added(subjects: dict[str, Guarded]) -> dict[str, float]:
    """Microseconds that each adds to a call."""
    best = dict.fromkeys(subjects, float("inf"))
    for _ in range(ROUNDS):
        for name, guarded in subjects.items():
            best[name] = min(best[name], await one_round(guarded))
    return {name: (seconds - best["bare"]) * 1e6 for name, seconds in best.items() if name != "bare"}


async def admitted(guarded: Guarded) -> int:
    """How many of 100 calls reach a target at once that has failed a moment ago."""
    reached = 0
    hang = asyncio.Event()

    async def fail() -> None:
        raise Unavailable("down") from Failed()

    async def probe() -> None:
        nonlocal reached
        reached += 1
        await hang.wait()

    for _ in range(10):
        with suppress(Exception):
            await guarded(fail)
    await asyncio.sleep(2 * OPEN_TIME)
    probes = [asyncio.ensure_future(guarded(probe)) for _ in range(PROBES)]
    for _ in range(3):
        await asyncio.sleep(0)
    hang.set()
    await asyncio.gather(*probes, return_exceptions=True)
    return reached


async def measure() -> list[dict[str, Any]]:
    """The figures, as they are kept."""
    peers: dict[str, Guarded] = {
        "pybreaker": of_pybreaker(),
        "circuitbreaker": of_circuitbreaker(),
        "purgatory": of_purgatory(),
    }
    subjects = {"bare": bare, "ours": ours(), "ours, slow calls": ours(SLOW), "ours, whole pipeline": ours_whole()}
    cost = await added({**subjects, **peers})
    own, timed, cheapest = cost["ours"], cost["ours, slow calls"], min(cost[name] for name in peers)
    rows = [
        _row("closed breaker, added per call", own, None, "µs", None, "≤ 2 µs", own <= 2),
        _row("as a share of the cheapest peer", own, cheapest, "µs", cheapest / own, "≤ 1/3", own <= cheapest / 3),
        _row("one that knows slow calls", timed, None, "µs", None, "≤ 2 µs", timed <= 2),
        _row("whole pipeline, added per call", cost["ours, whole pipeline"], None, "µs", None, None, None),
    ]
    rows += [_row(f"beside {name}", own, cost[name], "µs", cost[name] / own, None, None) for name in peers]
    probes = await admitted(ours())
    for name, guarded in peers.items():
        reached = await admitted(guarded)
        permitted = POLICY.half_open_calls
        rows.append(
            _row(
                f"probes of {PROBES}, {name}",
                probes,
                reached,
                "",
                reached / probes,
                str(permitted),
                probes <= permitted,
            )
        )
    return rows


def _row(
    work: str, own: float, peer: float | None, unit: str, ratio: float | None, goal: str | None, met: bool | None
) -> dict[str, Any]:
    rounded = [None if value is None else round(value, 2) for value in (own, peer, ratio)]
    return {
        "work": work, "ours": rounded[0], "peer": rounded[1], "unit": unit, "ratio": rounded[2], "goal": goal, "met": met
    }  # fmt: skip


def main() -> None:
    """Run, print the table, keep the figures."""
    rows = asyncio.run(measure())
    print(f"{'':<34} {'ours':>8} {'peer':>8} {'':<4} {'ratio':>7}  goal")
    for row in rows:
        peer, ratio = ("" if row[name] is None else row[name] for name in ("peer", "ratio"))
        met = {True: "met", False: "missed", None: ""}[row["met"]]
        print(f"{row['work']:<34} {row['ours']:>8} {peer:>8} {row['unit']:<4} {ratio:>7}  {row['goal'] or ''} {met}")
    kept = Path("build/bench/resilience.json")
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
