"""The inbox: which messages this service has processed, so that another delivery changes nothing.

The unique row is written with the message's effects; it decides, whatever the broker remembers. It is kept until its
producer cannot deliver the message any more, and for some time beyond (`laneway.lanes.forgetting`).
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import and_, bindparam, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert  # its ON CONFLICT is compiled for SQLite as well

from laneway.store.schema import inbox
from laneway.store.store import Store
from laneway.store.transaction import DuplicateKey, Write


class Processed(NamedTuple):
    """A message that was processed, and when, in seconds since the epoch."""

    processed_at: float
    message_id: str


class Remembered(NamedTuple):
    """How many messages of a producer are not known to be confirmed, and when the first of them was processed."""

    producer: str
    messages: int
    oldest: float


FIRST = Processed(0.0, "")
"""Before every other."""


def record(message_id: str, method: str, now: float, producer: str | None = None) -> Write:
    """Claim a message; the commit is a `DuplicateKey` when it was processed before.

    `producer` is the service whose outbox it came from; of one that is not known, the row is kept for ever.
    """
    return Write(
        _RECORD,
        [{"message_id": message_id, "method": method, "processed_at": now, "producer": producer}],
        expect=1,
        otherwise=DuplicateKey(f"The message {message_id} was processed before."),
    )


async def seen(store: Store, message_id: str) -> bool:
    """Whether a message was processed."""
    return bool(await store.fetch(_SEEN, {"of_message": message_id}))


def came_from(message_id: str, producer: str) -> Write:
    """Whose message it is, of one that was recorded before anybody knew."""
    return Write(_CAME_FROM, [{"of_message": message_id, "known_producer": producer}])


async def producers(store: Store) -> list[str]:
    """From whom there are messages that are not known to be confirmed; costs the same however many there are."""
    found: list[str] = []
    while rows := await store.fetch(_NEXT_PRODUCER, {"last_producer": found[-1] if found else ""}):
        found.append(rows[0].producer)
    return found


async def remembered(store: Store) -> list[Remembered]:
    """Of each producer, what is not known to be confirmed. Counts rows: for people."""
    return [Remembered(*row) for row in await store.fetch(_REMEMBERED)]


async def unconfirmed(store: Store, producer: str, after: Processed, limit: int) -> list[Processed]:
    """Messages of a producer that are not known to be confirmed, the first processed first."""
    values = {"of_producer": producer, "after_time": after.processed_at, "after_id": after.message_id}
    return [Processed(*row) for row in await store.fetch(_UNCONFIRMED, {**values, "at_most": limit})]


def confirm(ids: Sequence[str], now: float) -> Write:
    """Their producer has said that it cannot deliver these any more."""
    return Write(
        update(inbox).where(inbox.c.message_id.in_(ids), inbox.c.confirmed_at.is_(None)).values(confirmed_at=now)
    )


async def over(store: Store, before: float, limit: int) -> float | None:
    """When the last of the next few was confirmed; None when none was `before`."""
    rows = await store.fetch(_OVER, {"before": before, "at_most": limit})
    return float(rows[-1].confirmed_at) if rows else None


def sweep(until: float) -> Write:
    """Forget what was confirmed by then."""
    return Write(delete(inbox).where(inbox.c.confirmed_at <= until))


_RECORD = insert(inbox).on_conflict_do_nothing(index_elements=["message_id"])
_SEEN = select(inbox.c.message_id).where(inbox.c.message_id == bindparam("of_message"))
_CAME_FROM = (
    update(inbox)
    .where(inbox.c.message_id == bindparam("of_message"), inbox.c.producer.is_(None))
    .values(producer=bindparam("known_producer"))
)
_OPEN = and_(inbox.c.confirmed_at.is_(None), inbox.c.producer.is_not(None))
_NEXT_PRODUCER = (
    select(inbox.c.producer)
    .where(_OPEN, inbox.c.producer > bindparam("last_producer"))
    .order_by(inbox.c.producer)
    .limit(1)
)
_REMEMBERED = (
    select(inbox.c.producer, func.count(), func.min(inbox.c.processed_at))
    .where(_OPEN)
    .group_by(inbox.c.producer)
    .order_by(inbox.c.producer)
)
_UNCONFIRMED = (
    select(inbox.c.processed_at, inbox.c.message_id)
    .where(
        _OPEN,
        inbox.c.producer == bindparam("of_producer"),
        tuple_(inbox.c.processed_at, inbox.c.message_id) > tuple_(bindparam("after_time"), bindparam("after_id")),
    )
    .order_by(inbox.c.processed_at, inbox.c.message_id)
    .limit(bindparam("at_most"))
)
_OVER = (
    select(inbox.c.confirmed_at)
    .where(inbox.c.confirmed_at < bindparam("before"))
    .order_by(inbox.c.confirmed_at)
    .limit(bindparam("at_most"))
)
