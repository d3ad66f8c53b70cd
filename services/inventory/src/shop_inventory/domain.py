"""Stock and reservations. What is on hand is what is available plus what is reserved."""

from sqlalchemy import BigInteger, Column, MetaData, Table, Text

metadata = MetaData()

stock = Table(
    "stock",
    metadata,
    Column("product", Text, primary_key=True),
    Column("available", BigInteger, nullable=False),
)

reservations = Table(
    "reservations",
    metadata,
    Column("order_name", Text, primary_key=True),
    Column("product", Text, primary_key=True),
    Column("quantity", BigInteger, nullable=False),
)
