"""The inbox says whose a message was, and since when its producer cannot deliver it any more.

Of what code of the revision before records nobody knows the producer: it is kept until it comes again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("inbox", sa.Column("producer", sa.Text))
    op.add_column("inbox", sa.Column("confirmed_at", sa.Double))
    waits = sa.text("confirmed_at IS NULL AND producer IS NOT NULL")
    columns = ["producer", "processed_at", "message_id"]
    op.create_index("inbox_unconfirmed", "inbox", columns, sqlite_where=waits, postgresql_where=waits)
    known = sa.text("confirmed_at IS NOT NULL")
    op.create_index("inbox_confirmed", "inbox", ["confirmed_at"], sqlite_where=known, postgresql_where=known)


def downgrade() -> None:
    op.drop_index("inbox_confirmed", "inbox")
    op.drop_index("inbox_unconfirmed", "inbox")
    for name in ("confirmed_at", "producer"):
        op.drop_column("inbox", name)
