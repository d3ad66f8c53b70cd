"""An order: what may happen to it, and what it is after that."""

from collections import Counter
from collections.abc import Iterator, Sequence

from sqlalchemy import BigInteger, Column, Float, Integer, MetaData, Table, Text

from laneway.domain import Add, Aggregate, Change, Projection, Recorded, Upcaster, Upcasters, applies, projects
from laneway.errors import FailedPrecondition
from shop.orders.v1.events_pb2 import OrderCancelled, OrderClosed, OrderLine, OrderPlaced
from shop.orders.v1.orders_pb2 import Order as OrderMessage
from shop.orders.v1.orders_pb2 import PlaceOrderRequest

State = OrderMessage.State

orders = Table(
    "orders",
    MetaData(),
    Column("name", Text, primary_key=True),
    Column("state", Integer, nullable=False),
    Column("total_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("placed_at", Float, nullable=False),
)

bestsellers = Table(
    "bestsellers",
    MetaData(),
    Column("generation", Integer, primary_key=True),
    Column("product", Text, primary_key=True),
    Column("units", BigInteger, nullable=False),
    Column("orders", BigInteger, nullable=False),
)


class Order(Aggregate):
    """`id` is the last part of its name."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.message = OrderMessage(name=f"orders/{id}")

    @property
    def state(self) -> OrderMessage.State:
        return self.message.state

    def place(self, request: PlaceOrderRequest, lines: Sequence[OrderLine], currency: str) -> None:
        if self.exists:
            return
        total = sum(line.quantity * line.price_minor for line in lines)
        placed = OrderPlaced(order=self.message.name, lines=lines, total_minor=total, currency=currency)
        placed.email, placed.card_token = request.email, request.card_token
        self.record(placed)

    def cancel(self) -> None:
        if self.state == State.CANCELLED:
            return
        if self.state != State.PLACED:
            raise FailedPrecondition(
                f"{self.message.name} is {State.Name(self.state)}; only a placed order can be cancelled.",
                reason="ORDER_CLOSED",
            )
        self.record(OrderCancelled(order=self.message.name))

    def close(self, *, shipped: bool, reason: str = "") -> None:
        if self.state == State.PLACED:
            outcome = OrderClosed.SHIPPED if shipped else OrderClosed.REJECTED
            self.record(OrderClosed(order=self.message.name, outcome=outcome, reason=reason))

    @applies(OrderPlaced)
    def _placed(self, event: OrderPlaced) -> None:
        self.message.state = State.PLACED
        self.message.lines.extend(event.lines)
        self.message.total_minor, self.message.currency = event.total_minor, event.currency
        self.message.email = event.email

    @applies(OrderCancelled)
    def _cancelled(self, _: OrderCancelled) -> None:
        self.message.state = State.CANCELLED

    @applies(OrderClosed)
    def _closed(self, event: OrderClosed) -> None:
        self.message.state = State.SHIPPED if event.outcome == OrderClosed.SHIPPED else State.REJECTED
        if event.reason:
            self.message.reason = event.reason


class Bestsellers(Projection):
    """What is ordered most: a view, because orders that counted in one row would wait for each other."""

    tables = (bestsellers,)

    @projects(OrderPlaced)
    def _placed(self, event: Recorded[OrderPlaced]) -> Iterator[Change]:
        units: Counter[str] = Counter()
        for line in event.message.lines:
            units[line.product] += line.quantity
        for product, ordered in units.items():
            yield Add(bestsellers, {"product": product}, {"units": ordered, "orders": 1})


def _with_outcome(event: OrderClosed) -> OrderClosed:
    event.outcome = OrderClosed.SHIPPED if event.shipped else OrderClosed.REJECTED
    event.ClearField("shipped")
    return event


UPCASTERS = Upcasters([Upcaster(OrderClosed, 1, _with_outcome)])
