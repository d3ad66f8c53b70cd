"""How far each schedule has ticked. Moving it and writing its messages is one commit, and the compare and set lets one
of two replicas win.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects.postgresql import insert  # its ON CONFLICT is compiled for SQLite as well

from laneway.store.schema import schedules
from laneway.store.store import Store
from laneway.store.transaction import VersionConflict, Write


@dataclass(frozen=True, slots=True)
class Ticked:
    """Up to when the ticks of a method's schedule have been obeyed, under which expression."""

    method: str
    expression: str
    ticked_at: float


async def ticked(store: Store, methods: Sequence[str]) -> dict[str, Ticked]:
    """How far the schedules of these methods are; one that has never begun is not in it."""
    rows = await store.fetch(select(schedules).where(schedules.c.method.in_(methods)))
    return {row.method: Ticked(**row.as_dict()) for row in rows}


def begin(method: str, expression: str, now: float) -> Write:
    """From now on the schedule ticks, or ticks by another expression. One that has begun so stays where it is."""
    statement = insert(schedules).values(method=method, expression=expression, ticked_at=now)
    new = statement.excluded
    return Write(
        statement.on_conflict_do_update(
            index_elements=["method"],
            set_={"expression": new.expression, "ticked_at": new.ticked_at},
            where=schedules.c.expression != new.expression,
        )
    )


def advance(old: Ticked, to: float) -> Write:
    """Move a schedule, if nobody else has; otherwise the commit is a `VersionConflict`."""
    return Write(
        _ADVANCE,
        [{"of_method": old.method, "of_expression": old.expression, "old": old.ticked_at, "ticked_at": to}],
        expect=1,
        otherwise=VersionConflict(f"The schedule of {old.method} is not at {old.ticked_at:.0f} any more."),
    )


_ADVANCE = update(schedules).where(
    schedules.c.method == bindparam("of_method"),
    schedules.c.expression == bindparam("of_expression"),
    schedules.c.ticked_at == bindparam("old"),
)
