"""Turns: of the outgoing messages of a key, one may be published at a time, in the order in which they were committed.

A message of a key is written as `NEW`. The relay gives the first of a key its turn (`FREE`) and puts the others
`BEHIND`, so that a backlog is looked at once and not in every round. Whoever takes a message away passes the turn on.
A unique index says that a key has one message whose turn it is; a parked one keeps it until it is skipped. Committing
processes do not decide: two that commit at once would wait for each other.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, FromClause, and_, bindparam, exists, func, literal_column, select, update

from laneway.store.outbox import OutboxMessage, Turn
from laneway.store.schema import outbox
from laneway.store.store import Store
from laneway.store.transaction import Write


class Key(NamedTuple):
    """A key of a queue."""

    service: str
    queue: str
    order_key: str


class Newcomer(NamedTuple):
    """A message that nobody has looked at."""

    id: str
    key: Key


async def newcomers(store: Store, limit: int) -> list[Newcomer]:
    """Messages of keys that were written since the last look, the first committed first."""
    rows = await store.fetch(_NEWCOMERS, {"at_most": limit})
    return [Newcomer(row.id, Key(row.service, row.queue, row.order_key)) for row in rows]


def place(found: Sequence[Newcomer]) -> list[Write]:
    """Give those their turns whose keys have none in flight, and let the others wait."""
    waits = update(outbox).where(outbox.c.id.in_([each.id for each in found]), outbox.c.turn == int(Turn.NEW))
    return [*pass_on([each.key for each in found]), Write(waits.values(turn=int(Turn.BEHIND)))]


def pass_on(keys: Sequence[Key]) -> list[Write]:
    """Give the first that waits of each key its turn, unless another of the key has it."""
    rows = [{"of_service": key.service, "of_queue": key.queue, "of_key": key.order_key} for key in sorted(set(keys))]
    return [Write(_PASS_ON, rows)] if rows else []


async def keys_of(store: Store, ids: Sequence[str]) -> list[Key]:
    """The keys of some messages; most have none."""
    named = select(*_KEY).where(outbox.c.id.in_(ids), outbox.c.order_key.is_not(None)).distinct()
    return [Key(*row) for row in await store.fetch(named)]


def key_of(message: OutboxMessage) -> list[Key]:
    """The key of a message, if it has one."""
    return [] if message.order_key is None else [Key(message.service, message.queue, message.order_key)]


async def forgotten(store: Store, limit: int) -> list[Key]:
    """Keys of which a message waits and none has its turn: somebody died before passing it on."""
    return [Key(*row) for row in await store.fetch(_FORGOTTEN, {"at_most": limit})]


async def behind(store: Store, key: Key) -> int:
    """How many messages wait for the one of their key that has its turn."""
    values = {"of_service": key.service, "of_queue": key.queue, "of_key": key.order_key}
    [row] = await store.fetch(_BEHIND, values)
    return int(row[0])


_KEY = (outbox.c.service, outbox.c.queue, outbox.c.order_key)
_NEWCOMERS = (
    select(outbox.c.id, *_KEY)
    .where(outbox.c.turn == literal_column("1"), outbox.c.order_key.is_not(None))
    .order_by(outbox.c.ordinal, outbox.c.id)
    .limit(bindparam("at_most"))
)


def _of_key(table: FromClause) -> ColumnElement[bool]:
    return and_(
        table.c.service == bindparam("of_service"),
        table.c.queue == bindparam("of_queue"),
        table.c.order_key == bindparam("of_key"),
    )


def _waits(table: FromClause) -> ColumnElement[bool]:
    return and_(table.c.turn != literal_column("0"), table.c.skipped_at.is_(None))


_waiting, _head = outbox.alias("waiting"), outbox.alias("head")
_FIRST = (
    select(_waiting.c.id)
    .where(_of_key(_waiting), _waits(_waiting))
    .order_by(_waiting.c.ordinal, _waiting.c.id)
    .limit(1)
    .scalar_subquery()
)
_PASS_ON = (
    update(outbox)
    .where(outbox.c.id == _FIRST, ~exists().where(_of_key(_head), _head.c.turn == literal_column("0")))
    .values(turn=int(Turn.FREE))
)
_BEHIND = select(func.count()).select_from(_waiting).where(_of_key(_waiting), _waits(_waiting))
_FORGOTTEN = (
    select(_waiting.c.service, _waiting.c.queue, _waiting.c.order_key)
    .where(
        _waiting.c.order_key.is_not(None),
        _waits(_waiting),
        ~exists().where(
            _head.c.service == _waiting.c.service,
            _head.c.queue == _waiting.c.queue,
            _head.c.order_key == _waiting.c.order_key,
            _head.c.turn == literal_column("0"),
        ),
    )
    .distinct()
    .limit(bindparam("at_most"))
)
