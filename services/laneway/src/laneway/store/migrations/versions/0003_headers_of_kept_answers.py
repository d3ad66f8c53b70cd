"""Kept answers have headers. Code of the revision before neither writes nor reads them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("idempotency", sa.Column("headers", sa.JSON, nullable=True))


def downgrade() -> None:
    op.drop_column("idempotency", "headers")
