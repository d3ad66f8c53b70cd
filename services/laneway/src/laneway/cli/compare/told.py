"""What `laneway compare` shows: tables, plots of characters, and how they became."""

import os
import platform
from collections.abc import Sequence
from math import log10

from rich.console import Console, JustifyMethod
from rich.table import Table

from laneway.cli.compare.figures import Figures, Kept
from laneway.cli.compare.scenarios import Compared

WIDTH = 48
"""Characters of a plot."""

FIRST, LAST = 1.0, 100_000.0
"""Milliseconds at the ends of the plot of times, which is logarithmic."""

NOTICED = "the caller noticed"

LEVELS = "▁▂▃▄▅▆▇█"


def show(compared: Compared, console: Console) -> None:
    """Print everything."""
    console.print(_lanes(compared.lanes), crop=False)
    console.print("\n[bold]How long it takes[/], ms: ━ until the caller answers (p50 to p99), ─ until the work is done")
    for line in _times(compared.lanes):
        console.print(line, crop=False, highlight=False)
    console.print("\n[bold]What waits for the callee in the 10x burst[/], in quarters of a second")
    for line in _backlogs(compared.lanes):
        console.print(line, crop=False, highlight=False)
    console.print()
    console.print(_kept(compared.kept), crop=False)
    console.print(f"\n{machine()}", style="dim")


def machine() -> str:
    """Where it was measured."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"


def _table(title: str, columns: Sequence[str], left: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", title=title, title_justify="left", title_style="bold")
    for column in columns:
        justify: JustifyMethod = "left" if column in left else "right"
        table.add_column(column, justify=justify, no_wrap=column != NOTICED)
    return table


def _lanes(measured: Sequence[Figures]) -> Table:
    columns = (
        "",
        "lane",
        "answer p50",
        "p99 ms",
        "done p50",
        "p99 ms",
        "calls/s",
        "CPU ms",
        "bytes",
        "the caller noticed",
    )
    table = _table("One operation, by each lane", columns, ("", "lane", NOTICED))
    scenario = ""
    for each in measured:
        if scenario and each.scenario != scenario:
            table.add_section()
        table.add_row(
            each.scenario if each.scenario != scenario else "",
            each.lane,
            *(_number(value, each.ok) for value in (each.answer_p50, each.answer_p99)),
            *(_number(value, each.done) for value in (each.done_p50, each.done_p99)),
            *(_number(value, value is not None) for value in (each.per_second, each.cpu, each.bytes)),
            noticed(each),
        )
        scenario = each.scenario
    return table


def noticed(of: Figures) -> str:
    """One phrase: what went wrong for the caller, and what became of the work."""
    if not of.noticed:
        return "nothing"
    codes = ", ".join(f"{number} {code}" for code, number in of.noticed.items())
    parts = [f"{of.ok} of {of.asked} answered; {codes}", f"after {of.failure_p50:.0f} ms"]
    if of.retry_after:
        parts.append(f"come back in {of.retry_after:.0f} s")
    if of.done > of.ok:
        parts.append(f"{of.done - of.ok} done unheard")
    if of.done < of.ok:
        parts.append(f"{of.ok - of.done} not done")
    return ", ".join(parts)


def _number(value: float | None, known: object) -> str:
    if value is None or not known:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _times(measured: Sequence[Figures]) -> list[str]:
    lines, scenario = [], ""
    for each in measured:
        name = each.scenario if each.scenario != scenario else ""
        scenario = each.scenario
        plot = _span(each) if each.done or each.ok else "(no answer)"
        lines.append(f"{name:<12} {each.lane:<7} {plot}".rstrip())
    return [*lines, f"{'':<20} {_scale()}"]


def _span(of: Figures) -> str:
    cells = [" "] * WIDTH
    if of.done:
        for place in range(_place(of.done_p50), _place(of.done_p99) + 1):
            cells[place] = "─"
    if of.ok:
        for place in range(_place(of.answer_p50), _place(of.answer_p99) + 1):
            cells[place] = "━"
    return "".join(cells)


def _place(milliseconds: float) -> int:
    share = log10(max(milliseconds, FIRST) / FIRST) / log10(LAST / FIRST)
    return min(WIDTH - 1, int(share * WIDTH))


def _scale() -> str:
    cells = [" "] * (WIDTH + 8)
    for milliseconds in (1, 10, 100, 1_000, 10_000):
        for offset, letter in enumerate(f"{milliseconds:,}"):
            cells[_place(milliseconds) + offset] = letter
    return "".join(cells).rstrip()


def _backlogs(measured: Sequence[Figures]) -> list[str]:
    bursts = [each for each in measured if each.scenario == "10x burst"]
    most = max((max(each.waiting, default=0) for each in bursts), default=0) or 1
    return [f"{each.lane:<7} {_bars(each.waiting, most)}  at most {max(each.waiting, default=0)}" for each in bursts]


def _bars(values: Sequence[int], most: int) -> str:
    return "".join(LEVELS[min(len(LEVELS) - 1, value * len(LEVELS) // most)] for value in values)


def _kept(kept: Sequence[Kept]) -> Table:
    columns = ("kept as", "answer p50", "p99 ms", "CPU ms", "bytes stored")
    table = _table("One change of a number, over gRPC", columns, ("kept as",))
    for each in kept:
        cells = (each.answer_p50, each.answer_p99, each.cpu, each.stored)
        table.add_row(each.how, *(_number(value, value is not None) for value in cells))
    return table
