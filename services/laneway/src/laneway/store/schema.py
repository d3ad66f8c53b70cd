"""The tables that Laneway keeps in each service's database.

Times are seconds since the epoch, messages are serialized protobuf, ids are text. This module describes what the
newest revision in `migrations/versions` has made; it creates nothing, and must not know who reads the tables.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import UserDefinedType


class Xid8(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id, an `int` in Python."""

    cache_ok = True
    render_bind_cast = True

    def get_col_spec(self, **_: Any) -> str:
        return "XID8"

    def bind_processor(self, dialect: Dialect) -> Any:  # noqa: ARG002 (SQLAlchemy's signature)
        return lambda value: None if value is None else str(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:  # noqa: ARG002 (SQLAlchemy's signature)
        return lambda value: None if value is None else int(value)


TRANSACTION = BigInteger().with_variant(Xid8(), "postgresql")
POSITION = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData()


def _index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


events = Table(
    "events",
    metadata,
    Column("position", POSITION, primary_key=True, autoincrement=True),
    # The migration gives it the default pg_current_xact_id() on PostgreSQL and 0 on SQLite.
    Column("tx", TRANSACTION, nullable=False, server_default=text("0")),
    Column("event_id", Text, nullable=False, unique=True),
    Column("stream", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("type", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("recorded_at", Double, nullable=False),
    UniqueConstraint("stream", "version"),
    Index("events_by_order", "tx", "position").ddl_if(dialect="postgresql"),
    Index("events_by_type", "type", "tx", "position"),
    sqlite_autoincrement=True,
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Text, primary_key=True),
    Column("service", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("headers", JSON, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("start_by", Double),
    Column("created_at", Double, nullable=False),
    Column("parked_at", Double),
    Column("error", Text),
    Column("subscription", Text),
    Column("skipped_at", Double),
    Column("priority", SmallInteger, nullable=False, server_default=text("3")),
    Column("order_key", Text),
    # Whose turn it is among the messages of a key; see `laneway.store.turns`.
    Column("turn", SmallInteger, nullable=False, server_default=text("0")),
    # The order of the messages of a key: the migration gives it a sequence on PostgreSQL and a trigger on SQLite.
    Column("ordinal", BigInteger, nullable=False, server_default=text("0")),
    # Code of the revision before reads by this one; it goes when nothing runs that does.
    _index("outbox_due_by_queue", "service", "queue", "due_at", "id", where="parked_at IS NULL"),
    _index(
        "outbox_due_by_priority", "service", "queue", "priority", "due_at", "id", where="parked_at IS NULL AND turn = 0"
    ),
    _index("outbox_parked", "parked_at", "id", where="parked_at IS NOT NULL"),
    _index("outbox_new_of_keys", "ordinal", where="turn = 1"),
    _index("outbox_by_key", "service", "queue", "order_key", "ordinal", where="order_key IS NOT NULL"),
    # The guarantee itself: of the messages of a key one has its turn.
    _index("outbox_turn", "service", "queue", "order_key", where="order_key IS NOT NULL AND turn = 0", unique=True),
)

schedules = Table(
    "schedules",
    metadata,
    Column("method", Text, primary_key=True),
    Column("expression", Text, nullable=False),
    Column("ticked_at", Double, nullable=False),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("name", Text, primary_key=True),
    Column("service", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("from_start", Boolean, nullable=False),
    Column("cursor_tx", BigInteger, nullable=False),
    Column("cursor_position", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("order_by", Text),
)

inbox = Table(
    "inbox",
    metadata,
    Column("message_id", Text, primary_key=True),
    Column("method", Text, nullable=False),
    Column("processed_at", Double, nullable=False),
    # Whose outbox it came from, and since when it is known to be gone from there.
    Column("producer", Text),
    Column("confirmed_at", Double),
    _index(
        "inbox_unconfirmed",
        "producer",
        "processed_at",
        "message_id",
        where="confirmed_at IS NULL AND producer IS NOT NULL",
    ),
    _index("inbox_confirmed", "confirmed_at", where="confirmed_at IS NOT NULL"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("principal", Text, primary_key=True),
    Column("method", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("lease_until", Double),
    Column("reply_type", Text),
    Column("reply", LargeBinary),
    Column("error", LargeBinary),
    Column("created_at", Double, nullable=False),
    Column("completed_at", Double),
    Column("expires_at", Double, nullable=False, index=True),
    Column("headers", JSON(none_as_null=True)),
)

OPERATION_IS_OVER = "state <> 'pending' OR method = ''"
"""It has ended; or it is only a wish to cancel something that has not been heard of."""

operations = Table(
    "operations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("method", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reply_type", Text),
    Column("reply", LargeBinary),
    Column("error", LargeBinary),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("start_by", Double),
    # Who started it: NULL is nobody, the empty text anonymous.
    Column("tenant", Text, server_default=text("''")),
    Column("principal", Text, server_default=text("''")),
    Column("progress", LargeBinary),
    Column("cancelled_at", Double),
    Index("operations_by_caller", "tenant", "principal", "created_at", "id"),
    _index("operations_over", "updated_at", where=OPERATION_IS_OVER),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("expires_at", Double, nullable=False),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("type", Text, nullable=False),
    Column("schema", Integer, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("taken_at", Double, nullable=False),
)

projections = Table(
    "projections",
    metadata,
    Column("name", Text, primary_key=True),
    Column("generation", Integer, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("cursor_tx", BigInteger, nullable=False),
    Column("cursor_position", BigInteger, nullable=False),
    Column("applied", BigInteger, nullable=False),
    Column("begun_at", Double, nullable=False),
    Column("live_at", Double),
)

projection_holds = Table(
    "projection_holds",
    metadata,
    Column("name", Text, primary_key=True),
    Column("generation", Integer, primary_key=True),
    Column("stream", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("since", Double, nullable=False),
)

SAGA_IS_OPEN = "ended_version IS NULL OR version > ended_version"
"""It has not ended, or has been told something since."""

sagas = Table(
    "sagas",
    metadata,
    Column("generation", Integer, primary_key=True),
    Column("stream", Text, primary_key=True),
    Column("correlation", Text),
    Column("started_at", Double),
    Column("step", Text),
    Column("told_at", Double),
    Column("version", Integer),
    Column("reason", Text),
    Column("outcome", Text),
    Column("ended_at", Double),
    Column("ended_version", Integer),
    Index("sagas_open", "told_at", "stream", sqlite_where=text(SAGA_IS_OPEN), postgresql_where=text(SAGA_IS_OPEN)),
)
