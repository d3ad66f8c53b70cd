"""The tables of this folder."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml


@cache
def table(name: str) -> Any:
    """A YAML file's content."""
    return yaml.safe_load((Path(__file__).parent / f"{name}.yaml").read_text())


def cases(rows: list[dict[str, Any]]) -> list[Any]:
    """Rows as parameters, named by what they ask."""
    return [pytest.param(row, id=name(row)) for row in rows]


def name(row: dict[str, Any]) -> str:
    """What a row asks."""
    if "template" in row or "path" in row:
        return str(row.get("template", row.get("path")))
    verb, target = request_line(row)
    return f"{verb} {target[:60]} {row.get('body', '')[:40]}".strip()


def request_line(row: dict[str, Any]) -> tuple[str, str]:
    """The verb and the target of a row, which is its first entry."""
    verb, target = next(iter(row.items()))
    return verb.upper(), str(target)
