"""Operations: what became of a queued call, for the caller who asks later.

The owner's row may come late: a call from another service's outbox is first heard of when it runs, says how far it is,
or ends. A wish to cancel it may come before that, and is a row without a method.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import (
    and_,
    bindparam,
    case,
    delete,
    literal,
    literal_column,
    null,
    or_,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert  # its ON CONFLICT is compiled for SQLite as well

from laneway.store.schema import OPERATION_IS_OVER, inbox, operations
from laneway.store.store import Store
from laneway.store.transaction import Write


class State(StrEnum):
    """Where an operation is. `PENDING` is not final, and `FAILED` only until somebody redrives the dead letter."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Standing(StrEnum):
    """Why a message is not to run: it has ended, or is to be cancelled."""

    ENDED = "ended"
    UNWANTED = "unwanted"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who started a call: of its operation nobody else hears. The anonymous are one caller, of empty texts."""

    tenant: str = ""
    principal: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """One queued call. `error` is a serialized `google.rpc.Status`, `reply` a message of `reply_type`, `progress` a
    `laneway.v1.Progress`. Without a tenant and principal it was nobody's: a schedule's."""

    id: str
    method: str
    state: State
    reply_type: str | None
    reply: bytes | None
    error: bytes | None
    created_at: float
    updated_at: float
    start_by: float | None
    tenant: str | None
    principal: str | None
    progress: bytes | None
    cancelled_at: float | None

    @property
    def done(self) -> bool:
        """Whether it will not change any more."""
        return self.state is not State.PENDING

    def is_of(self, caller: Caller) -> bool:
        """Whether the caller may ask about it."""
        return (self.tenant, self.principal) == (caller.tenant, caller.principal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which of a caller's operations. What is not said does not matter. Times are moments, both exclusive."""

    done: bool | None = None
    state: State | None = None
    method: str | None = None
    created_after: float | None = None
    created_before: float | None = None


def create(id: str, method: str, *, now: float, caller: Caller | None, start_by: float | None = None) -> Write:
    """Write a pending operation; one that exists stays as it is.

    A wish to cancel it, if it came first, counts only from the same caller.
    """
    row = {**_row(id, method, caller, now), "start_by": start_by}
    return Write(_CREATE, [row])


def succeed(id: str, method: str, *, caller: Caller | None, reply_type: str, reply: bytes, now: float) -> Write:
    """The operation has a result, whether it was heard of before or not.

    One that has failed may get it still: its message was a dead letter, redriven.
    """
    row = {**_row(id, method, caller, now), "start_by": None, "state": State.SUCCEEDED.value}
    return Write(_SUCCEED, [{**row, "reply_type": reply_type, "reply": reply}])


def fail(id: str, *, error: bytes, now: float) -> Write:
    """The operation has failed for good."""
    return _end(id, State.FAILED, error, now)


def expire(id: str, *, error: bytes, now: float) -> Write:
    """The operation was not started in time."""
    return _end(id, State.EXPIRED, error, now)


def cancel(id: str, *, error: bytes, now: float) -> Write:
    """The operation was cancelled. To be committed with the message's row in the inbox, which says who was first."""
    return _end(id, State.CANCELLED, error, now)


def wish_cancelled(id: str, caller: Caller, now: float) -> Write:
    """The caller wants it cancelled, whether it has been heard of or not; who runs it will see."""
    return Write(_WISH, [{**_row(id, "", caller, now), "cancelled_at": now}])


def report(id: str, progress: bytes, *, now: float) -> Write:
    """How far an operation is that runs."""
    return Write(_CHANGE, [{"of_id": id, "progress": progress, "updated_at": now}])


def forget(id: str) -> Write:
    """Delete an operation that has ended."""
    return Write(delete(operations).where(operations.c.id == id, operations.c.state != State.PENDING.value))


async def get(store: Store, id: str) -> Operation | None:
    """An operation by its id."""
    rows = await store.fetch(select(operations).where(operations.c.id == id))
    return Operation(**{**rows[0].as_dict(), "state": State(rows[0].state)}) if rows else None


async def of_caller(
    store: Store, caller: Caller, selection: Selection, limit: int, after: tuple[float, str] | None = None
) -> list[Operation]:
    """Operations of a caller, the newest first; `after` is when one of them was created and its id, to go on."""
    of, columns = [operations.c.tenant == caller.tenant, operations.c.principal == caller.principal], operations.c
    query = select(operations).where(*of, columns.method != "")
    if after is not None:
        created, id = after
        query = query.where(or_(columns.created_at < created, and_(columns.created_at == created, columns.id > id)))
    if selection.done is not None:
        pending = columns.state == State.PENDING.value
        query = query.where(~pending if selection.done else pending)
    if selection.state is not None:
        query = query.where(columns.state == selection.state.value)
    if selection.method is not None:
        query = query.where(columns.method == selection.method)
    if selection.created_after is not None:
        query = query.where(columns.created_at > selection.created_after)
    if selection.created_before is not None:
        query = query.where(columns.created_at < selection.created_before)
    rows = await store.fetch(query.order_by(columns.created_at.desc(), columns.id).limit(limit))
    return [Operation(**{**row.as_dict(), "state": State(row.state)}) for row in rows]


