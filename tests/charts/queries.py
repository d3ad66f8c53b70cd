"""Every query of the dashboards and rules, and what it asks for. Knows of PromQL what these queries use of it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from charts import dashboards
from tests.charts.rendering import ROOT

RULES = ROOT / "charts/laneway/files/rules.yaml"
RULES_OF_THE_OPERATOR = ROOT / "charts/laneway-operator/files/rules.yaml"


@dataclass(frozen=True)
class Query:
    """A query, and what shows it; `legend` are the labels that its legend names."""

    by: str
    text: str
    legend: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.by


def rules(*files: Path) -> list[dict[str, Any]]:
    """Those of these files; of all, if none is named."""
    texts = [file.read_text() for file in files or (RULES, RULES_OF_THE_OPERATOR)]
    return [rule for text in texts for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def queries() -> Iterator[Query]:
    for rule in rules():
        name = rule.get("alert") or rule["record"]
        said = " ".join(rule.get("annotations", {}).values())
        yield Query(name, rule["expr"], tuple(re.findall(r"\$labels\.(\w+)", said)))
    for dashboard in dashboards.dashboards():
        for panel in dashboard.panels:
            for legend, text in panel.queries.items():
                yield Query(f"{dashboard.uid}: {panel.title}", text, tuple(re.findall(r"\{\{(\w+)\}\}", legend)))


def variables() -> Iterator[Query]:
    for dashboard in dashboards.dashboards():
        for label, metric in dashboard.variables.items():
            yield Query(f"{dashboard.uid}: ${label}", f"max by ({label}) ({metric})", (label,))


RECORDED = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}

SELECTED = re.compile(r"(?<![\w:$.\"])([a-z][\w:]*)\s*(?:\{([^}]*)\})?(?=[\s\[)+/*><=-]|$)")
WORDS = {"absent", "sum", "max", "min", "by", "rate", "increase", "histogram_quantile", "and", "or", "on"}


def selected(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The metrics of a query with their selectors, those in recorded ones as well."""
    bare = re.sub(r"\b(?:by|on)\s*\([^)]*\)", "", text)
    for name, selector in SELECTED.findall(bare):
        if name in RECORDED:
            yield from selected(RECORDED[name])
        elif name not in WORDS:
            yield name, dict(re.findall(r'(\w+)\s*=~?\s*"([^"]*)"', selector))


def grouped(text: str) -> set[str]:
    text = " ".join([text, *(of for name, of in RECORDED.items() if name in text)])
    return {label.strip() for labels in re.findall(r"\bby\s*\(([^)]*)\)", text) for label in labels.split(",")}
