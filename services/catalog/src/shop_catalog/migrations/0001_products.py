"""Products, with something to sell from the first day."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    products = op.create_table(
        "products",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("price_minor", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("etag", sa.Text, nullable=False),
    )
    wares = [("lamp", "A lamp", 4900), ("chair", "A chair", 12900), ("book", "A book", 1990)]
    op.bulk_insert(
        products,
        [
            {"name": f"products/{id}", "title": title, "price_minor": price, "currency": "EUR", "etag": "first"}
            for id, title, price in wares
        ],
    )
