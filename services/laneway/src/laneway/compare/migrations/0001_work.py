"""What was done, and the number that is a row."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "work",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("asked_at", sa.Float, nullable=False),
        sa.Column("done_at", sa.Float, nullable=False),
    )
    op.create_index("work_by_run", "work", ["run"])
    op.create_table(
        "sums",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
