"""What `laneway events show`, `history` and `replay` read: each gives JSON, and how to print it as text."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias

from rich.console import Console
from rich.table import Table
from rich.text import Text

from laneway.cli.database import OpenService
from laneway.cli.events.told import as_json, compact, print_event, print_events, printed, state_of, time_of
from laneway.cli.payloads import Payloads
from laneway.domain.aggregate import Aggregate
from laneway.errors import ConfigurationError, NotFound
from laneway.history.log import EventLog
from laneway.store import events

Told: TypeAlias = tuple[Any, Callable[[Console], None]]
Reading: TypeAlias = Callable[[OpenService], Awaitable[Told]]


def show_newest(limit: int, types: Sequence[str], payloads: Payloads) -> Reading:
    """The newest events, the last one at the end."""

    async def read(of: OpenService) -> Told:
        newest = await events.newest(of.store, limit, types)
        told = [as_json(event, of.service.upcasters, payloads) for event in reversed(newest)]
        return told, partial(print_events, told)

    return read


def show_one(event_id: str, payloads: Payloads) -> Reading:
    """One event in full."""

    async def read(of: OpenService) -> Told:
        found = await events.find(of.store, [event_id])
        if not found:
            raise NotFound(f"{of.service.name} has no event {event_id}.")
        told = as_json(found[0], of.service.upcasters, payloads)
        return told, partial(print_event, told)

    return read


def show_stream(stream: str, version: int | None, at: datetime | None, payloads: Payloads) -> Reading:
    """What happened in a stream, up to a version or a time."""

    async def read(of: OpenService) -> Told:
        moment = None if at is None else at.timestamp()
        found = await events.read_stream(of.store, stream, version=version, at=moment)
        if not found:
            raise NotFound(f"{of.service.name} has no events of {stream}{_then(version, at)}.")
        told = [as_json(event, of.service.upcasters, payloads) for event in found]
        return told, partial(print_events, told)

    return read


def show_aggregate(stream: str, version: int | None, at: datetime | None, payloads: Payloads) -> Reading:
    """What an aggregate is, or was at a version or a time."""

    async def read(of: OpenService) -> Told:
        kind, id = _aggregate(of, stream)
        log = EventLog(of.store, of.service.upcasters)
        aggregate = kind.fresh(id)
        history = await log.stream(kind, id, version=version, at=at)
        if not history:
            raise NotFound(f"{of.service.name} has no events of {stream}{_then(version, at)}.")
        aggregate.follow(event.message for event in history)
        told = {"stream": stream, "time": time_of(history[-1].recorded_at), **state_of(aggregate, payloads)}
        return told, partial(_print_state, told)

    return read


def _aggregate(of: OpenService, stream: str) -> tuple[type[Aggregate], str]:
    """The class and the id of the aggregate whose stream this is."""
    for kind in of.service.aggregates:
        prefix = kind.stream("")
        if stream.startswith(prefix):
            return kind, stream.removeprefix(prefix)
    known = ", ".join(f"{kind.stream('')}…" for kind in of.service.aggregates) or "none"
    raise ConfigurationError(
        f"{stream} is the stream of no aggregate that {of.service.name} names; those are: {known}. "
        "Name others with Service(aggregates=…)."
    )


def _then(version: int | None, at: datetime | None) -> str:
    if version is not None:
        return f" up to version {version}"
    return "" if at is None else f" up to {at.isoformat()}"


def _print_state(told: dict[str, Any], console: Console) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in told.items():
        for key, part in value.items() if isinstance(value, dict) else [("", value)]:
            text = part if isinstance(part, str) else compact(part)
            table.add_row(f"{name}.{key}" if key else name, Text(text))
    printed(table, console)
