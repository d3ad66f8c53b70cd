"""What a person sees of running processes: their lines, each behind its name, and a table of what runs where."""

import asyncio
import os
from collections import deque
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from laneway.cli.up.plan import Plan, Process

COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_green", "bright_magenta", "bright_blue")

HELD_LINES = 60

LONGEST_LINE = 1 << 20
"""Bytes after which a line is broken."""


class Output:
    """Prints on one console, a line at a time; `held` lines are shown only when somebody asks for them."""

    def __init__(self, console: Console, *, width: int = 20, held: bool = False) -> None:
        self._console = console
        self._width = width
        self._held: deque[tuple[str, str, str]] | None = deque(maxlen=HELD_LINES) if held else None
        self._colours: dict[str, str] = {}
        self._last: dict[str, str] = {}

    def say(self, sentence: str) -> None:
        """Something of the supervisor's own."""
        self._line("laneway", "bold", sentence)

    def show_held(self) -> None:
        """Print the last lines that were held."""
        held, self._held = self._held, None
        for name, style, text in held or ():
            self._line(name, style, text)

    def last_line(self, name: str) -> str:
        """What a process said last."""
        return self._last.get(name, "")

    async def follow(self, name: str, group: str, descriptor: int) -> None:
        """Print the lines that come out of a pipe until it is closed; closes our end."""
        style = self._colours.setdefault(group, COLOURS[len(self._colours) % len(COLOURS)])
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=LONGEST_LINE)
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
        )
        try:
            while True:
                try:
                    line = await reader.readline()
                except ValueError:  # longer than the limit: the reader has dropped it
                    continue
                if not line:
                    return
                text = line.decode(errors="replace").rstrip()
                if text:
                    self._last[name] = text
                    self._line(name, style, text)
        finally:
            transport.close()

    def _line(self, name: str, style: str, text: str) -> None:
        if self._held is not None:
            self._held.append((name, style, text))
            return
        self._console.print(Text(f"{name:<{self._width}} ", style), Text(text), sep="", soft_wrap=True)


def print_table(console: Console, plan: Plan, pids: Mapping[str, int]) -> None:
    """What runs where; nothing of it is cut, however narrow the terminal, and a pipe has no width."""
    table = _table_of(plan, pids)
    needed = Measurement.get(console, console.options.update(max_width=_WIDEST), table).maximum
    wide = Console(file=console.file, force_terminal=console.is_terminal, width=max(needed, console.width))
    wide.print(table, highlight=False)


_WIDEST = 10_000


def _table_of(plan: Plan, pids: Mapping[str, int]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("process", "pid", "where"):
        table.add_column(column, no_wrap=True, justify="right" if column == "pid" else "left")
    opened, shown = set(plan.urls.values()), set()
    for process in _edge_first(plan.processes):
        name = f"[bold]{process.name}[/]" if process.where in opened else process.name
        table.add_row(name, str(pids.get(process.name, "")), process.where)
        shown.add(process.where)
    for name, url in plan.urls.items():
        if url not in shown:
            table.add_row(f"[bold]{name}[/]", "", url)
    return table


def _edge_first(processes: Sequence[Process]) -> Sequence[Process]:
    return sorted(processes, key=lambda process: (-process.stage, process.name))
