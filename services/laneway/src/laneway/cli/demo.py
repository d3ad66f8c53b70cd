"""`laneway demo`: everything up, one walk through it, the trace of that walk, everything down."""

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from time import monotonic

from rich.console import Console

from laneway.cli import discovery
from laneway.cli.trace_tree import print_trace
from laneway.cli.up.run import Up, options_of, stop_signals, unless, up
from laneway.errors import Cancelled, DeadlineExceeded, FailedPrecondition, LanewayError
from laneway.settings import Settings

PATIENCE = 60.0
"""Seconds for the whole of it."""

QUIET = 0.8
"""Seconds without a new span after which a trace counts as complete: four times the exporters' delay."""


async def run_demo(settings: Settings, *, port: int, base_port: int) -> None:
    """Run the installed demo once, in a folder of its own.

    Raises:
        LanewayError: it did not come to its end in time.
    """
    begin, console = monotonic(), Console()
    console.print("starting", style="dim")
    with tempfile.TemporaryDirectory(prefix="laneway-demo-") as folder, stop_signals() as stopped:
        chosen = options_of(settings, port=port, data=Path(folder))
        options = replace(chosen, otlp_endpoint=None, smtp_url=None)  # the demo shows what arrives at its own
        try:
            async with (
                asyncio.timeout(PATIENCE),
                up(options, settings, base_port=base_port, stopped=stopped, held=True) as running,
            ):
                console.print(f"up       {len(running.plan.processes)} processes after {monotonic() - begin:.1f} s")
                if not await unless(stopped, _walk(running, console)):
                    raise Cancelled("The demo was stopped.")
        except TimeoutError:
            raise DeadlineExceeded(f"The demo did not come to its end within {PATIENCE:g} s.") from None
    console.print(f"all of it, from start to stop, took {monotonic() - begin:.1f} s")


async def _walk(running: Up, console: Console) -> None:
    if running.plan.edge_url is None:
        raise FailedPrecondition("No installed service exposes anything over REST; the demo has no door to enter by.")
    try:
        trace_id = await discovery.the_demo()(running.plan.edge_url, running.plan.mail_url)
    except LanewayError:
        raise
    except Exception as error:
        raise FailedPrecondition(f"The demo failed: {type(error).__name__}: {error}") from error
    spans = await running.spans.settled(trace_id, quiet=QUIET)
    console.print()
    print_trace(spans, trace_id, console)
    console.print()
