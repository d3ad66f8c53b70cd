"""Idempotency keys: one row per (tenant, principal, method, key), written with the effects.

The row is claim and stored reply in one: whoever commits it first wins, the other replays. Methods with effects
outside the database take a committed lease first, whose fencing token a late holder no longer matches. This module
must not know what makes two requests the same: it compares fingerprints.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

from sqlalchemy import and_, bindparam, delete, select, update
from sqlalchemy.dialects.postgresql import insert  # its ON CONFLICT is compiled for SQLite as well

from laneway.store.schema import idempotency as table
from laneway.store.store import Store
from laneway.store.transaction import DuplicateKey, LeaseHeld, LeaseLost, Write

_LEASE_KEPT = 86_400.0  # seconds a lease outlives its end, so that its fencing tokens keep growing


class State(StrEnum):
    """`LEASED`: an exclusive attempt has begun. `DONE`: the reply is stored."""

    LEASED = "leased"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Key:
    """Whose key, for which method."""

    tenant: str
    principal: str
    method: str
    key: str


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a key.

    Attributes:
        fingerprint: of the request; another one under the same key is the caller's mistake.
        fence: the fencing token of the last lease; 0 when there was none.
        reply: a serialized message of `reply_type`, or none when `error`, a `google.rpc.Status`, is the answer.
        expires_at: from then on the key is as good as new.
        headers: of the reply.
    """

    tenant: str
    principal: str
    method: str
    key: str
    fingerprint: str
    state: State
    fence: int
    lease_until: float | None
    reply_type: str | None
    reply: bytes | None
    error: bytes | None
    created_at: float
    completed_at: float | None
    expires_at: float
    headers: Mapping[str, str] | None = None


async def find(store: Store, key: Key, *, now: float) -> Record | None:
    """What is known of a key that has not expired."""
    record = await _find(store, key)
    return record if record is not None and record.expires_at > now else None


def complete(
    key: Key,
    *,
    fingerprint: str,
    now: float,
    keep: float,
    reply_type: str | None = None,
    reply: bytes | None = None,
    error: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    fence: int | None = None,
) -> Write:
    """Claim a key and store its answer.

    Args:
        keep: seconds for which the answer is replayed, from now.
        fence: the fencing token of `lease`, when one was taken.

    Committing raises:
        DuplicateKey: another call has completed under this key; replay its answer.
        LeaseLost: the lease went to another.
    """
    answer = {
        "fingerprint": fingerprint,
        "state": State.DONE.value,
        "lease_until": None,
        "reply_type": reply_type,
        "reply": reply,
        "error": error,
        "completed_at": now,
        "expires_at": now + keep,
        "headers": dict(headers) if headers else None,
    }
    if fence is not None:
        lost = LeaseLost(f"The lease on the idempotency key {key.key} of {key.method} went to another attempt.")
        row = {**_of(key), "of_fence": fence, **answer}
        return Write(_COMPLETE_LEASED, [row], expect=1, otherwise=lost)
    row = {**asdict(key), **answer, "fence": 0, "created_at": now, "at": now}
    return Write(_COMPLETE, [row], expect=1, otherwise=_duplicate(key))


async def lease(store: Store, key: Key, *, fingerprint: str, now: float, until: float) -> int:
    """Take the committed lease of an exclusive method; returns its fencing token.

    Raises:
        DuplicateKey: the key has an answer; replay it.
        LeaseHeld: another attempt runs; `retry_after` says until when.
    """
    record = await _find(store, key)
    values = {"fingerprint": fingerprint, "state": State.LEASED.value, "lease_until": until}
    values["expires_at"] = until + _LEASE_KEPT
    message = f"Another attempt with the idempotency key {key.key} of {key.method} runs."
    held = LeaseHeld(message, retry_after=until - now)
    if record is None:
        row = {**asdict(key), **values, "fence": 1, "created_at": now}
        await store.commit([Write(_LEASE, [row], expect=1, otherwise=held)])
        return 1
    if record.state is State.DONE and record.expires_at > now:
        raise _duplicate(key)
    if record.state is State.LEASED and (record.lease_until or 0.0) > now:
        raise LeaseHeld(message, retry_after=(record.lease_until or now) - now)
    cleared = {"reply_type": None, "reply": None, "error": None, "completed_at": None, "headers": None}
    row = {**_of(key), "of_fence": record.fence, "of_state": record.state.value, **values, **cleared}
    await store.commit([Write(_TAKE_OVER, [{**row, "fence": record.fence + 1}], expect=1, otherwise=held)])
    return record.fence + 1


def release(key: Key, fence: int) -> Write:
    """End a lease without an answer, so that the next attempt need not wait. The row stays for its fence."""
    return Write(_RELEASE, [{**_of(key), "of_fence": fence}])


async def expired(store: Store, now: float, limit: int) -> float | None:
    """Until when to sweep so that about `limit` rows go; None when none has expired."""
    until: float | None = None
    for row in await store.fetch(_EXPIRED, {"now": now, "at_most": limit}):
        until = row.expires_at
    return until


def sweep(until: float) -> Write:
    """Delete what has expired by then."""
    return Write(delete(table).where(table.c.expires_at <= until))


async def _find(store: Store, key: Key) -> Record | None:
    rows = await store.fetch(_FIND, _of(key))
    return Record(**{**rows[0].as_dict(), "state": State(rows[0].state)}) if rows else None


def _of(key: Key) -> dict[str, str]:
    return {f"of_{name}": value for name, value in asdict(key).items()}


def _duplicate(key: Key) -> DuplicateKey:
    return DuplicateKey(f"The idempotency key {key.key} of {key.method} has an answer.")


_KEY = ["tenant", "principal", "method", "key"]
_IS_KEY = and_(*(table.c[name] == bindparam(f"of_{name}") for name in _KEY))
_IS_LEASE = and_(_IS_KEY, table.c.state == State.LEASED.value, table.c.fence == bindparam("of_fence"))
_EXPIRED = (
    select(table.c.expires_at)
    .where(table.c.expires_at <= bindparam("now"))
    .order_by(table.c.expires_at)
    .limit(bindparam("at_most"))
)
_FIND = select(table).where(_IS_KEY)
_INSERT = insert(table)
_COMPLETE = _INSERT.on_conflict_do_update(
    index_elements=_KEY,
    set_={
        name: _INSERT.excluded[name]
        for name in table.columns.keys()  # noqa: SIM118 (iterating a collection gives its columns)
        if name not in (*_KEY, "fence")
    },
    where=table.c.expires_at <= bindparam("at", type_=table.c.expires_at.type),
)
_COMPLETE_LEASED = update(table).where(_IS_LEASE)
_LEASE = _INSERT.on_conflict_do_nothing(index_elements=_KEY)
_TAKE_OVER = update(table).where(
    _IS_KEY, table.c.fence == bindparam("of_fence"), table.c.state == bindparam("of_state")
)
_RELEASE = update(table).where(_IS_LEASE).values(lease_until=0.0)
