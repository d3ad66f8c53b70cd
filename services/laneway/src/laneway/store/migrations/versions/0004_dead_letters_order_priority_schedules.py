"""Of outgoing messages: skipped dead letters, priorities, order by key. Of methods: schedules.

Code of the revision before writes none of it, and what it writes is of normal priority and no key.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_PARTIAL = (
    ("outbox_due_by_priority", ["service", "queue", "priority", "due_at", "id"], "parked_at IS NULL AND turn = 0"),
    ("outbox_parked", ["parked_at", "id"], "parked_at IS NOT NULL"),
    ("outbox_new_of_keys", ["ordinal"], "turn = 1"),
    ("outbox_by_key", ["service", "queue", "order_key", "ordinal"], "order_key IS NOT NULL"),
    ("outbox_turn", ["service", "queue", "order_key"], "order_key IS NOT NULL AND turn = 0"),
)

_TRIGGER = """
CREATE TRIGGER outbox_ordinal AFTER INSERT ON outbox WHEN NEW.order_key IS NOT NULL BEGIN
  UPDATE outbox SET ordinal = 1 + (
    SELECT coalesce(max(ordinal), 0) FROM outbox
    WHERE service = NEW.service AND queue = NEW.queue AND order_key = NEW.order_key
  ) WHERE id = NEW.id;
END
"""


def upgrade() -> None:
    """The index that the revision before reads by stays for a version; that of the one before it goes."""
    op.add_column("outbox", sa.Column("skipped_at", sa.Double))
    op.add_column("outbox", sa.Column("priority", sa.SmallInteger, nullable=False, server_default=sa.text("3")))
    op.add_column("outbox", sa.Column("order_key", sa.Text))
    op.add_column("outbox", sa.Column("turn", sa.SmallInteger, nullable=False, server_default=sa.text("0")))
    op.add_column("outbox", sa.Column("ordinal", sa.BigInteger, nullable=False, server_default=sa.text("0")))
    op.add_column("subscriptions", sa.Column("order_by", sa.Text))
    _count_ordinals()
    for name, columns, where in _PARTIAL:
        unique, only = name == "outbox_turn", sa.text(where)
        op.create_index(name, "outbox", columns, unique=unique, sqlite_where=only, postgresql_where=only)
    op.drop_index("outbox_due", "outbox")
    op.create_table(
        "schedules",
        sa.Column("method", sa.Text, primary_key=True),
        sa.Column("expression", sa.Text, nullable=False),
        sa.Column("ticked_at", sa.Double, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("schedules")
    open_only = sa.text("parked_at IS NULL")
    op.create_index("outbox_due", "outbox", ["due_at"], sqlite_where=open_only, postgresql_where=open_only)
    for name, _, _ in reversed(_PARTIAL):
        op.drop_index(name, "outbox")
    if _on_postgresql():
        op.alter_column("outbox", "ordinal", server_default=None)
        op.execute("DROP SEQUENCE outbox_ordinal")
    else:
        op.execute("DROP TRIGGER outbox_ordinal")
    op.drop_column("subscriptions", "order_by")
    for column in ("ordinal", "turn", "order_key", "priority", "skipped_at"):
        op.drop_column("outbox", column)


def _count_ordinals() -> None:
    if _on_postgresql():
        op.execute("CREATE SEQUENCE outbox_ordinal OWNED BY outbox.ordinal")
        op.execute("ALTER TABLE outbox ALTER COLUMN ordinal SET DEFAULT nextval('outbox_ordinal')")
    else:
        op.execute(_TRIGGER)


def _on_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"
