"""docs/metrics.md, whose table is the catalogue's. `python -m tests.contract.metrics_page` writes it anew."""

from pathlib import Path

from laneway.telemetry.catalogue import METRICS, Described

PAGE = Path(__file__).parents[2] / "docs/metrics.md"
BEGIN = "| name | type | labels | meaning |\n|---|---|---|---|\n"


def with_tables(page: str) -> str:
    """The page, each table in it replaced by the catalogue's of its heading."""
    head, *sections = page.split("\n## ")
    return "\n## ".join([head, *(_section(each) for each in sections)])


def _section(text: str) -> str:
    source = {"Of a process": "process", "Of the operator": "operator"}.get(text.partition("\n")[0])
    if source is None:
        return text
    before, _, rest = text.partition(BEGIN)
    after = "".join(line for line in rest.splitlines(keepends=True) if not line.startswith("|"))
    return before + BEGIN + "".join(_row(each) for each in METRICS.values() if each.source == source) + after


def _row(it: Described) -> str:
    labels = " ".join(f"`{label}`" for label in it.labels)
    return f"| `{it.name}` | {it.kind.value} | {labels} | {it.meaning} |\n"


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
