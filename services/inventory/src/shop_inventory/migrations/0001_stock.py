"""Stock, with plenty of everything, and reservations."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    stock = op.create_table(
        "stock",
        sa.Column("product", sa.Text, primary_key=True),
        sa.Column("available", sa.BigInteger, sa.CheckConstraint("available >= 0"), nullable=False),
    )
    op.create_table(
        "reservations",
        sa.Column("order_name", sa.Text, primary_key=True),
        sa.Column("product", sa.Text, primary_key=True),
        sa.Column("quantity", sa.BigInteger, nullable=False),
    )
    wares = ("lamp", "chair", "book")
    op.bulk_insert(stock, [{"product": f"products/{id}", "available": 1_000_000} for id in wares])
