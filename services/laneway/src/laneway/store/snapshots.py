"""Snapshots: the last kept state of a stream's aggregate, to read less of the log. Any of them may go at any time.

This module must not know what a state means.
"""

from dataclasses import asdict, dataclass

from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert  # its ON CONFLICT is compiled for SQLite as well

from laneway.store.schema import snapshots
from laneway.store.transaction import Reader, Write


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a stream's aggregate at a version: a serialized message of a type, as `schema` lays it out."""

    stream: str
    version: int
    type: str
    schema: int
    payload: bytes
    taken_at: float


def keep(snapshot: Snapshot) -> Write:
    """Keep a snapshot in the place of an older one; a newer one stays."""
    return Write(_KEEP, [asdict(snapshot)])


async def latest(reader: Reader, stream: str) -> Snapshot | None:
    """The snapshot of a stream."""
    rows = await reader.fetch(_LATEST, {"of_stream": stream})
    return Snapshot(**rows[0].as_dict()) if rows else None


def forget() -> Write:
    """Throw all snapshots away: the next loads read the whole streams."""
    return Write(delete(snapshots))


_INSERT = insert(snapshots)
_KEEP = _INSERT.on_conflict_do_update(
    index_elements=["stream"],
    set_={name: _INSERT.excluded[name] for name in ("version", "type", "schema", "payload", "taken_at")},
    where=snapshots.c.version < _INSERT.excluded.version,
)
_LATEST = select(snapshots).where(snapshots.c.stream == bindparam("of_stream"))
