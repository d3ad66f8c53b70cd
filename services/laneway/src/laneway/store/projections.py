"""How far each generation of each view has come, which one is read, and which streams it holds back.

A view's cursor moves in the commit that changes its rows. This module must not know what is in a view.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ScalarSelect, Table, and_, bindparam, delete, select, update
from sqlalchemy.dialects.postgresql import insert  # its ON CONFLICT is compiled for SQLite as well

from laneway.store.events import START, Cursor
from laneway.store.schema import projection_holds as holds_table
from laneway.store.schema import projections as table
from laneway.store.store import Store
from laneway.store.transaction import VersionConflict, Write


class State(StrEnum):
    """`BUILDING` beside the one that is read, which is `LIVE`; `RETIRED` ones are being removed."""

    BUILDING = "building"
    LIVE = "live"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Generation:
    """A view as it was begun once.

    Attributes:
        version: of the projection's code that makes it.
        applied: how many events it has been through.
    """

    name: str
    generation: int
    version: int
    state: State
    cursor: Cursor
    applied: int
    begun_at: float
    live_at: float | None


@dataclass(frozen=True, slots=True)
class Hold:
    """A stream of which a view has applied nothing from `version` on, because that event failed."""

    name: str
    generation: int
    stream: str
    version: int
    error: str
    since: float


async def generations(store: Store, name: str | None = None) -> list[Generation]:
    """The generations of a view, or of all, the oldest first."""
    query = select(table).order_by(table.c.name, table.c.generation)
    rows = await store.fetch(query if name is None else query.where(table.c.name == name))
    return [
        Generation(
            row.name, row.generation, row.version, State(row.state), Cursor(row.cursor_tx, row.cursor_position),
            row.applied, row.begun_at, row.live_at,
        )
        for row in rows
    ]  # fmt: skip


def begin(name: str, generation: int, version: int, *, now: float) -> Write:
    """Begin a generation at the first event; it is not read before it `goes_live`.

    Committing raises:
        VersionConflict: somebody else began it.
    """
    row = {
        "name": name,
        "generation": generation,
        "version": version,
        "state": State.BUILDING.value,
        "cursor_tx": START.tx,
        "cursor_position": START.position,
        "applied": 0,
        "begun_at": now,
    }
    conflict = VersionConflict(f"Generation {generation} of {name} was begun by another process.")
    return Write(_BEGIN, [row], expect=1, otherwise=conflict)


def advance(generation: Generation, cursor: Cursor, applied: int) -> Write:
    """Move a generation's cursor, if nobody else has; otherwise the commit is a `VersionConflict`."""
    row = {
        **_of(generation),
        "old_tx": generation.cursor.tx,
        "old_position": generation.cursor.position,
        "cursor_tx": cursor.tx,
        "cursor_position": cursor.position,
        "more": applied,
    }
    conflict = VersionConflict(f"Generation {generation.generation} of {generation.name} was moved meanwhile.")
    return Write(_ADVANCE, [row], expect=1, otherwise=conflict)


def go_live(generation: Generation, now: float) -> list[Write]:
    """Let readers change over to a generation; those that were read or built before it retire."""
    of = table.c.name == generation.name
    older = and_(of, table.c.generation < generation.generation)
    this = and_(of, table.c.generation == generation.generation, table.c.state == State.BUILDING.value)
    return [
        Write(update(table).where(older).values(state=State.RETIRED.value)),
        Write(update(table).where(this).values(state=State.LIVE.value, live_at=now), expect=1),
    ]


def live_generation(name: str) -> ScalarSelect[int]:
    """The generation of a view that is read, for use in a query."""
    return select(table.c.generation).where(table.c.name == name, table.c.state == State.LIVE.value).scalar_subquery()


async def sweep(store: Store, generation: Generation, tables: Sequence[Table]) -> None:
    """Remove a retired generation: its rows, table by table, then what is known of it."""
    for each in tables:
        await store.commit([Write(delete(each).where(each.c.generation == generation.generation))])
    of = holds_table.c.name == generation.name, holds_table.c.generation == generation.generation
    gone = table.c.name == generation.name, table.c.generation == generation.generation
    await store.commit([Write(delete(holds_table).where(*of)), Write(delete(table).where(*gone))])


async def holds(store: Store, name: str | None = None, generation: int | None = None) -> list[Hold]:
    """The streams that are held back, the longest first."""
    query = select(holds_table).order_by(holds_table.c.since, holds_table.c.stream)
    query = query if name is None else query.where(holds_table.c.name == name)
    query = query if generation is None else query.where(holds_table.c.generation == generation)
    return [Hold(**row.as_dict()) for row in await store.fetch(query)]


def hold(generation: Generation, stream: str, version: int, error: str, now: float) -> Write:
    """Hold a stream back from a version on, or from a later one than before."""
    row = {
        "name": generation.name,
        "generation": generation.generation,
        "stream": stream,
        "version": version,
        "error": error,
        "since": now,
    }
    return Write(_HOLD, [row])


def release(generation: Generation, stream: str) -> Write:
    """Hold a stream back no longer."""
    return Write(_RELEASE, [{**_of(generation), "of_stream": stream}], expect=1)


def _of(generation: Generation) -> dict[str, object]:
    return {"of_name": generation.name, "of_generation": generation.generation}


_BEGIN = insert(table).on_conflict_do_nothing(index_elements=["name", "generation"])
_ADVANCE = (
    update(table)
    .where(
        table.c.name == bindparam("of_name"),
        table.c.generation == bindparam("of_generation"),
        table.c.state != State.RETIRED.value,
        table.c.cursor_tx == bindparam("old_tx"),
        table.c.cursor_position == bindparam("old_position"),
    )
    .values(
        cursor_tx=bindparam("cursor_tx"),
        cursor_position=bindparam("cursor_position"),
        applied=table.c.applied + bindparam("more"),
    )
)
_INSERT_HOLD = insert(holds_table)
_HOLD = _INSERT_HOLD.on_conflict_do_update(
    index_elements=["name", "generation", "stream"],
    set_={"version": _INSERT_HOLD.excluded.version, "error": _INSERT_HOLD.excluded.error},
)
_RELEASE = delete(holds_table).where(
    holds_table.c.name == bindparam("of_name"),
    holds_table.c.generation == bindparam("of_generation"),
    holds_table.c.stream == bindparam("of_stream"),
)
