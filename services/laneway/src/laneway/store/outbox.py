"""The outbox: messages to queues, kept until the consumer's commit is confirmed.

The row is the truth and the broker carries copies, so publishing only postpones a row. This module must not know
the broker.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import (
    Select,
    and_,
    bindparam,
    case,
    delete,
    func,
    literal_column,
    not_,
    select,
    tuple_,
    union_all,
    update,
)

from laneway.store.schema import outbox
from laneway.store.store import Store
from laneway.store.transaction import Write


class Turn(IntEnum):
    """Whether a message may be published: those of a key wait for their turns."""

    FREE = 0
    NEW = 1
    BEHIND = 2


PRIORITIES = (0, 3, 6)
"""Every priority that a message may have."""

NORMAL = 3
"""The priority of what says nothing of it, and of what the revision before has written."""


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """A message for a queue of a service, or for one of a plain Celery application.

    Attributes:
        id: the message id, by which the consumer's inbox knows it.
        service: whose queue it is; empty for a plain one, which nobody confirms: the row goes when the broker has it.
        method: the method's full name, or the name of a plain application's task.
        payload: the request; for a plain task its arguments, as JSON.
        created_at: since when it waits for a worker: it was written, or was to start from then on.
        start_by: after this moment it must not start any more.
        subscription: the subscriber's method, when the message is an event.
        priority: of those that are due, lower numbers go first.
        order_key: messages of one key in a queue are delivered one at a time and in order; see `laneway.store.turns`.
        skipped_at: when a person has said that this dead letter stays undone; it is kept on record.
    """

    id: str
    service: str
    queue: str
    method: str
    payload: bytes
    headers: Mapping[str, str]
    due_at: float
    created_at: float
    attempts: int = 0
    start_by: float | None = None
    parked_at: float | None = None
    error: str | None = None
    subscription: str | None = None
    skipped_at: float | None = None
    priority: int = NORMAL
    order_key: str | None = None


class Waiting(NamedTuple):
    """A call that waits for its moment."""

    due_at: float
    id: str
    headers: Mapping[str, str] = MappingProxyType({})


def name_in_broker(service: str, queue: str) -> str:
    """`fulfilment.bulk`; a plain application's queue is called what it is called."""
    return f"{service}.{queue}" if service else queue


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """The messages of one queue.

    Attributes:
        due: to be published now.
        waiting: due later: copies that are with the broker, delays and retries, and what waits for its turn.
        parked: dead letters that wait for a person; what was skipped does not.
        oldest_due_at: since when the oldest due one is due.
        oldest_demand_at: since when the oldest due one waits for a worker: it was written, or has become due again.
        oldest_parked_at: when the oldest dead letter was parked.
        oldest_created_at: when the oldest one that is not parked was written.
    """

    service: str
    queue: str
    due: int
    waiting: int
    parked: int
    oldest_due_at: float | None
    oldest_created_at: float | None
    oldest_demand_at: float | None
    oldest_parked_at: float | None


def insert(messages: Sequence[OutboxMessage]) -> Write:
    """Write messages; an id that exists is a `DuplicateKey`."""
    rows = [{**_row(each), "headers": dict(each.headers), "turn": _turn_at_first(each)} for each in messages]
    return Write(_INSERT, rows, expect=len(rows))


async def queues(store: Store) -> list[tuple[str, str]]:
    """Service and queue of all messages that are not parked; costs the same however many there are."""
    found: list[tuple[str, str]] = []
    last = ("", "")
    while rows := await store.fetch(_NEXT_QUEUE, {"last_service": last[0], "last_queue": last[1]}):
        last = (rows[0].service, rows[0].queue)
        found.append(last)
    return found


async def due(store: Store, queue: tuple[str, str], now: float, limit: int) -> list[OutboxMessage]:
    """Messages for a queue of a service whose time has come: by priority, and of one the longest due first."""
    values = {"of_service": queue[0], "of_queue": queue[1], "now": now, "at_most": limit}
    return [OutboxMessage(**row.as_dict()) for row in await store.fetch(_DUE, values)]


async def get(store: Store, id: str) -> OutboxMessage | None:
    """One message, parked or not."""
    rows = await store.fetch(select(*COLUMNS).where(outbox.c.id == id))
    return OutboxMessage(**rows[0].as_dict()) if rows else None


async def held(store: Store, ids: Sequence[str]) -> list[str]:
    """Which of some messages may still be delivered: they wait, are on their way, or are parked."""
    return [row.id for row in await store.fetch(select(outbox.c.id).where(outbox.c.id.in_(ids)))]


async def waiting(store: Store, queue: tuple[str, str], after: Waiting, limit: int) -> list[Waiting]:
    """Calls for a queue that are due later than `after`, the first due first; deliveries of events are none."""
    values = {"of_service": queue[0], "of_queue": queue[1], "after_time": after.due_at, "after_id": after.id}
    return [Waiting(*row) for row in await store.fetch(_WAITING, {**values, "at_most": limit})]


async def counts(store: Store, now: float) -> list[QueueCounts]:
    """The messages of each queue that has any."""
    return [QueueCounts(**row.as_dict()) for row in await store.fetch(_COUNTS, {"now": now})]


def postpone(ids: Sequence[str], until: float) -> Write:
    """Look at these again at `until`: they were published, and are not confirmed yet."""
    return Write(update(outbox).where(outbox.c.id.in_(ids)).values(due_at=until))