async def standing(store: Store, id: str, caller: Caller | None) -> Standing | None:
    """Whether a message of a caller has ended here, or is to be cancelled; None when it may run."""
    of = {"of_message": id, "of_tenant": caller and caller.tenant, "of_principal": caller and caller.principal}
    found = {row[0] for row in await store.fetch(_STANDING, of)}
    return next((each for each in Standing if each.value in found), None)


async def unwanted(store: Store, ids: Sequence[str]) -> Mapping[str, Caller]:
    """Which of these are to be cancelled, by whose word."""
    columns = operations.c
    wished = select(columns.id, columns.tenant, columns.principal).where(
        columns.id.in_(ids), columns.cancelled_at.is_not(None)
    )
    return {row.id: Caller(row.tenant, row.principal) for row in await store.fetch(wished)}


async def over(store: Store, before: float, limit: int) -> float | None:
    """When the last of the next few that are over changed for the last time; None when none did `before`."""
    rows = await store.fetch(_OVER, {"before": before, "at_most": limit})
    return float(rows[-1].updated_at) if rows else None


def sweep(until: float) -> Write:
    """Delete what is over and has not changed since a moment."""
    return Write(delete(operations).where(_IS_OVER, operations.c.updated_at <= until))


def _row(id: str, method: str, caller: Caller | None, now: float) -> dict[str, object]:
    return {
        "id": id,
        "method": method,
        "state": State.PENDING.value,
        "created_at": now,
        "updated_at": now,
        "tenant": None if caller is None else caller.tenant,
        "principal": None if caller is None else caller.principal,
    }


def _end(id: str, state: State, error: bytes, now: float) -> Write:
    """A final state never changes: a late result of an earlier delivery is dropped."""
    return Write(_CHANGE, [{"of_id": id, "state": state.value, "error": error, "updated_at": now}])


_IS_OVER = text(f"({OPERATION_IS_OVER})")
_INSERT = insert(operations)
_SAME_CALLER = and_(
    operations.c.tenant == _INSERT.excluded.tenant, operations.c.principal == _INSERT.excluded.principal
)
_IS_WISH = operations.c.method == literal_column("''")
_IS_PENDING = operations.c.state == literal_column("'pending'")
_OF_CALL = ("method", "tenant", "principal", "start_by")
_CREATE = _INSERT.on_conflict_do_update(
    index_elements=["id"],
    set_={
        **{name: _INSERT.excluded[name] for name in _OF_CALL},
        "cancelled_at": case((_SAME_CALLER, operations.c.cancelled_at)),
    },
    where=_IS_WISH,
)
_SUCCEED = _INSERT.on_conflict_do_update(
    index_elements=["id"],
    set_={
        **{name: case((_IS_WISH, _INSERT.excluded[name]), else_=operations.c[name]) for name in _OF_CALL},
        "cancelled_at": case((or_(~_IS_WISH, _SAME_CALLER), operations.c.cancelled_at)),
        "error": null(),
        **{name: _INSERT.excluded[name] for name in ("state", "reply_type", "reply", "updated_at")},
    },
    where=or_(_IS_PENDING, operations.c.state == literal_column("'failed'")),
)
_CHANGE = update(operations).where(operations.c.id == bindparam("of_id"), _IS_PENDING)
_WISH = _INSERT.on_conflict_do_update(
    index_elements=["id"],
    set_={"cancelled_at": _INSERT.excluded.cancelled_at},
    where=and_(_SAME_CALLER, _IS_PENDING),
)
_STANDING = union_all(
    select(literal(Standing.ENDED.value).label("standing")).where(inbox.c.message_id == bindparam("of_message")),
    select(literal(Standing.UNWANTED.value)).where(
        operations.c.id == bindparam("of_message"),
        operations.c.cancelled_at.is_not(None),
        operations.c.tenant == bindparam("of_tenant", type_=operations.c.tenant.type),
        operations.c.principal == bindparam("of_principal", type_=operations.c.principal.type),
    ),
)
_OVER = (
    select(operations.c.updated_at)
    .where(_IS_OVER, operations.c.updated_at < bindparam("before"))
    .order_by(operations.c.updated_at)
    .limit(bindparam("at_most"))
)
