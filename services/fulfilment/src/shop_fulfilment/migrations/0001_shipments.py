"""Shipments."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "shipments",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("order", sa.Text, nullable=False),
        sa.Column("tracking", sa.Text, nullable=False),
    )
