"""A column that only the next version writes: what runs now works with it and without it."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("orders", sa.Column("remark", sa.Text))
