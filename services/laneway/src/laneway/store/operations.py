"""Operations: what became of a queued call, for the caller who asks later."""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert  # its ON CONFLICT is compiled for SQLite as well

from laneway.store.schema import operations
from laneway.store.store import Store
from laneway.store.transaction import Write


class State(StrEnum):
    """Where an operation is. `SUCCEEDED` and `EXPIRED` are final, `FAILED` until somebody redrives the dead letter."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Operation:
    """One queued call. `error` is a serialized `google.rpc.Status`, `reply` a message of `reply_type`."""

    id: str
    method: str
    state: State
    reply_type: str | None
    reply: bytes | None
    error: bytes | None
    created_at: float
    updated_at: float
    start_by: float | None

    @property
    def done(self) -> bool:
        """Whether it will not change any more."""
        return self.state is not State.PENDING


def create(id: str, method: str, *, now: float, start_by: float | None = None) -> Write:
    """Write a pending operation; one that exists stays as it is."""
    return Write(
        _CREATE,
        [
            {
                "id": id,
                "method": method,
                "state": State.PENDING.value,
                "created_at": now,
                "updated_at": now,
                "start_by": start_by,
            }
        ],
    )


def succeed(id: str, *, reply_type: str, reply: bytes, now: float) -> Write:
    """The operation has a result. One that has failed may get it still: its message was a dead letter, redriven."""
    return Write(
        update(operations)
        .where(operations.c.id == id, operations.c.state.in_([State.PENDING.value, State.FAILED.value]))
        .values(updated_at=now, state=State.SUCCEEDED.value, reply_type=reply_type, reply=reply, error=None)
    )


def fail(id: str, *, error: bytes, now: float) -> Write:
    """The operation has failed for good."""
    return _change(id, now, state=State.FAILED.value, error=error)


def expire(id: str, *, error: bytes, now: float) -> Write:
    """The operation was not started in time."""
    return _change(id, now, state=State.EXPIRED.value, error=error)


async def get(store: Store, id: str) -> Operation | None:
    """An operation by its id."""
    rows = await store.fetch(select(operations).where(operations.c.id == id))
    return Operation(**{**rows[0].as_dict(), "state": State(rows[0].state)}) if rows else None


def sweep(before: float) -> Write:
    """Delete operations that ended before a moment."""
    ended = operations.c.state != State.PENDING.value
    return Write(delete(operations).where(ended, operations.c.updated_at < before))


def _change(id: str, now: float, **values: object) -> Write:
    """A final state never changes: a late result of an earlier delivery is dropped."""
    statement = update(operations).where(operations.c.id == id, operations.c.state == State.PENDING.value)
    return Write(statement.values(updated_at=now, **values))


_CREATE = insert(operations).on_conflict_do_nothing(index_elements=["id"])
