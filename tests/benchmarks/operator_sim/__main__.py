"""Replays every trace against every scaler, prints the table, writes build/bench/operator.json."""

import argparse
import json
import random
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from laneway.scaling.model import Intent, Objective
from tests.benchmarks.operator_sim.cluster import SLOTS, Cluster
from tests.benchmarks.operator_sim.keda import DEFAULT, Keda, tuned
from tests.benchmarks.operator_sim.ours import Ours
from tests.benchmarks.operator_sim.traces import TRACES, Trace

OBJECTIVES = (10.0, 5.0)
"""Seconds: the default, and one that is near to what a pod takes to start."""

MAXIMUM = 30
TARGET = float(SLOTS)
"""Of the tuned KEDA: one pod for as many messages, waiting or running, as it runs at once. The fairest of 2, 4, 8 and 16:
half of it costs a quarter more pod-seconds for the same seconds over the objective, and the double oscillates on a step."""

SCALERS = ("ours", "KEDA tuned", "KEDA default")


@dataclass(frozen=True)
class Outcome:
    over: float
    pod_seconds: float
    reversals: int
    cut: int
    p95: float
    done: int


def replay(trace: Trace, scaler: str, objective: float, seed: int) -> Outcome:
    """One run."""
    cluster = Cluster(trace.messages(seed), objective=objective)
    by = _scaler(scaler, cluster, objective, seed)
    while cluster.now < trace.seconds:
        cluster.advance()
        by.advance()
    tally = cluster.tally
    waits = sorted(tally.waits)
    return Outcome(
        over=tally.over,
        pod_seconds=tally.pod_seconds,
        reversals=tally.reversals,
        cut=tally.cut,
        p95=waits[int(len(waits) * 0.95)] if waits else 0.0,
        done=tally.done,
    )


def _scaler(name: str, cluster: Cluster, objective: float, seed: int) -> Any:
    if name == "ours":
        intent = Intent(queues=("q",), objective=Objective(seconds=objective), maximum=MAXIMUM, slots=SLOTS)
        return Ours(cluster, intent, phase=random.Random(seed).uniform(0, 1))
    return Keda(cluster, DEFAULT if name == "KEDA default" else tuned(TARGET), maximum=MAXIMUM, seed=seed)


Job = tuple[int, str, float, int]
Key = tuple[str, float, str]


def _run(job: Job) -> Outcome:
    trace, scaler, objective, seed = job
    return replay(TRACES[trace], scaler, objective, seed)


def main() -> None:
    """Replay, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--trace", choices=[trace.name for trace in TRACES])
    chosen = parser.parse_args()
    wanted = [n for n, trace in enumerate(TRACES) if chosen.trace in (None, trace.name)]
    cases = [(n, scaler, objective) for n in wanted for objective in OBJECTIVES for scaler in SCALERS]
    jobs = [(*case, seed) for case in cases for seed in range(chosen.seeds)]
    with ProcessPoolExecutor() as pool:
        outcomes = dict(zip(jobs, pool.map(_run, jobs), strict=True))
    table: dict[Key, Outcome] = {}
    for n, scaler, objective in cases:
        runs = [outcomes[n, scaler, objective, seed] for seed in range(chosen.seeds)]
        table[TRACES[n].name, objective, scaler] = _mean(runs)
    _print(table)
    if chosen.trace is None:
        _keep(table)


def _mean(runs: list[Outcome]) -> Outcome:
    mean: Callable[[str], Any] = lambda name: statistics.fmean(getattr(run, name) for run in runs)  # noqa: E731
    return Outcome(**{name: mean(name) for name in Outcome.__dataclass_fields__})


def _print(table: dict[Key, Outcome]) -> None:
    print(f"{'trace':<12} {'objective':>9}  {'scaler':<13} {'s over':>8} {'wait p95':>9} {'pod-s':>8} "
          f"{'reversals':>10} {'cut':>5}")  # fmt: skip
    for (trace, objective, scaler), it in table.items():
        print(f"{trace:<12} {objective:>7.0f} s  {scaler:<13} {it.over:>8.1f} {it.p95:>7.1f} s {it.pod_seconds:>8.0f} "
              f"{it.reversals:>10.1f} {it.cut:>5.1f}")  # fmt: skip


GOALS = {"spikes": 3.0, "step": 2.0}
"""How many times fewer seconds over the objective than the tuned KEDA."""


def _keep(table: dict[Key, Outcome]) -> None:
    rows: list[dict[str, Any]] = []
    for trace, objective in dict.fromkeys((trace, objective) for trace, objective, _ in table):
        ours, peer = table[trace, objective, "ours"], table[trace, objective, "KEDA tuned"]
        name = f"{trace}, within {objective:g} s"
        rows.append(_row(f"{name}: seconds over the objective", ours.over, peer.over, "s", GOALS.get(trace)))
        rows.append(_row(f"{name}: pod-seconds", ours.pod_seconds, peer.pod_seconds, "s", 1 / 1.05))
        rows.append(_row(f"{name}: reversals", ours.reversals, peer.reversals, "", 2.0))
    kept = Path("build/bench/operator.json")
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(rows, indent=2))


def _row(work: str, ours: float, peer: float, unit: str, goal: float | None) -> dict[str, Any]:
    ratio = None if ours == 0 else peer / ours
    met = None if goal is None else ours * goal <= peer
    return {"work": work, "ours": round(ours, 1), "peer": round(peer, 1), "unit": unit,
            "ratio": None if ratio is None else round(ratio, 2), "goal": None if goal is None else round(goal, 3),
            "met": met}  # fmt: skip


if __name__ == "__main__":
    main()
