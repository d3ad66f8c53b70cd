"""Checks a service's log and what was made of it: versions, order, readability, and views against a fold of the log.

Changes nothing. A view is folded once more into a database in memory, and compared row by row.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message
from sqlalchemy import Connection, Table, create_engine, select
from sqlalchemy.pool import StaticPool

from laneway.domain.changes import GENERATION, condensed
from laneway.domain.projection import Projection
from laneway.domain.upcasting import Upcasters, version_of
from laneway.errors import LanewayError
from laneway.history.log import EventLog
from laneway.store import Store, Write, events, projections, subscriptions
from laneway.store.events import START, Cursor
from laneway.store.projections import Generation, State
from laneway.store.schema import projections as projections_table

BATCH = 2_000
SHOWN = 3
"""Rows of a view that are told where it differs."""

ClassOf = Callable[[str], type[Message] | None]
"""The class of a type's name; None if this code has none."""


@dataclass(slots=True)
class Report:
    """What was looked at, and what is wrong."""

    events: int = 0
    views: int = 0
    wrong: list[str] = field(default_factory=list)


async def verify(
    store: Store,
    upcasters: Upcasters,
    class_of: ClassOf,
    views: Sequence[Projection],
    told: Callable[[int], None] = lambda _: None,
) -> Report:
    """Check a service's log.

    Args:
        told: is called with the number of events that were read.
    """
    report = Report()
    for stream, version, expected in await events.out_of_order(store):
        report.wrong.append(f"{stream} has version {version} where {expected} was to come")
    await _read_all(store, upcasters, class_of, report, told)
    end = await events.end(store)
    for subscription in await subscriptions.all(store):
        if subscription.cursor > end:
            report.wrong.append(f"the subscription {subscription.name} is ahead of the log")
    for hold in await projections.holds(store):
        report.wrong.append(f"the view {hold.name} holds {hold.stream} back from version {hold.version}: {hold.error}")
    for projection in views:
        report.views += 1
        report.wrong += await _compare(store, upcasters, projection)
    return report


async def _read_all(
    store: Store, upcasters: Upcasters, class_of: ClassOf, report: Report, told: Callable[[int], None]
) -> None:
    cursor = START
    while page := await events.read_after(store, cursor, limit=BATCH):
        for event in page:
            known = class_of(event.type)
            try:
                upcasters.read(
                    event.type, event.payload, version_of(event.metadata_text), {event.type: known} if known else {}
                )
            except Exception as error:  # an upcaster is the author's, and may fail in any way
                cause = error.message if isinstance(error, LanewayError) else f"{type(error).__name__}: {error}"
                report.wrong.append(f"{event.stream} version {event.version} ({event.event_id}): {cause}")
        report.events += len(page)
        cursor = page[-1].cursor
        told(report.events)


async def _compare(store: Store, upcasters: Upcasters, projection: Projection) -> Iterator[str]:
    """Where the view that is read differs from a fold of the log up to its cursor."""
    of_name = await projections.generations(store, projection.name)
    live = next((each for each in of_name if each.state is State.LIVE), None)
    if live is None or live.version != projection.version:
        return iter([f"the view {projection.name} was not built yet by this version of the code"])
    if await projections.holds(store, projection.name, live.generation):
        return iter([])  # said already; its rows are not those of the whole log
    found, cursor = await _rows(store, projection, live)
    engine = create_engine("sqlite://", poolclass=StaticPool)
    try:
        with engine.connect() as scratch:
            try:
                await _fold(store, upcasters, projection, live.generation, cursor, scratch)
            except Exception as error:  # the author's code, on what it has applied once
                return iter([f"the view {projection.name} cannot be folded again: {type(error).__name__}: {error}"])
            wanted = {
                table.name: set(_comparable(scratch.execute(_of(table, live.generation))))
                for table in projection.tables
            }
    finally:
        engine.dispose()
    return iter(_differences(projection, found, wanted))


async def _rows(
    store: Store, projection: Projection, live: Generation
) -> tuple[dict[str, set[tuple[Any, ...]]], Cursor]:
    """All rows of a view, and the place in the log of which they tell."""
    at = projections_table.c.name == projection.name, projections_table.c.generation == live.generation
    async with await store.begin() as snapshot:
        [place] = await snapshot.fetch(select(projections_table).where(*at))
        rows = {
            table.name: set(_comparable(await snapshot.fetch(_of(table, live.generation))))
            for table in projection.tables
        }
    return rows, Cursor(place.cursor_tx, place.cursor_position)


async def _fold(
    store: Store, upcasters: Upcasters, projection: Projection, generation: int, end: Cursor, scratch: Connection
) -> None:
    for table in projection.tables:
        table.create(scratch)
    log, types, cursor = EventLog(store, upcasters), projection.event_types(), START
    sources = list(upcasters.sources(types))
    while page := [each for each in await events.read_after(store, cursor, sources, BATCH) if each.cursor <= end]:
        changes = [change for event in page for change in projection.changes(log.recorded(event, types))]
        for write in condensed(changes, generation):
            _execute(scratch, write)
        cursor = page[-1].cursor


def _execute(scratch: Connection, write: Write) -> None:
    scratch.execute(write.statement, [dict(row) for row in write.rows])


def _of(table: Table, generation: int) -> Any:
    return select(*table.c).where(table.c[GENERATION] == generation)


def _comparable(rows: Any) -> Iterator[tuple[Any, ...]]:
    """Rows that can be in a set: what is JSON, as text."""
    return (tuple(map(_of_a_set, row)) for row in rows)


def _of_a_set(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value


def _differences(
    projection: Projection, found: dict[str, set[tuple[Any, ...]]], wanted: dict[str, set[tuple[Any, ...]]]
) -> Iterator[str]:
    for table in projection.tables:
        extra, missing = found[table.name] - wanted[table.name], wanted[table.name] - found[table.name]
        said = (("has what the log does not tell of", extra), ("lacks what the log tells of", missing))
        for what, rows in said:
            for row in sorted(rows, key=repr)[:SHOWN]:
                shown = ", ".join(f"{column.name}={value}" for column, value in zip(table.c, row, strict=True))
                yield f"the view {projection.name} {what}: {shown}"
