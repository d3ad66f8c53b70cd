"""What is known of an order's payment."""

from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text

from shop.payments.v1.payments_pb2 import Payment

State = Payment.State

payments = Table(
    "payments",
    MetaData(),
    Column("order", Text, primary_key=True),
    Column("state", Integer, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("authorization", Text, nullable=False),
)
