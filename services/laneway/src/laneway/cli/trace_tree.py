"""A trace as a tree: service, lane, span, when it began and how long it took."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

SpanJson = dict[str, Any]

NOT_SEEN = "(parent not seen)"


WIDTH = 200
"""Columns at least: a row that is cut tells less than one that the terminal wraps."""


def show(spans: Sequence[SpanJson]) -> None:
    """Print the tree; plain text when piped."""
    Console(width=max(WIDTH, Console().width)).print(tree(spans), crop=False)


def tree(spans: Sequence[SpanJson]) -> Tree:
    """The tree of the spans that an embedded collector gives."""
    known = {span["span_id"] for span in spans}
    children: dict[str | None, list[SpanJson]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: span["start"]):
        parent = span["parent_id"]
        children[parent if parent is None or parent in known else NOT_SEEN].append(span)
    begin = min((span["start"] for span in spans), default=0.0)
    trace_id = spans[0]["trace_id"] if spans else "?"
    services = {span["service"] for span in spans}
    root = Tree(Text(f"trace {trace_id}  {len(spans)} spans of {len(services)} services", style="bold"))
    for span in children[None]:
        _grow(root, span, children, begin)
    if children[NOT_SEEN]:
        orphans = root.add(NOT_SEEN)
        for span in children[NOT_SEEN]:
            _grow(orphans, span, children, begin)
    return root


def _grow(tree: Tree, span: SpanJson, children: dict[str | None, list[SpanJson]], begin: float) -> None:
    row = Text.assemble(
        (f"{span['service']:<14}", "cyan"),
        (f"{span['lane']:<6}", "magenta"),
        f" {span['name']}  ",
        (f"{span['duration'] * 1000:.1f} ms", "green"),
        (f"  +{(span['start'] - begin) * 1000:.0f} ms", "dim"),
    )
    if span["error"]:
        row.append(f"  {span['error']}", "red")
    branch = tree.add(row)
    for child in children[span["span_id"]]:
        _grow(branch, child, children, begin)
