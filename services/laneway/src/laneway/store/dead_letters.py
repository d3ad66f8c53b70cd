"""Dead letters: messages out of attempts, which wait in the outbox for a person.

A person may redrive them (they run again under the same id, so that what was done is not done twice), skip them (they
stay undone, on record) or drop them. Must not know how people are asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Double, and_, bindparam, case, delete, select, tuple_, update

from laneway.store import turns
from laneway.store.outbox import COLUMNS, OutboxMessage, Turn
from laneway.store.schema import outbox
from laneway.store.store import Store
from laneway.store.transaction import Write


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which dead letters. What is not said does not matter.

    Attributes:
        ids: these.
        queue: of this queue, `<service>.<queue>`.
        error: whose error has this text in it, whatever its case.
        parked_before: that were parked before this moment.
        skipped: those that were skipped, instead of those that wait.
    """

    ids: Sequence[str] = ()
    queue: str | None = None
    error: str | None = None
    parked_before: float | None = None
    skipped: bool = False

    @property
    def is_narrow(self) -> bool:
        """Whether it is less than everything that waits, or everything that was skipped."""
        return bool(self.ids or self.queue or self.error or self.parked_before is not None)

    def conditions(self) -> list[ColumnElement[bool]]:
        """As SQL."""
        skipped: ColumnElement[bool] = outbox.c.skipped_at.is_(None)
        found = [outbox.c.parked_at.is_not(None), ~skipped if self.skipped else skipped]
        if self.ids:
            found.append(outbox.c.id.in_(self.ids))
        if self.queue is not None:
            service, _, queue = self.queue.partition(".")
            found += [outbox.c.service == service, outbox.c.queue == queue]
        if self.error is not None:
            found.append(outbox.c.error.icontains(self.error, autoescape=True))
        if self.parked_before is not None:
            found.append(outbox.c.parked_at < self.parked_before)
        return found


async def find(
    store: Store, selection: Selection, limit: int, after: OutboxMessage | None = None
) -> list[OutboxMessage]:
    """Dead letters, those first that were parked first; `after` one of them, to go on."""
    query = select(*COLUMNS).where(*selection.conditions())
    if after is not None:
        query = query.where(tuple_(outbox.c.parked_at, outbox.c.id) > tuple_(after.parked_at, after.id))
    rows = await store.fetch(query.order_by(outbox.c.parked_at, outbox.c.id).limit(limit))
    return [OutboxMessage(**row.as_dict()) for row in rows]


def redrive(due: Mapping[str, float]) -> Write:
    """Give dead letters all their attempts again, each from a moment on; nothing is too late to start any more."""
    return Write(_REDRIVE, [{"of_id": id, "at": at} for id, at in due.items()])


def skip(messages: Sequence[OutboxMessage], now: float) -> list[Write]:
    """Leave dead letters undone, on record; what waited behind them goes on."""
    skipped = update(outbox).where(outbox.c.id.in_(_ids(messages)), _WAITS)
    gone = case((outbox.c.order_key.is_not(None), int(Turn.BEHIND)), else_=outbox.c.turn)
    return [Write(skipped.values(skipped_at=now, turn=gone)), *_pass_on(messages)]


def drop(messages: Sequence[OutboxMessage]) -> list[Write]:
    """Forget dead letters; what waited behind them goes on."""
    forgotten = delete(outbox).where(outbox.c.id.in_(_ids(messages)), outbox.c.parked_at.is_not(None))
    return [Write(forgotten), *_pass_on(messages)]


def _ids(messages: Sequence[OutboxMessage]) -> list[str]:
    return [message.id for message in messages]


def _pass_on(messages: Sequence[OutboxMessage]) -> list[Write]:
    return turns.pass_on([key for message in messages for key in turns.key_of(message)])


_WAITS = outbox.c.parked_at.is_not(None) & outbox.c.skipped_at.is_(None)
_COMES_BACK = and_(outbox.c.order_key.is_not(None), outbox.c.skipped_at.is_not(None))
_REDRIVE = (
    update(outbox)
    .where(outbox.c.id == bindparam("of_id"), outbox.c.parked_at.is_not(None))
    .values(
        parked_at=None,
        skipped_at=None,
        start_by=None,
        attempts=0,
        due_at=bindparam("at", type_=Double()),
        turn=case((_COMES_BACK, int(Turn.NEW)), else_=outbox.c.turn),
    )
)
