"""The event log, typed: streams and pages of it as messages of their newest version, aggregates as it tells them.

Must not know calls or lanes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from google.protobuf.message import DecodeError, Message

from laneway.domain.aggregate import Aggregate
from laneway.domain.recorded import Recorded
from laneway.domain.upcasting import Upcasters, version_of
from laneway.errors import FailedPrecondition
from laneway.store import Reader, Write, events, snapshots
from laneway.store.events import Cursor, Event
from laneway.store.snapshots import Snapshot

A = TypeVar("A", bound=Aggregate)
E = TypeVar("E", bound=Message)


@dataclass(frozen=True, slots=True)
class Page(Generic[E]):
    """Events that follow each other in the log. After `cursor` comes the next page; it has moved if any were found."""

    events: Sequence[Recorded[E]]
    cursor: Cursor


class EventLog:
    """The log of one service, read from its store or in an open transaction."""

    def __init__(self, reader: Reader, upcasters: Upcasters) -> None:
        self._reader = reader
        self._upcasters = upcasters

    async def load(self, aggregate: type[A], id: str, *, version: int | None = None, at: datetime | None = None) -> A:
        """An aggregate as its log tells it, today or as of a version or a time; a fresh one when it has no events.

        One of the past can be asked and, if anything has happened since, not be saved.
        """
        now = version is None and at is None
        found = await self._from_snapshot(aggregate, id) if aggregate.snapshot_every and now else aggregate.fresh(id)
        later = await self.stream(aggregate, id, after=found.version, version=version, at=at)
        return found.follow(event.message for event in later)

    async def stream(
        self, aggregate: type[Aggregate], id: str, *, after: int = 0, version: int | None = None,
        at: datetime | None = None,
    ) -> list[Recorded[Message]]:  # fmt: skip
        """The events of an aggregate, oldest first; `version` and `at` say as of when.

        Raises:
            Internal, DataLoss, Unavailable: see `Upcasters.read`.
        """
        moment = None if at is None else _seconds(at)
        found = await events.read_stream(self._reader, aggregate.stream(id), after, version=version, at=moment)
        types = aggregate.event_types()
        return [self.recorded(event, types) for event in found]

    async def after(self, cursor: Cursor, types: Sequence[type[E]], *, limit: int = 100) -> Page[E]:
        """The log's events of some types behind a cursor, in an order in which none is missed."""
        known = {event.DESCRIPTOR.full_name: event for event in types}
        found = await events.read_after(self._reader, cursor, list(self._upcasters.sources(known)), limit)
        read = [self.recorded(event, known) for event in found]
        return Page(read, found[-1].cursor if found else cursor)  # type: ignore[arg-type]

    def recorded(self, event: Event, types: Mapping[str, type[Message]]) -> Recorded[Message]:
        """An event of the store with its message."""
        text = event.metadata_text
        message = self._upcasters.read(event.type, event.payload, version_of(text), types)
        return Recorded(message, event.stream, event.version, event.event_id, event.recorded_at, text)

    async def _from_snapshot(self, aggregate: type[A], id: str) -> A:
        """What the last snapshot tells; a fresh one when there is none that this code understands."""
        kept, kind = await snapshots.latest(self._reader, aggregate.stream(id)), aggregate.snapshot_type
        if kept is None or kind is None:
            return aggregate.fresh(id)
        if (kept.type, kept.schema) != (kind.DESCRIPTOR.full_name, aggregate.snapshot_schema):
            return aggregate.fresh(id)
        try:
            return aggregate.from_snapshot(id, kept.version, kind.FromString(kept.payload))
        except DecodeError:
            return aggregate.fresh(id)


def kept_snapshot(aggregate: Aggregate, now: float) -> list[Write]:
    """What keeps a snapshot of an aggregate, if one is due; to be committed with what it recorded."""
    version, state = aggregate.version, aggregate.collect_snapshot()
    if state is None:
        return []
    name, payload = state.DESCRIPTOR.full_name, state.SerializeToString()
    stream = aggregate.stream(aggregate.id)
    return [snapshots.keep(Snapshot(stream, version, name, aggregate.snapshot_schema, payload, now))]


def _seconds(at: datetime) -> float:
    if at.tzinfo is None:
        raise FailedPrecondition("A time of the log has a time zone; write `datetime(..., tzinfo=UTC)`.")
    return at.timestamp()
