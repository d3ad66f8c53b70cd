"""Events and aggregates as JSON and as text. Must not know databases."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from rich.console import Console
from rich.table import Table
from rich.text import Text

from laneway.cli.payloads import Payloads
from laneway.cli.screen import whole
from laneway.domain.aggregate import Aggregate
from laneway.domain.saga import Saga
from laneway.domain.upcasting import Upcasters, version_of
from laneway.errors import LanewayError
from laneway.store.events import Event

WIDTH = 10_000
"""Columns where nobody looks: a row is one line, however long, for what reads lines."""


def class_of(type_name: str) -> type[Message] | None:
    """The class of an event, if the contracts that are installed have it."""
    try:
        return GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(type_name))
    except KeyError:
        return None


def as_json(event: Event, upcasters: Upcasters, payloads: Payloads) -> dict[str, Any]:
    """An event as JSON: its message as today's code reads it, or why that cannot be."""
    told = {
        "id": event.event_id,
        "stream": event.stream,
        "version": event.version,
        "type": event.type,
        "eventVersion": version_of(event.metadata_text),
        "time": time_of(event.recorded_at),
        "metadata": dict(event.metadata),
    }
    known = class_of(event.type)
    try:
        message = upcasters.read(
            event.type, event.payload, version_of(event.metadata_text), {event.type: known} if known else {}
        )
    except LanewayError as error:
        return {**told, "unreadable": error.message, "payload": payloads.unread(event.payload, event.payload.hex())}
    return {**told, "message": payloads.message(message)}


def time_of(seconds: float) -> str:
    """A time of the log, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def print_events(told: Sequence[Mapping[str, Any]], console: Console) -> None:
    """A line for each event: place, time, type, and what it says."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("stream", "version", "time", "event"):
        table.add_column(column, no_wrap=True, justify="right" if column == "version" else "left")
    table.add_column("says", overflow="fold")
    for event in told:
        says = Text(event.get("unreadable") or compact(event["message"]))
        table.add_row(event["stream"], str(event["version"]), event["time"], event["type"].rpartition(".")[2], says)
    printed(table, console)


def print_event(told: Mapping[str, Any], console: Console) -> None:
    """All that is known of one event."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in told.items():
        rows = value.items() if name in ("message", "metadata") else [("", value)]
        for key, part in rows:
            text = part if isinstance(part, str) else compact(part)
            table.add_row(f"{name}.{key}" if key else name, Text(text))
    printed(table, console)


def printed(table: Table, console: Console) -> None:
    """Print a table, wide enough where it is piped."""
    whole(console, WIDTH).print(table, crop=console.is_terminal)


def compact(value: object) -> str:
    """JSON in a line."""
    return json.dumps(value, ensure_ascii=False)


def state_of(aggregate: Aggregate, payloads: Payloads) -> dict[str, Any]:
    """What an aggregate is, as JSON: its public attributes, and how far a saga has come."""
    told: dict[str, Any] = {"id": aggregate.id, "version": aggregate.version}
    if isinstance(aggregate, Saga):
        following = aggregate.next
        told |= {
            "correlation": aggregate.correlation,
            "next": following.name if following else None,
            "outstanding": [action.name for action in aggregate.outstanding],
            "reason": aggregate.reason,
            "outcome": aggregate.outcome,
        }
    public = {name: value for name, value in vars(aggregate).items() if not name.startswith("_")}
    return {name: plain(value, payloads) for name, value in (told | public).items()}


def plain(value: object, payloads: Payloads) -> Any:
    """A value of an author's as JSON."""
    if isinstance(value, Message):
        return payloads.message(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(each, payloads) for key, each in value.items()}
    if isinstance(value, str | int | float | bool | None):
        return value
    return [plain(each, payloads) for each in value] if isinstance(value, Iterable) else str(value)
