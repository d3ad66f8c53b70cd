"""`laneway subscriptions`: who listens to a service's events, and ending what nobody will ever hear."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from laneway.cli import discovery
from laneway.cli.database import opened
from laneway.cli.options import DATA, AsFormat, Data, Format
from laneway.errors import ConfigurationError
from laneway.settings import Settings

if TYPE_CHECKING:
    from laneway.store.subscriptions import OpenDeliveries, Subscription

app = typer.Typer(
    name="subscriptions",
    help="Who listens to a service's events.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command("list")
def list_(service: str, data: Data = DATA, format: AsFormat = Format.TEXT) -> None:
    """List the subscribers of a service's events, and what each has not confirmed."""
    found = asyncio.run(_subscribers(service, data))
    if format is Format.JSON:
        print(json.dumps(found, indent=1))
    elif found:
        _print(found)
    else:
        print(f"{service} has no subscribers")


@app.command()
def drop(
    service: str,
    subscription: Annotated[
        str, typer.Argument(help="The subscriber's method, as `laneway subscriptions list` has it.")
    ],
    data: Data = DATA,
) -> None:
    """End a subscription whose subscriber is no more, with all that is on its way to it.

    Should the subscriber come back, it begins anew: now, or at the first event if its contract says `from_start`.
    """
    count = asyncio.run(_drop(service, subscription, data))
    print(f"{subscription} hears nothing of {service} any more; {count:,} deliveries were dropped")


async def _subscribers(service: str, data: Path) -> list[dict[str, Any]]:
    from laneway.store import subscriptions

    now = time.time()
    async with opened(Settings.load(), service, data) as of:
        deliveries = await subscriptions.open_deliveries(of.store)
        return [_told(each, deliveries.get(each.name), now) for each in await subscriptions.all(of.store)]


def _told(it: "Subscription", deliveries: "OpenDeliveries | None", now: float) -> dict[str, Any]:
    return {
        "subscription": it.name,
        "queue": f"{it.service}.{it.queue}",
        "event": it.event_type,
        "deliveries": 0 if deliveries is None else deliveries.count,
        "oldestSeconds": None if deliveries is None else round(now - deliveries.oldest_at, 1),
        "declared": _declares(it.service, it.name),
    }


async def _drop(service: str, name: str, data: Path) -> int:
    from laneway.store import subscriptions

    async with opened(Settings.load(), service, data) as of:
        known = {each.name: each for each in await subscriptions.all(of.store)}
        if name not in known:
            names = ", ".join(known) or "none"
            raise ConfigurationError(f"{service} has no subscription {name}; it has: {names}.")
        if _declares(known[name].service, name):
            raise ConfigurationError(
                f"{known[name].service} is installed and declares {name}, so it would subscribe again; "
                "take the method out of its contract first."
            )
        deliveries = (await subscriptions.open_deliveries(of.store)).get(name)
        await of.store.commit(subscriptions.drop(name))
    return 0 if deliveries is None else deliveries.count


def _declares(service: str, method: str) -> bool:
    """Whether an installed service has the subscribing method."""
    from laneway.runtime.installed import describe

    return service in discovery.service_names() and method in describe(service).contract.methods


def _print(found: Sequence[Mapping[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from laneway.cli.events.told import printed

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("subscription", "queue", "event", "deliveries", "oldest", ""):
        table.add_column(column, no_wrap=True, justify="right" if column in ("deliveries", "oldest") else "left")
    for each in found:
        oldest = "" if each["oldestSeconds"] is None else f"{each['oldestSeconds']:,.0f} s"
        gone = "" if each["declared"] else "not installed"
        table.add_row(each["subscription"], each["queue"], each["event"], f"{each['deliveries']:,}", oldest, gone)
    printed(table, Console())
