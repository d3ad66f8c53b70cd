"""The outbox is read queue by queue: each has a window of its own."""

from alembic import op
from sqlalchemy import text

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """The older index stays for a version: code of the revision before reads by it."""
    open_only = text("parked_at IS NULL")
    op.create_index(
        "outbox_due_by_queue",
        "outbox",
        ["service", "queue", "due_at", "id"],
        sqlite_where=open_only,
        postgresql_where=open_only,
    )


def downgrade() -> None:
    op.drop_index("outbox_due_by_queue", "outbox")