def hasten(ids: Sequence[str], now: float) -> Write:
    """Make new messages due that were to be left alone for a moment; what has been tried before keeps its time."""
    fresh = and_(outbox.c.id.in_(ids), outbox.c.attempts == 0, outbox.c.due_at > now, outbox.c.due_at < now + _MOMENT)
    return Write(update(outbox).where(fresh).values(due_at=now))


def hasten_cancelled(id: str, now: float) -> Write:
    """Let a message go now that was to start later: its call is not wanted any more, as who runs it will see."""
    waits = and_(outbox.c.id == id, outbox.c.parked_at.is_(None), outbox.c.due_at > now)
    return Write(update(outbox).where(waits).values(due_at=now))


def confirm(ids: Sequence[str]) -> Write:
    """Delete what consumers have committed. Confirming twice changes nothing."""
    return Write(delete(outbox).where(outbox.c.id.in_(ids)))


def retry(id: str, attempt: int, due_at: float, error: str) -> Write:
    """Attempt `attempt` has failed: try again at `due_at`. Another copy's failure of it changes nothing."""
    statement = update(outbox).where(outbox.c.id == id, outbox.c.parked_at.is_(None), outbox.c.attempts < attempt)
    return Write(statement.values(due_at=due_at, attempts=attempt, error=error))


def park(id: str, attempt: int, error: str, now: float) -> Write:
    """Attempt `attempt` was the last: the message is a dead letter, and waits for a person."""
    statement = update(outbox).where(outbox.c.id == id, outbox.c.parked_at.is_(None))
    return Write(statement.values(parked_at=now, attempts=attempt, error=error))


def _row(message: OutboxMessage) -> dict[str, Any]:
    return {name: getattr(message, name) for name in _NAMES}


def _turn_at_first(message: OutboxMessage) -> int:
    return Turn.FREE if message.order_key is None else Turn.NEW


_MOMENT = 5.0
"""Seconds; a message that is due later than that was postponed for a reason."""

_NAMES = tuple(each.name for each in fields(OutboxMessage))
COLUMNS = tuple(outbox.c[name] for name in _NAMES)
"""What a message is read from: a newer revision may have more."""

_INSERT = outbox.insert()
# Written as it stands: an index of these rows alone serves no parameter.
_OPEN = and_(outbox.c.parked_at.is_(None), outbox.c.turn == literal_column("0"))


def _due_of(priority: int) -> Select[Any]:
    """Each priority has its own range of the index: one that has much that is not due yet costs the others nothing."""
    found = (
        select(*COLUMNS)
        .where(
            _OPEN,
            outbox.c.service == bindparam("of_service"),
            outbox.c.queue == bindparam("of_queue"),
            outbox.c.priority == literal_column(str(priority)),
            outbox.c.due_at <= bindparam("now"),
        )
        .order_by(outbox.c.due_at, outbox.c.id)
        .limit(bindparam("at_most"))
    )
    return select(found.subquery())


_ALL_DUE = union_all(*map(_due_of, PRIORITIES)).subquery()
_DUE = select(_ALL_DUE).order_by(_ALL_DUE.c.priority, _ALL_DUE.c.due_at, _ALL_DUE.c.id).limit(bindparam("at_most"))
_NEXT_QUEUE = (
    select(outbox.c.service, outbox.c.queue)
    .where(
        _OPEN,
        tuple_(outbox.c.service, outbox.c.queue) > tuple_(bindparam("last_service"), bindparam("last_queue")),
    )
    .order_by(outbox.c.service, outbox.c.queue)
    .limit(1)
)
_WAITING = (
    select(outbox.c.due_at, outbox.c.id, outbox.c.headers)
    .where(
        outbox.c.parked_at.is_(None),
        outbox.c.subscription.is_(None),
        outbox.c.service == bindparam("of_service"),
        outbox.c.queue == bindparam("of_queue"),
        tuple_(outbox.c.due_at, outbox.c.id) > tuple_(bindparam("after_time"), bindparam("after_id")),
    )
    .order_by(outbox.c.due_at, outbox.c.id)
    .limit(bindparam("at_most"))
)
_IS_ALIVE = outbox.c.parked_at.is_(None)
_IS_DEAD = and_(outbox.c.parked_at.is_not(None), outbox.c.skipped_at.is_(None))
_IS_DUE = and_(_OPEN, outbox.c.due_at <= bindparam("now", type_=outbox.c.due_at.type))
_COUNTS = (
    select(
        outbox.c.service,
        outbox.c.queue,
        func.sum(case((_IS_DUE, 1), else_=0)).label("due"),
        func.sum(case((and_(_IS_ALIVE, not_(_IS_DUE)), 1), else_=0)).label("waiting"),
        func.sum(case((_IS_DEAD, 1), else_=0)).label("parked"),
        func.min(case((_IS_DUE, outbox.c.due_at))).label("oldest_due_at"),
        func.min(case((_IS_ALIVE, outbox.c.created_at))).label("oldest_created_at"),
        func.min(case((and_(_IS_DUE, outbox.c.attempts == 0), outbox.c.created_at), (_IS_DUE, outbox.c.due_at))).label(
            "oldest_demand_at"
        ),
        func.min(case((_IS_DEAD, outbox.c.parked_at))).label("oldest_parked_at"),
    )
    .group_by(outbox.c.service, outbox.c.queue)
    .order_by(outbox.c.service, outbox.c.queue)
)
