"""The event log: append-only streams, and reading all of it without missing an event.

An event is a serialized protobuf message with its type's name; this module must not know what it means.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Select, bindparam, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert  # its ON CONFLICT is compiled for SQLite as well

from laneway.store import log_order
from laneway.store.compile import Row
from laneway.store.schema import TRANSACTION, events
from laneway.store.store import Store
from laneway.store.transaction import VersionConflict, Write

NEW: Final = 0
"""Expected version of a stream that has no events yet."""

ANY: Final = None
"""No expectation: append at the end, whatever the version."""


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """A place in the log: everything up to it has been read. `tx` is 0 on SQLite."""

    tx: int = 0
    position: int = 0


START: Final = Cursor()


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to append. A second one of the same `event_id` is a `DuplicateKey`."""

    event_id: str
    type: str
    payload: bytes
    recorded_at: float
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """An event of the log. `version` counts from 1 within its stream."""

    event_id: str
    stream: str
    version: int
    type: str
    payload: bytes
    metadata: Mapping[str, str]
    recorded_at: float
    position: int
    tx: int

    @property
    def cursor(self) -> Cursor:
        """The place behind this event."""
        return Cursor(self.tx, self.position)


def append(stream: str, expected: int | None, new: Sequence[NewEvent]) -> list[Write]:
    """Append events to a stream; commit the writes of several streams together to append to all or none.

    Args:
        expected: the stream's version as it was read, `NEW`, or `ANY`.

    Committing raises:
        VersionConflict: the stream has another version by now.
        DuplicateKey: an event of the same id exists.
    """
    if not new:
        return []
    rows = [
        {
            "new_event_id": event.event_id,
            "new_stream": stream,
            "new_version": None if expected is None else expected + at,
            "new_type": event.type,
            "new_payload": event.payload,
            "new_metadata": dict(event.metadata),
            "new_recorded_at": event.recorded_at,
        }
        for at, event in enumerate(new, start=1)
    ]
    known = "another version" if expected is None else f"version {expected}"
    conflict = VersionConflict(f"The stream {stream} is not at {known} any more.")
    if expected is not None:
        return [Write(_APPEND, rows, expect=len(rows), otherwise=conflict)]
    for row in rows:
        del row["new_version"]
    return [
        Write(_LOCK, [{"locked_stream": stream}]),
        Write(_APPEND_AT_END, rows, expect=len(rows), otherwise=conflict),
    ]


async def read_stream(store: Store, stream: str, after: int = 0, limit: int | None = None) -> list[Event]:
    """A stream's events after a version, in order."""
    query = _STREAM if limit is None else _STREAM.limit(limit)
    return [_event(row) for row in await store.fetch(query, {"of_stream": stream, "after_version": after})]


async def read_after(store: Store, cursor: Cursor, types: Sequence[str] = (), limit: int = 100) -> list[Event]:
    """The log's events after a cursor in an order in which none appears before the cursor later.

    Args:
        types: full names of protobuf messages; every type when empty.
    """
    query = _AFTER[store.dialect]
    if types:
        query = query.where(events.c.type.in_(types) if len(types) > 1 else events.c.type == types[0])
    values = {"after_position": cursor.position, "at_most": limit}
    if store.dialect == "postgresql":
        values["after_tx"] = cursor.tx
    return [_event(row) for row in await store.fetch(query, values)]


async def end(store: Store) -> Cursor:
    """The cursor behind which every event lies that is committed from now on."""
    row = (await store.fetch(_END))[0]
    return Cursor(row.tx, row.position)


def _event(row: Row) -> Event:
    return Event(*row)


_VALUES = {
    column: bindparam(f"new_{column}", type_=events.c[column].type)
    for column in ("event_id", "stream", "version", "type", "payload", "metadata", "recorded_at")
}
_APPEND = insert(events).values(_VALUES).on_conflict_do_nothing(index_elements=["stream", "version"])
_NEXT_VERSION = (
    select(func.coalesce(func.max(events.c.version), 0) + 1)
    .where(events.c.stream == _VALUES["stream"])
    .scalar_subquery()
)
_APPEND_AT_END = (
    insert(events)
    .values({**_VALUES, "version": _NEXT_VERSION})
    .on_conflict_do_nothing(index_elements=["stream", "version"])
)
_LOCK = select(log_order.stream_lock(bindparam("locked_stream", type_=events.c.stream.type)))

_COLUMNS = select(
    events.c.event_id,
    events.c.stream,
    events.c.version,
    events.c.type,
    events.c.payload,
    events.c.metadata,
    events.c.recorded_at,
    events.c.position,
    events.c.tx,
)
_STREAM = _COLUMNS.where(
    events.c.stream == bindparam("of_stream"), events.c.version > bindparam("after_version")
).order_by(events.c.version)
_AFTER: dict[str, Select[tuple[object, ...]]] = {
    "sqlite": _COLUMNS.where(events.c.position > bindparam("after_position"))
    .order_by(events.c.position)
    .limit(bindparam("at_most")),
    "postgresql": _COLUMNS.where(
        tuple_(events.c.tx, events.c.position)
        > tuple_(bindparam("after_tx", type_=TRANSACTION), bindparam("after_position", type_=events.c.position.type)),
        events.c.tx < log_order.horizon(),
    )
    .order_by(events.c.tx, events.c.position)
    .limit(bindparam("at_most")),
}
_END = select(log_order.end_tx().label("tx"), log_order.end_position().label("position"))
