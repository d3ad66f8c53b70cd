"""Who listens to this service's published events, and how far each has been served.

A subscription is a low-water mark on the log: moving it and writing the deliveries is one commit, and the compare
and set lets one of two relays win. This module must not know how events are delivered.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert  # its ON CONFLICT is compiled for SQLite as well

from laneway.store import log_order
from laneway.store.compile import Row
from laneway.store.events import START, Cursor
from laneway.store.schema import outbox, subscriptions
from laneway.store.store import Store
from laneway.store.transaction import VersionConflict, Write


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscriber. `name` is the full name of its method."""

    name: str
    service: str
    queue: str
    event_type: str
    from_start: bool
    cursor: Cursor
    created_at: float
    order_by: str | None = None


@dataclass(frozen=True, slots=True)
class OpenDeliveries:
    """What a subscriber has not confirmed, dead letters included: how many, and when the oldest was written."""

    count: int
    oldest_at: float


def register(
    name: str,
    *,
    service: str,
    queue: str,
    event_type: str,
    from_start: bool,
    now: float,
    order_by: str | None = None,
) -> Write:
    """Subscribe from now on, or from the first event of the log. Again: the queue may change, the cursor stays."""
    end_tx = literal(START.tx) if from_start else log_order.end_tx()
    end_position = literal(START.position) if from_start else log_order.end_position()
    statement = insert(subscriptions).values(
        name=name,
        service=service,
        queue=queue,
        event_type=event_type,
        from_start=from_start,
        cursor_tx=end_tx,
        cursor_position=end_position,
        created_at=now,
        order_by=order_by,
    )
    new = statement.excluded
    return Write(
        statement.on_conflict_do_update(
            index_elements=["name"],
            set_={"service": new.service, "queue": new.queue, "event_type": new.event_type, "order_by": new.order_by},
        )
    )


async def all(store: Store) -> list[Subscription]:
    """Every subscription, by name."""
    return [_subscription(row) for row in await store.fetch(_ALL)]


def advance(name: str, old: Cursor, new: Cursor) -> Write:
    """Move a cursor, if nobody else has; otherwise the commit is a `VersionConflict`."""
    return Write(
        _ADVANCE,
        [
            {
                "of_name": name,
                "old_tx": old.tx,
                "old_position": old.position,
                "cursor_tx": new.tx,
                "cursor_position": new.position,
            }
        ],
        expect=1,
        otherwise=VersionConflict(f"The subscription {name} is not at {old.tx}/{old.position} any more."),
    )


async def open_deliveries(store: Store) -> Mapping[str, OpenDeliveries]:
    """What is on its way to subscribers, by the subscription's name, of those that have any; reads the whole outbox."""
    return {row.subscription: OpenDeliveries(row.open, row.oldest_at) for row in await store.fetch(_OPEN_DELIVERIES)}


def drop(name: str) -> list[Write]:
    """End a subscription, by hand: its events are not kept for it any more, nor what is on its way to it.

    The subscription goes first: a relay that is writing deliveries for it has ended by then, or finds it gone.
    """
    return [
        Write(delete(subscriptions).where(subscriptions.c.name == name)),
        Write(delete(outbox).where(outbox.c.subscription == name)),
    ]


def _subscription(row: Row) -> Subscription:
    return Subscription(
        name=row.name,
        service=row.service,
        queue=row.queue,
        event_type=row.event_type,
        from_start=row.from_start,
        cursor=Cursor(row.cursor_tx, row.cursor_position),
        created_at=row.created_at,
        order_by=row.order_by,
    )


_ALL = select(subscriptions).order_by(subscriptions.c.name)
_ADVANCE = update(subscriptions).where(
    subscriptions.c.name == bindparam("of_name"),
    subscriptions.c.cursor_tx == bindparam("old_tx"),
    subscriptions.c.cursor_position == bindparam("old_position"),
)
_OPEN_DELIVERIES = (
    select(outbox.c.subscription, func.count().label("open"), func.min(outbox.c.created_at).label("oldest_at"))
    .where(outbox.c.subscription.is_not(None), outbox.c.skipped_at.is_(None))
    .group_by(outbox.c.subscription)
)
