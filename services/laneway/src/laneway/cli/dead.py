"""`laneway dead`: its commands and their options."""

import asyncio
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from laneway.cli.options import DATA, AsFormat, Data, Format
from laneway.cli.payloads import Payloads, Reveal
from laneway.errors import ConfigurationError

if TYPE_CHECKING:
    from laneway.cli.dead_letters import Order

app = typer.Typer(
    help="Dead letters: messages out of attempts. Without LANEWAY_DATABASE_URL, those of `laneway up` in --data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="These; or choose by the options.")]
Service = Annotated[str | None, typer.Option(help="Whose outbox.", show_default="every installed service's")]
Queue = Annotated[str | None, typer.Option(help="Of this queue, such as `fulfilment.bulk`.")]
Error = Annotated[str | None, typer.Option(help="Whose error has this text in it.")]
OlderThan = Annotated[str | None, typer.Option(help="Parked for longer than this: 90s, 15m, 2h, 3d.")]
Skipped = Annotated[bool, typer.Option("--skipped", help="Those that were skipped, not those that wait.")]
All = Annotated[bool, typer.Option("--all", help="All of them.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command("list")
def list_(
    service: Service = None,
    queue: Queue = None,
    error: Error = None,
    older_than: OlderThan = None,
    skipped: Skipped = False,
    limit: Annotated[int, typer.Option(min=1, help="Most of them; the oldest come first.")] = 100,
    data: Data = DATA,
    format: AsFormat = Format.TEXT,
) -> None:
    """Which there are, the oldest first: where they were going, and why they did not arrive."""
    from laneway.cli.dead_letters import Desk

    order = _order(None, service, queue, error, older_than, skipped, data)
    asyncio.run(Desk(order).list_all(limit, as_json=format is Format.JSON))


@app.command()
def show(
    id: str, service: Service = None, reveal: Reveal = False, data: Data = DATA, format: AsFormat = Format.TEXT
) -> None:
    """All of one: payload, headers, error and trace."""
    from laneway.cli.dead_letters import Desk

    order = _order([id], service, None, None, None, False, data)
    asyncio.run(Desk(order).show(id, payloads=Payloads(reveal), as_json=format is Format.JSON))


@app.command()
def redrive(
    ids: Ids = None,
    service: Service = None,
    queue: Queue = None,
    error: Error = None,
    older_than: OlderThan = None,
    skipped: Skipped = False,
    all: All = False,
    rate: Annotated[float | None, typer.Option(min=0.001, help="So many each second.", show_default="at once")] = None,
    data: Data = DATA,
) -> None:
    """Run them again under their own ids, with all attempts: what was done already is not done twice."""
    from laneway.cli.dead_letters import Desk

    order = _order(ids, service, queue, error, older_than, skipped, data)
    _refuse_everything(order, all)
    asyncio.run(Desk(order).redrive(rate))


@app.command()
def skip(
    ids: Ids = None,
    service: Service = None,
    queue: Queue = None,
    error: Error = None,
    older_than: OlderThan = None,
    all: All = False,
    data: Data = DATA,
) -> None:
    """Leave them undone, on record: they are not counted any more, and hold up nothing behind them."""
    from laneway.cli.dead_letters import Desk

    order = _order(ids, service, queue, error, older_than, False, data)
    _refuse_everything(order, all)
    asyncio.run(Desk(order).skip())


@app.command()
def drop(
    ids: Ids = None,
    service: Service = None,
    queue: Queue = None,
    error: Error = None,
    older_than: OlderThan = None,
    skipped: Skipped = False,
    all: All = False,
    yes: Yes = False,
    data: Data = DATA,
) -> None:
    """Delete them, with their payloads, for good."""
    from laneway.cli.dead_letters import Desk

    order = _order(ids, service, queue, error, older_than, skipped, data)
    _refuse_everything(order, all)
    asyncio.run(Desk(order).drop(confirm=None if yes or ids else _confirm))


def _order(
    ids: list[str] | None,
    service: str | None,
    queue: str | None,
    error: str | None,
    older_than: str | None,
    skipped: bool,
    data: Path,
) -> "Order":
    from laneway.cli.dead_letters import Order
    from laneway.store.dead_letters import Selection

    if queue is not None and not all(queue.partition(".")):
        raise ConfigurationError(f"`{queue}` is no queue; write it as `<service>.<queue>`, such as fulfilment.bulk.")
    before = None if older_than is None else time.time() - seconds(older_than)
    chosen = Selection(ids=tuple(ids or ()), queue=queue, error=error, parked_before=before, skipped=skipped)
    return Order(chosen, service, data)


def _refuse_everything(order: "Order", everything: bool) -> None:
    if not order.selection.is_narrow and not everything:
        raise ConfigurationError(
            "Which ones? Name their ids, choose by --queue, --error or --older-than, or say --all."
        )


def _confirm(count: int) -> bool:
    if not sys.stdin.isatty():
        raise ConfigurationError(f"This would delete {count} dead letters for good; say --yes.")
    return typer.confirm(f"Delete {count} dead letters for good?")


def seconds(text: str) -> float:
    """Seconds of a duration as people write it.

    Raises:
        ConfigurationError: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if found is None:
        raise ConfigurationError(f"`{text}` is no duration; write one as 90s, 15m, 2h or 3d.")
    return float(found[1]) * UNITS[found[2]]
