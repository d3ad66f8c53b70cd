"""`laneway inbox`: whose messages a service remembers, and forgetting those of a producer that is no more."""

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from laneway.cli import discovery
from laneway.cli.database import opened
from laneway.cli.options import DATA, AsFormat, Data, Format
from laneway.errors import ConfigurationError
from laneway.settings import Settings

if TYPE_CHECKING:
    from laneway.store.inbox import Remembered

app = typer.Typer(
    name="inbox",
    help="What a service has processed and remembers, so that it is not done twice.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

BATCH = 500


@app.command("list")
def list_(service: str, data: Data = DATA, format: AsFormat = Format.TEXT) -> None:
    """Whose messages a service must remember, because their producer has not said that it may forget."""
    found, known = asyncio.run(_remembered(service, data)), discovery.service_names()
    if format is Format.JSON:
        print(json.dumps([{**each._asdict(), "installed": each.producer in known} for each in found], indent=1))
    elif found:
        _print(found, known)
    else:
        print(f"{service} has nothing to remember")


@app.command()
def forget(
    service: str,
    producer: Annotated[str, typer.Option(help="The service that is no more, as `laneway inbox list` names it.")],
    data: Data = DATA,
) -> None:
    """Let go of the messages of a producer that is gone for good, as if it had said so itself.

    They are forgotten after LANEWAY_INBOX_KEEP_SECONDS, as all that is let go of. Should its outbox come back later,
    what is in it would be done again.
    """
    if producer in discovery.service_names():
        raise ConfigurationError(f"{producer} is installed: it is asked what it still holds, and nothing is to do.")
    count = asyncio.run(_forget(service, producer, data))
    print(f"{count} messages of {producer} will be forgotten by {service}")


async def _remembered(service: str, data: Path) -> "Sequence[Remembered]":
    from laneway.store import inbox

    async with opened(Settings.load(), service, data) as of:
        return await inbox.remembered(of.store)


async def _forget(service: str, producer: str, data: Path) -> int:
    from laneway.store import inbox

    count = 0
    async with opened(Settings.load(), service, data) as of:
        while found := await inbox.unconfirmed(of.store, producer, inbox.FIRST, BATCH):
            await of.store.commit([inbox.confirm([each.message_id for each in found], time.time())])
            count += len(found)
    return count


def _print(found: "Sequence[Remembered]", known: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    from laneway.cli.events.told import printed

    table, now = Table(box=None, pad_edge=False, header_style="dim"), time.time()
    for column in ("producer", "messages", "oldest", ""):
        table.add_column(column, no_wrap=True, justify="right" if column in ("messages", "oldest") else "left")
    for each in found:
        gone = "" if each.producer in known else "not installed"
        table.add_row(each.producer, f"{each.messages:,}", f"{(now - each.oldest) / 86_400:,.1f} d", gone)
    printed(table, Console())
