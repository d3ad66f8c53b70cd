"""The commands of `laneway events` and their options."""

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from laneway.cli.database import opened
from laneway.cli.options import DATA, AsFormat, Data, Format
from laneway.cli.payloads import Payloads, Reveal
from laneway.errors import ConfigurationError
from laneway.settings import Settings

if TYPE_CHECKING:
    from laneway.cli.events.reading import Reading

app = typer.Typer(
    name="events", help="The event log of a service.", no_args_is_help=True, pretty_exceptions_enable=False
)

Stream = Annotated[str, typer.Argument(help="Such as order/7, as `laneway events show` has it.")]
MOST = 2**31 - 1
"""Versions and rows that any database counts to."""

AsOfVersion = Annotated[
    int | None, typer.Option("--version", min=0, max=MOST, help="As of this version of the stream.")
]
AsOfTime = Annotated[str | None, typer.Option("--at", help="As of this time, such as 2026-11-24T12:00:00+01:00.")]


@app.command()
def show(
    service: str,
    event_id: Annotated[str | None, typer.Argument(help="One event, in full.", show_default="the newest")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many of the newest.")] = 20,
    type: Annotated[list[str] | None, typer.Option(help="Only events of this type, by full name.")] = None,
    reveal: Reveal = False,
    data: Data = DATA,
    format: AsFormat = Format.TEXT,
) -> None:
    """Show the newest events of a service, the last one at the bottom; or one event in full."""
    from laneway.cli.events.reading import show_newest, show_one

    payloads = Payloads(reveal)
    reading = show_newest(limit, type or (), payloads) if event_id is None else show_one(event_id, payloads)
    asyncio.run(_read(service, data, format, reading))


@app.command()
def history(
    service: str, stream: Stream, version: AsOfVersion = None, at: AsOfTime = None, reveal: Reveal = False,
    data: Data = DATA, format: AsFormat = Format.TEXT,
) -> None:  # fmt: skip
    """Show what happened in a stream, up to a version or a time."""
    from laneway.cli.events.reading import show_stream

    asyncio.run(_read(service, data, format, show_stream(stream, version, _time(at), Payloads(reveal))))


@app.command()
def replay(
    service: str, stream: Stream, version: AsOfVersion = None, at: AsOfTime = None, reveal: Reveal = False,
    data: Data = DATA, format: AsFormat = Format.TEXT,
) -> None:  # fmt: skip
    """Fold a stream into its aggregate, and show what that is, or was at a version or a time."""
    from laneway.cli.events.reading import show_aggregate

    asyncio.run(_read(service, data, format, show_aggregate(stream, version, _time(at), Payloads(reveal))))


@app.command()
def rebuild(service: str, view: Annotated[str, typer.Argument(help="A projection's name.")], data: Data = DATA) -> None:
    """Rebuild a view beside the one that is read, and change over when it is at the end of the log."""
    from laneway.cli.events.rebuilding import rebuild_view

    asyncio.run(rebuild_view(Settings.load(), service, view, data))


@app.command()
def verify(
    services: Annotated[list[str] | None, typer.Argument(help="All that have a database, if none is named.")] = None,
    data: Data = DATA,
    format: AsFormat = Format.TEXT,
) -> None:
    """Check logs and views: versions without gaps, in order, readable, and each view what a fold of the log gives.

    Exits with 1 when something is wrong.
    """
    from laneway.cli.events.verifying import verify_all

    if not asyncio.run(verify_all(Settings.load(), services or (), data, as_json=format is Format.JSON)):
        raise typer.Exit(1)


async def _read(service: str, data: Path, format: Format, reading: "Reading") -> None:
    from rich.console import Console

    async with opened(Settings.load(), service, data) as open_service:
        told, print_text = await reading(open_service)
    if format is Format.JSON:
        print(json.dumps(told, indent=1, ensure_ascii=False))
    else:
        print_text(Console())


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):  # the latter of a time that is in no year here
        raise ConfigurationError(f"{text!r} is no time; write one as 2026-11-24T12:00:00+01:00.") from None
