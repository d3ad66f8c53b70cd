"""What a write expects, checked by PostgreSQL itself: who sends the COMMIT with the writes sees no numbers before it.

A statement that must change so many rows is wrapped in one that counts them, and fails when there are others. Must not
know connections.
"""

import re

import psycopg
from sqlalchemy import Delete, Insert, Update

from laneway.store.compile import Prepared
from laneway.store.engine import Step

_CHECKED = (
    "WITH changed AS ({statement} RETURNING 1) "
    "SELECT CASE WHEN count(*) <> {expect} THEN CAST('laneway:' || CAST(%s AS text) || ':' || count(*) AS integer) END "
    "FROM changed"
)
"""There is no other expression that fails on demand: a text that is no number."""

_MISSED = re.compile(r'"laneway:(\d+):(\d+)"')


def checked(step: Step, number: int) -> Prepared | None:
    """The statement of a commit's step, of that number, as one that fails when its expectation is missed; None if it
    cannot be told by PostgreSQL alone."""
    prepared, write = step
    if write.expect is None:
        return prepared
    each = write.expect if len(prepared.parameters) == 1 else 1
    if not _can_be_wrapped(step):
        return None
    sql = _CHECKED.format(statement=prepared.sql, expect=each)
    return Prepared(sql, [(*parameters, number) for parameters in prepared.parameters], prepared.shape)


def missed(error: psycopg.Error) -> tuple[int, int] | None:
    """The number of the step that missed its expectation, and how many rows a statement of it changed."""
    found = _MISSED.search(str(error)) if isinstance(error, psycopg.errors.InvalidTextRepresentation) else None
    return None if found is None else (int(found[1]), int(found[2]))


def one_row_each(step: Step) -> bool:
    """Whether it is an insert of which each row is one that is inserted or not."""
    prepared, write = step
    statement, rows = write.statement, len(prepared.parameters)
    return isinstance(statement, Insert) and statement.select is None and write.expect in (None, rows)


def _can_be_wrapped(step: Step) -> bool:
    prepared, write = step
    statement = write.statement
    if not isinstance(statement, Insert | Update | Delete) or statement.returning_column_descriptions:
        return False
    return prepared.sql[:6] in ("INSERT", "UPDATE", "DELETE") and (len(prepared.parameters) == 1 or one_row_each(step))
