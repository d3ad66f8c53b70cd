"""The saga of an order, and its shipments."""

from sqlalchemy import Column, MetaData, Table, Text

from laneway.domain import Action, Saga, Step, applies
from shop.fulfilment.v1.events_pb2 import FulfilmentBegun, OrderRejected, OrderShipped
from shop.orders.v1.events_pb2 import OrderPlaced

PAYMENT_PATIENCE = 900.0
"""Seconds to wait for a payment's answer."""

shipments = Table(
    "shipments",
    MetaData(),
    Column("name", Text, primary_key=True),
    Column("order", Text, nullable=False),
    Column("tracking", Text, nullable=False),
)


class Fulfilment(Saga):
    """The saga of one order; its id is the order's name."""

    steps = (
        Step("reserve", compensation="release"),
        Step("authorize", compensation="void", answer_within=PAYMENT_PATIENCE),
        Step("ship"),
        Step("capture", compensation="refund"),
    )

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.order = FulfilmentBegun()
        self._rejected = False

    def begin(self, placed: OrderPlaced) -> tuple[Action, ...]:
        """Remember what later steps need, and start.

        Cancelled before it could: stock may have been reserved by a run that met the cancellation when it committed.
        Reserving is done before the saga's commit, so it is done again, and undone.
        """
        if not self.order.order:
            items = [FulfilmentBegun.Item(product=line.product, quantity=line.quantity) for line in placed.lines]
            begun = FulfilmentBegun(order=placed.order, email=placed.email, card_token=placed.card_token, items=items)
            begun.total_minor, begun.currency = placed.total_minor, placed.currency
            self.record(begun)
        if self.compensating and self.correlation is None:
            return (self.again("reserve"),)
        return self.start(placed.order)

    def tell_shipped(self, tracking: str) -> None:
        """Tell the others that it is on its way."""
        self.record(OrderShipped(order=self.id, email=self.order.email, tracking=tracking))

    def tell_rejected(self) -> None:
        """Tell the others, once, that it will not come; of an order that was cancelled before it was heard of, then."""
        if self.reason and self.order.order and not self._rejected:
            self.record(OrderRejected(order=self.id, email=self.order.email, reason=self.reason))

    @applies(FulfilmentBegun)
    def _begun(self, event: FulfilmentBegun) -> None:
        self.order = event

    @applies(OrderShipped)
    def _was_shipped(self, _: OrderShipped) -> None:
        """Told; the saga's own step says it too."""

    @applies(OrderRejected)
    def _was_rejected(self, _: OrderRejected) -> None:
        self._rejected = True
