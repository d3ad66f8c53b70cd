"""The first tables: events, outbox, subscriptions, inbox, idempotency, operations, leases."""

import sqlalchemy as sa
from alembic import op

from laneway.store.schema import POSITION, TRANSACTION

revision = "0001"
down_revision = None


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    _events(postgresql=postgresql)
    _outbox()
    op.create_table(
        "subscriptions",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("from_start", sa.Boolean, nullable=False),
        sa.Column("cursor_tx", sa.BigInteger, nullable=False),
        sa.Column("cursor_position", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_table(
        "inbox",
        sa.Column("message_id", sa.Text, primary_key=True),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("processed_at", sa.Double, nullable=False),
    )
    _idempotency()
    op.create_table(
        "operations",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reply_type", sa.Text),
        sa.Column("reply", sa.LargeBinary),
        sa.Column("error", sa.LargeBinary),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("start_by", sa.Double),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
    )


def downgrade() -> None:
    for table in ("leases", "operations", "idempotency", "inbox", "subscriptions", "outbox", "events"):
        op.drop_table(table)


def _events(*, postgresql: bool) -> None:
    op.create_table(
        "events",
        sa.Column("position", POSITION, primary_key=True, autoincrement=True),
        sa.Column(
            "tx",
            TRANSACTION,
            nullable=False,
            server_default=sa.text("pg_current_xact_id()" if postgresql else "0"),
        ),
        sa.Column("event_id", sa.Text, nullable=False, unique=True),
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("recorded_at", sa.Double, nullable=False),
        sa.UniqueConstraint("stream", "version"),
        sqlite_autoincrement=True,
    )
    op.create_index("events_by_type", "events", ["type", "tx", "position"])
    if postgresql:
        op.create_index("events_by_order", "events", ["tx", "position"])


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("headers", sa.JSON, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("start_by", sa.Double),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("parked_at", sa.Double),
        sa.Column("error", sa.Text),
        sa.Column("subscription", sa.Text),
    )
    unparked = sa.text("parked_at IS NULL")
    op.create_index("outbox_due", "outbox", ["due_at"], sqlite_where=unparked, postgresql_where=unparked)


def _idempotency() -> None:
    op.create_table(
        "idempotency",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("principal", sa.Text, primary_key=True),
        sa.Column("method", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("lease_until", sa.Double),
        sa.Column("reply_type", sa.Text),
        sa.Column("reply", sa.LargeBinary),
        sa.Column("error", sa.LargeBinary),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("completed_at", sa.Double),
        sa.Column("expires_at", sa.Double, nullable=False),
    )
    op.create_index("ix_idempotency_expires_at", "idempotency", ["expires_at"])
