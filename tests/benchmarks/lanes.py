"""`make bench-lanes`: `laneway compare` on this machine, and its tables in docs/choosing.md."""

import asyncio
import json
from datetime import date
from io import StringIO
from pathlib import Path

from rich.console import Console

from laneway.cli.compare import told
from laneway.cli.compare.commands import COLUMNS, measured
from laneway.cli.compare.scenarios import Compared
from laneway.settings import Settings

PAGE = Path("docs/choosing.md")
BEGIN, END = "<!-- `make bench-lanes` writes from here -->\n", "<!-- to here -->\n"


def shown(compared: Compared, day: date) -> str:
    """The tables as they stand in the page."""
    text = StringIO()
    told.show(compared, Console(file=text, width=COLUMNS))
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    return "\n".join(("```text", *lines[:-1], f"{lines[-1]}, {day.isoformat()}", "```", ""))


def with_figures(page: str, figures: str) -> str:
    """The page with these figures in the place of those before."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{figures}{END}{after}"


def rows(compared: Compared) -> list[dict[str, object]]:
    """The figures as all benchmarks keep them. There is no peer in them."""
    told_of = ("answer_p50", "answer_p99", "done_p50", "per_second", "cpu", "bytes")
    figures = [
        (f"{each.scenario}, {each.lane}: {name}", value)
        for each in compared.lanes
        for name, value in each.to_json().items()
        if name in told_of and value is not None
    ]
    return [
        {"work": work, "ours": value, "peer": None, "unit": "", "ratio": None, "goal": None, "met": None}
        for work, value in figures
    ]


def main() -> None:
    """Run, keep the figures, write the page."""
    compared = asyncio.run(measured(Settings.load(), 1.0))
    told.show(compared, Console(width=COLUMNS))
    kept = Path("build/bench/lanes.json")
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(rows(compared), indent=2))
    PAGE.write_text(with_figures(PAGE.read_text(), shown(compared, date.today())))


if __name__ == "__main__":
    main()
