"""The command `laneway compare`."""

import asyncio
import io
import json
from pathlib import Path

from rich.console import Console

from laneway.cli.compare import told
from laneway.cli.compare.parts import running
from laneway.cli.compare.scenarios import Compared, compare
from laneway.cli.screen import whole
from laneway.cli.up.run import stop_signals, unless
from laneway.errors import Cancelled
from laneway.settings import Settings

COLUMNS = 160


def run_compare(settings: Settings, *, scale: float, svg: Path | None, as_json: bool) -> None:
    """Run the processes, measure, and show what came of it; `svg` names a file for the same as a picture.

    Raises:
        LanewayError: it could not be measured.
    """
    compared = asyncio.run(measured(settings, scale))
    if as_json:
        print(json.dumps(to_json(compared), indent=1))
    else:
        told.show(compared, whole(Console(), COLUMNS))
    if svg is not None:
        drawing = Console(record=True, width=COLUMNS, file=io.StringIO())
        told.show(compared, drawing)
        svg.write_text(drawing.export_svg(title="laneway compare"))


def to_json(compared: Compared) -> dict[str, object]:
    """For a program that reads."""
    return {
        "machine": told.machine(),
        "lanes": [each.to_json() for each in compared.lanes],
        "kept": [each.to_json() for each in compared.kept],
    }


async def measured(settings: Settings, scale: float) -> Compared:
    """Run the processes and measure them.

    Raises:
        LanewayError: it could not be measured, or was stopped.
    """
    errors, found = Console(stderr=True), []

    async def measure() -> None:
        async with running(settings) as parts:
            found.append(await compare(parts, scale=scale, progress=lambda what: errors.print(what, style="dim")))

    errors.print("starting a broker, a caller, a callee with its worker, and an edge", style="dim")
    with stop_signals() as stopped:
        if not await unless(stopped, measure()):
            raise Cancelled("The comparison was stopped.")
    return found[0]
