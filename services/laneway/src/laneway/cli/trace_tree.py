"""A trace as a tree with a waterfall: service, lane, span, when it began, how long it took, and a bar of that."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from laneway.cli.embedded.spans import SpanRecord

LANE_STYLES = {
    "rest": "cyan",
    "grpc": "blue",
    "queue": "magenta",
    "event": "yellow",
    "smtp": "green",
    "sql": "bright_black",
}

BAR = 40
"""Characters of the waterfall."""

WIDTH = 200
"""Columns at least: a row that is cut tells less than one that the terminal wraps."""


def print_trace(spans: Sequence[SpanRecord], trace_id: str, console: Console) -> None:
    """Print a trace below its sum; plain text when piped."""
    services = {span.service for span in spans}
    begin, end = min(span.start for span in spans), max(span.end for span in spans)
    summary = f"trace {trace_id}  {len(spans)} spans of {len(services)} services in {_milliseconds(end - begin)}"
    console.print(Text(summary, "bold"))
    wide = Console(file=console.file, width=max(WIDTH, console.width), color_system="auto")
    wide.print(trace_table(spans), crop=False)


def trace_table(spans: Sequence[SpanRecord]) -> Table:
    """The rows of one trace, the first column drawn as a tree. A span whose parent is unknown stands at the top."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("service", "lane", "span"):
        table.add_column(column, no_wrap=True)
    for column in ("at", "took"):
        table.add_column(column, no_wrap=True, justify="right")
    table.add_column("", no_wrap=True)
    begin, end = min((span.start for span in spans), default=0), max((span.end for span in spans), default=0)
    for guide, span in _rows(spans):
        name = Text(span.name)
        if span.attempt > 1:
            name.append(f"  attempt {span.attempt}", "dim")
        if span.error is not None:
            name.append(f"  ✗ {span.error}", "bold red")
        table.add_row(
            Text.assemble((guide, "dim"), span.service),
            Text(span.lane, LANE_STYLES.get(span.lane, "")),
            name,
            _milliseconds(span.start - begin),
            _milliseconds(span.end - span.start),
            Text(_bar(span, begin, end), "red" if span.error else LANE_STYLES.get(span.lane, "")),
        )
    return table


def _bar(span: SpanRecord, begin: int, end: int) -> str:
    """Where a span lies in its trace; the shortest is still seen."""
    scale = BAR / max(end - begin, 1)
    at = min(round((span.start - begin) * scale), BAR - 1)
    return " " * at + "━" * max(1, min(round((span.end - span.start) * scale), BAR - at))


def _rows(spans: Sequence[SpanRecord]) -> Iterator[tuple[str, SpanRecord]]:
    """Each span behind its part of the drawing, depth first, siblings by their start."""
    known = {span.span_id for span in spans}
    children: dict[str, list[SpanRecord]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        children[span.parent_id if span.parent_id in known else ""].append(span)
    open_rows = _siblings(children[""], "")
    while open_rows:
        indent, last, span = open_rows.pop()
        yield indent + ("└── " if last else "├── "), span
        open_rows += _siblings(children[span.span_id], indent + ("    " if last else "│   "))


def _siblings(spans: Sequence[SpanRecord], indent: str) -> list[tuple[str, bool, SpanRecord]]:
    """Rows to be drawn, the first at the end; the last of them closes its branch."""
    return [(indent, place == 0, span) for place, span in enumerate(reversed(spans))]


def _milliseconds(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:.1f} ms"
