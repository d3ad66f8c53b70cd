"""Figures of ours against peers: measured in turns, told as a table, kept as JSON.

Times are CPU time, not the clock's: what else the machine does then shifts them little.
"""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

FOLDER = Path("build/bench")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One work, done by us and by a peer. `ratio` is higher where we are better."""

    work: str
    ours: float
    peer: float
    unit: str
    ratio: float
    goal: float
    met: bool


def figure(work: str, ours: Sequence[float], peer: Sequence[float], *, unit: str, goal: float) -> Figure:
    """The figure of costs that were measured in pairs: the medians of both, and of their ratios."""
    ratio = statistics.median(theirs / own for own, theirs in zip(ours, peer, strict=True))
    return Figure(
        work=work,
        ours=round(statistics.median(ours), 2),
        peer=round(statistics.median(peer), 2),
        unit=unit,
        ratio=round(ratio, 2),
        goal=goal,
        met=ratio >= goal,
    )


def limit(work: str, milliseconds: float, most: float) -> Figure:
    """The figure whose peer is the number that was set as the goal; less is better."""
    return Figure(
        work=work, ours=round(milliseconds, 1), peer=most, unit="ms", ratio=round(most / milliseconds, 2), goal=1,
        met=milliseconds <= most,
    )  # fmt: skip


def in_turns(
    work: str,
    ours: Callable[[], object],
    peer: Callable[[], object],
    *,
    goal: float,
    rounds: int = 31,
    number: int = 300,
) -> Figure:
    """Run both in turns and compare their CPU time, in microseconds a run."""
    costs: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for cost, run in zip(costs, (ours, peer), strict=True):
            cost.append(microseconds(run, number))
    return figure(work, *costs, unit="µs", goal=goal)


def microseconds(run: Callable[[], object], number: int) -> float:
    """CPU time of one run, over a number of them."""
    begin = time.process_time()
    for _ in range(number):
        run()
    return (time.process_time() - begin) / number * 1e6


def tell(name: str, figures: Sequence[Figure]) -> None:
    """Print the table, and keep it in `build/bench/<name>.json`. A goal that is missed is told, and no failure."""
    table = Table(title=f"bench-{name}", title_justify="left")
    for column in ("work", "ours", "peer", "unit", "ratio", "goal", ""):
        table.add_column(column, justify="left" if column in ("work", "unit", "") else "right")
    for each in figures:
        mark = "met" if each.met else "missed"
        table.add_row(
            each.work, f"{each.ours:,}", f"{each.peer:,}", each.unit, f"{each.ratio:.2f}", f"{each.goal:g}", mark
        )
    Console(width=140).print(table)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps([asdict(each) for each in figures], indent=2))
