"""The event log: append-only streams, and reading all of it without missing an event.

An event is a serialized protobuf message with its type's name; this module must not know what it means.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, Integer, Select, Text, bindparam, cast, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert  # its ON CONFLICT is compiled for SQLite as well

from laneway.store import log_order
from laneway.store.schema import TRANSACTION, events
from laneway.store.store import Store
from laneway.store.transaction import Dialect, DuplicateKey, Reader, VersionConflict, Write

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


class Event(NamedTuple):
    """An event of the log. `version` counts from 1 within its stream.

    A tuple, and its metadata text until somebody asks: a rebuild makes a hundred thousand of these in a second.
    """

    event_id: str
    stream: str
    version: int
    type: str
    payload: bytes
    metadata_text: str
    recorded_at: float
    position: int
    tx: int

    @property
    def metadata(self) -> Mapping[str, str]:
        """What is known of its origin."""
        return json.loads(self.metadata_text)  # type: ignore[no-any-return]

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


async def append_once(store: Store, stream: str, expected: int | None, new: Sequence[NewEvent]) -> int:
    """Append events to a stream in a commit of their own; again, with the same ids, nothing more happens.

    Returns the version of the last of them. For whoever does not know whether an earlier attempt was committed.

    Raises:
        VersionConflict: the stream has another version by now, and not because of these events.
        DuplicateKey: one of the ids is another event's.
    """
    if not new:
        raise ValueError("there is nothing to append")
    try:
        await store.commit(append(stream, expected, new))
    except (VersionConflict, DuplicateKey):
        known = await find(store, [event.event_id for event in new])
        if not _are(known, stream, new):
            raise
        return known[-1].version
    return (await find(store, [new[-1].event_id]))[0].version


async def find(store: Store, ids: Sequence[str]) -> list[Event]:
    """The events of some ids, as far as there are any, in the order of their streams."""
    query = _COLUMNS.where(events.c.event_id.in_(ids)).order_by(events.c.stream, events.c.version)
    return [Event._make(row) for row in await store.fetch(query)]


async def read_stream(
    reader: Reader,
    stream: str,
    after: int = 0,
    limit: int | None = None,
    *,
    version: int | None = None,
    at: float | None = None,
) -> list[Event]:
    """A stream's events after a version, in order.

    Args:
        version: as of this version: later events are left out.
        at: as of this time, in seconds since the epoch: from the first event that was recorded later on, all are left
            out, so that clocks that differ never leave a gap.
    """
    query, values = _STREAM, {"of_stream": stream, "after_version": after}
    if version is not None:
        query, values = query.where(events.c.version <= bindparam("to_version")), {**values, "to_version": version}
    if at is not None:
        query, values = query.where(events.c.version < _LATER), {**values, "later_than": at}
    if limit is not None:
        query = query.limit(limit)
    return [Event._make(row) for row in await reader.fetch(query, values)]


async def newest(store: Store, limit: int, types: Sequence[str] = ()) -> list[Event]:
    """The last events of the log, the newest first; for people, who may miss one that is being committed."""
    query = _COLUMNS if not types else _COLUMNS.where(events.c.type.in_(types))
    return [Event._make(row) for row in await store.fetch(query.order_by(events.c.position.desc()).limit(limit))]


async def read_after(reader: Reader, cursor: Cursor, types: Sequence[str] = (), limit: int = 100) -> list[Event]:
    """The log's events after a cursor in an order in which none appears before the cursor later.

    Args:
        types: full names of protobuf messages; every type when empty.
    """
    values: dict[str, object] = {"after_position": cursor.position, "at_most": limit}
    if reader.dialect == "postgresql":
        values["after_tx"] = cursor.tx
    for number, type in enumerate(types):
        values[f"type_{number}"] = type
    return [Event._make(row) for row in await reader.fetch(_after(reader.dialect, len(types)), values)]


async def withheld_since(store: Store) -> float | None:
    """When the first event was recorded that readers do not see yet; None if they see all.

    On PostgreSQL, while a transaction runs that is older than it; SQLite withholds nothing.
    """
    rows = await store.fetch(_WITHHELD) if store.dialect == "postgresql" else ()
    return float(rows[0].recorded_at) if rows else None


async def out_of_order(store: Store, limit: int = 100) -> list[tuple[str, int, int]]:
    """Where a stream's versions do not follow each other in the log's order: stream, version, and the one expected."""
    return [(row.stream, row.version, row.before + 1) for row in await store.fetch(_OUT_OF_ORDER.limit(limit))]


async def end(store: Store) -> Cursor:
    """The cursor behind which every event lies that is committed from now on."""
    row = (await store.fetch(_END))[0]
    return Cursor(row.tx, row.position)


def _are(known: Sequence[Event], stream: str, new: Sequence[NewEvent]) -> bool:
    """Whether these events were appended to this stream before, by one commit."""
    versions = [event.version for event in known]
    told = [(event.stream, event.event_id, event.type, event.payload) for event in known]
    return told == [(stream, event.event_id, event.type, event.payload) for event in new] and versions == list(
        range(versions[0], versions[0] + len(new))
    )


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
    cast(events.c.metadata, Text).label("metadata"),
    events.c.recorded_at,
    events.c.position,
    cast(cast(events.c.tx, Text), BigInteger).label("tx"),
)
_STREAM = _COLUMNS.where(
    events.c.stream == bindparam("of_stream"), events.c.version > bindparam("after_version")
).order_by(events.c.version)
_LATER = func.coalesce(
    select(func.min(events.c.version))
    .where(events.c.stream == bindparam("of_stream"), events.c.recorded_at > bindparam("later_than"))
    .scalar_subquery(),
    2**31 - 1,
    type_=Integer,
)
_AFTER: dict[str, Select[tuple[object, ...]]] = {
    # `tx` is always 0 there, and said because the index by type has it before the position.
    "sqlite": _COLUMNS.where(events.c.tx == 0, events.c.position > bindparam("after_position"))
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


_WITHHELD = (
    select(events.c.recorded_at)
    .where(events.c.tx >= log_order.horizon())
    .order_by(events.c.tx, events.c.position)
    .limit(1)
)


@cache
def _after(dialect: Dialect, types: int) -> Select[tuple[object, ...]]:
    """The query for events of so many types, any if 0: followers ask it all the time, and a statement that is the same
    object is not looked at again.
    """
    named = [bindparam(f"type_{number}", type_=events.c.type.type) for number in range(types)]
    if not named:
        return _AFTER[dialect]
    return _AFTER[dialect].where(events.c.type.in_(named) if types > 1 else events.c.type == named[0])


_FOLLOWING = select(
    events.c.stream,
    events.c.version,
    func.coalesce(
        func.lag(events.c.version).over(partition_by=events.c.stream, order_by=(events.c.tx, events.c.position)), 0
    ).label("before"),
).subquery()
_OUT_OF_ORDER = (
    select(_FOLLOWING)
    .where(_FOLLOWING.c.version != _FOLLOWING.c.before + 1)
    .order_by(_FOLLOWING.c.stream, _FOLLOWING.c.version)
)
_END = select(log_order.end_tx().label("tx"), log_order.end_position().label("position"))
