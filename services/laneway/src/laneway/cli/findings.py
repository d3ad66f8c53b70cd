"""Findings as people read them, as programs do, and as a pull request on GitHub shows them."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from laneway.cli.options import FindingsFormat
from laneway.contract.findings import Placed, Severity

Form = Callable[[Sequence[Placed]], str]


def told(found: Sequence[Placed], form: FindingsFormat) -> str:
    """The findings in a form."""
    forms: Mapping[FindingsFormat, Form] = {
        FindingsFormat.TEXT: _text,
        FindingsFormat.JSON: _json,
        FindingsFormat.GITHUB: _github,
    }
    return forms[form](found)


def _text(found: Sequence[Placed]) -> str:
    lines = []
    for each in found:
        finding = each.finding
        severity = "" if finding.rule.severity is Severity.ERROR else f" ({finding.rule.severity.value})"
        lines += [f"{each.place}: {finding.rule.code}{severity} {finding.element}", f"    {_sentence(each)}"]
    number = len(found)
    return "\n".join([*lines, f"{number or 'no'} finding{'' if number == 1 else 's'}"])


def _json(found: Sequence[Placed]) -> str:
    return json.dumps([_facts(each) for each in found], indent=1)


def _facts(each: Placed) -> dict[str, Any]:
    finding, place = each.finding, each.place
    return {
        "code": finding.rule.code,
        "severity": finding.rule.severity.value,
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "element": finding.element,
        "message": finding.message,
        "remedy": finding.remedy,
    }


def _github(found: Sequence[Placed]) -> str:
    """Workflow commands: docs.github.com/actions/reference/workflow-commands-for-github-actions."""
    return "\n".join(map(_command, found))


def _command(each: Placed) -> str:
    place = {
        "file": each.place.file,
        "line": each.place.line,
        "col": each.place.column,
        "title": each.finding.rule.code,
    }
    properties = ",".join(f"{name}={_property(str(value))}" for name, value in place.items() if value is not None)
    text = _data(f"{each.finding.element}: {_sentence(each)}")
    return f"::{each.finding.rule.severity.value} {properties}::{text}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _sentence(each: Placed) -> str:
    remedy = f"; {each.finding.remedy}" if each.finding.remedy else ""
    return f"{each.finding.message}{remedy}."
