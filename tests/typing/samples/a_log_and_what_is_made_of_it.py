"""Upcasters, projections and reading the log: what mypy accepts, and what it must not."""

from collections.abc import Iterator

from sqlalchemy import Column, Integer, MetaData, Table, Text

from laneway.call import Call
from laneway.domain import Add, Change, Projection, Recorded, Upcaster, Upcasters, projects
from laneway.store.events import START
from shop.orders.v1.events_pb2 import OrderClosed, OrderPlaced
from shop_orders.domain import Order

lines = Table(
    "lines",
    MetaData(),
    Column("generation", Integer, primary_key=True),
    Column("product", Text, primary_key=True),
    Column("units", Integer, nullable=False),
)


class Lines(Projection):
    tables = (lines,)

    @projects(OrderPlaced)
    def _placed(self, event: Recorded[OrderPlaced]) -> Iterator[Change]:
        for line in event.message.lines:
            yield Add(lines, {"product": line.product}, {"units": line.quantity})

    @projects(OrderClosed)  # error: arg-type
    def _closed(self, event: Recorded[OrderPlaced]) -> Iterator[Change]:
        yield Add(lines, {"product": "none"}, {"units": 0})

    @projects(OrderPlaced)  # error: arg-type
    def _nothing(self, event: Recorded[OrderPlaced]) -> int:
        return 0


def _shipped(event: OrderClosed) -> OrderClosed:
    return OrderClosed(order=event.order, outcome=OrderClosed.SHIPPED)


KNOWN = Upcasters([Upcaster(OrderClosed, 1, _shipped)])
WRONG = Upcaster(OrderPlaced, 1, _shipped)  # error: arg-type


async def reads(call: Call) -> int:
    order: Order = await call.load(Order, "7", version=1)
    page = await call.log.after(START, [OrderPlaced])
    total: int = sum(event.message.total_minor for event in page.events)
    print(page.events[0].message.outcome)  # error: attr-defined
    return total + order.version
