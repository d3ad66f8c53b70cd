"""In which order the event log may be read without missing an event: the SQL that differs by database.

SQLite has one writer, so positions are committed in order. On PostgreSQL a transaction may take a position and
commit after one that took a later position; there the order is (transaction id, position), and reading stops at the
oldest transaction that still runs. Long transactions anywhere on the instance therefore hold readers back.
"""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Integer
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement, GenericFunction

from laneway.store.schema import Xid8

_PG_HORIZON = "pg_snapshot_xmin(pg_current_snapshot())"


class horizon(FunctionElement[int]):  # noqa: N801 (written like the other SQL functions)
    """The oldest transaction that still runs; every earlier one has ended. PostgreSQL only."""

    type = Xid8()
    inherit_cache = True


class end_tx(FunctionElement[int]):  # noqa: N801
    """The transaction part of a cursor behind which every future event lies."""

    type = BigInteger()
    inherit_cache = True


class end_position(FunctionElement[int]):  # noqa: N801
    """The position part of that cursor."""

    type = BigInteger()
    inherit_cache = True


class stream_lock(GenericFunction[int]):  # noqa: N801
    """Wait until no other transaction appends to a stream at its end; held to the end of the transaction."""

    type = Integer()
    inherit_cache = True
    name = "laneway_stream_lock"

    def __init__(self, stream: ColumnElement[str]) -> None:
        super().__init__(stream)


@compiles(horizon)
def _horizon(*_: object, **__: object) -> str:
    return _PG_HORIZON


@compiles(end_tx, "postgresql")
def _end_tx(*_: object, **__: object) -> str:
    return f"CAST(CAST({_PG_HORIZON} AS TEXT) AS BIGINT)"


@compiles(end_tx, "sqlite")
def _end_tx_sqlite(*_: object, **__: object) -> str:
    return "0"


@compiles(end_position, "postgresql")
def _end_position(*_: object, **__: object) -> str:
    return "0"


@compiles(end_position, "sqlite")
def _end_position_sqlite(*_: object, **__: object) -> str:
    return "(SELECT coalesce(max(position), 0) FROM events)"


@compiles(stream_lock, "postgresql")
def _stream_lock(element: stream_lock, compiler: SQLCompiler, **kw: Any) -> str:
    return f"pg_advisory_xact_lock(hashtextextended({compiler.process(element.clauses, **kw)}, 0))"


@compiles(stream_lock, "sqlite")
def _stream_lock_sqlite(element: stream_lock, compiler: SQLCompiler, **kw: Any) -> str:
    return compiler.process(element.clauses, **kw)  # the writer has the whole database to itself
