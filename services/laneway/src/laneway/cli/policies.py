"""`laneway policy`: what is in force for each method, and who says so."""

import json
from collections.abc import Collection, Iterable
from enum import Enum
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration
from rich.console import Console
from rich.table import Table
from rich.text import Text

from laneway.cli import discovery
from laneway.cli.screen import whole
from laneway.contract import sources
from laneway.contract.effective import Effective, chosen, effective
from laneway.contract.findings import Place, Placed
from laneway.contract.layers import Origin
from laneway.contract.lint import deployment
from laneway.contract.model import Method
from laneway.contract.tuning import FILE, Layers
from laneway.errors import ConfigurationError

WIDTH = 160
"""Columns at least where nobody looks: a row that is cut tells less than a long one."""


def methods_of(named: str | None, protos: Path | None) -> list[Method]:
    """The methods of the installed services, or of a folder of contracts; all, or those that a name means.

    Raises:
        ConfigurationError: there is none.
    """
    known = discovery.methods() if protos is None else list(sources.written(protos).methods.values())
    found = sorted(chosen(known, named), key=lambda method: method.full_name)
    if not found:
        raise ConfigurationError(f"There is no method or service `{named}`; `laneway policy` alone shows all of them.")
    return found


def policy_file(named: Path | None, mounted: Path | None) -> Layers:
    """The policy file at a path, or in a folder; without a name the one that is mounted, if it is.

    Raises:
        ConfigurationError: it is not there, or not valid.
    """
    file = policy_path(named, mounted)
    if file is None:
        return Layers()
    try:
        return Layers(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read ({error}).") from None


def policy_path(named: Path | None, mounted: Path | None) -> Path | None:
    """Where that file is; None where there is none."""
    if named is None and (mounted is None or not (mounted / FILE).exists()):
        return None
    place = named or mounted or Path()
    return place / FILE if place.is_dir() else place


def findings(file: Layers, place: Path | None, methods: Collection[Method]) -> list[Placed]:
    """What of the file has no effect: docs/policy.md."""
    return [Placed(found, Place(str(place))) for found in deployment.check(file, methods)]


def as_json(methods: Iterable[Method], file: Layers, timeout: float | None) -> str:
    """For programs: by method and path, the value, who says it, and its limits."""
    told = {
        method.full_name: {row.path: _facts(row) for row in effective(method, file, timeout=timeout)}
        for method in methods
    }
    return json.dumps(told, indent=1)


def show(methods: Iterable[Method], file: Layers, timeout: float | None, console: Console) -> None:
    """For people: a table a method."""
    console = whole(console, WIDTH)
    for method in methods:
        console.print(Text.assemble((method.full_name, "bold"), f"  {' · '.join(_lanes(method))}"))
        table = Table(box=None, pad_edge=False, show_header=False)
        for _ in range(4):
            table.add_column(overflow="fold")
        for row in effective(method, file, timeout=timeout):
            style = "dim" if row.value is None or row.layers[-1].origin is Origin.BUILT_IN else ""
            table.add_row(f"  {row.path}", _shown(row), _said_by(row), _limits(row), style=style)
        console.print(table)
        console.print()


def _lanes(method: Method) -> list[str]:
    if method.policy.subscription is not None:
        return [f"event {method.input.DESCRIPTOR.full_name}, queue {method.queue_name}"]
    rest = ["REST"] if method.http else []
    queue = [f"queue {method.queue_name}"] if method.policy.queue is not None else []
    return [*rest, *(["gRPC"] if method.awaitable else []), *queue]


def _shown(row: Effective) -> str:
    value = row.value
    if value is None or value == ():
        return "–"
    if row.field.message_type is not None and row.field.message_type.full_name == Duration.DESCRIPTOR.full_name:
        return f"{value:g} s"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(_plain(value)).lower() if isinstance(value, bool) else str(_plain(value))


def _said_by(row: Effective) -> str:
    """A method's own name and its service's are told above."""
    told = (Origin.BUILT_IN, Origin.SERVICE, Origin.METHOD)
    return ", ".join(
        layer.origin.value if layer.origin in told else f"{layer.origin.value} {layer.place}" for layer in row.layers
    )


def _limits(row: Effective) -> str:
    ceiling = [] if row.ceiling is None else [f"at most {row.ceiling:g} s"]
    return ", ".join([*ceiling, *([] if row.tunable else ["the contract's"])])


def _facts(row: Effective) -> dict[str, Any]:
    said = [{"layer": layer.origin.value, "place": layer.place} for layer in row.layers]
    facts = {"value": _plain(row.value), "from": said, "tunable": row.tunable}
    return facts if row.ceiling is None else {**facts, "ceiling": row.ceiling}


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value
