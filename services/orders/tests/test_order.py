import pytest

from laneway.domain import Add, Recorded
from laneway.errors import FailedPrecondition
from shop.orders.v1.events_pb2 import OrderCancelled, OrderLine, OrderPlaced
from shop.orders.v1.orders_pb2 import PlaceOrderRequest
from shop_orders.domain import Bestsellers, Order, State


@pytest.fixture
def placed() -> Order:
    order = Order("1")
    lines = [OrderLine(product="products/lamp", quantity=2, price_minor=500)]
    order.place(PlaceOrderRequest(email="a@b.example", card_token="visa"), lines, "EUR")
    return order


def test_an_order_is_placed_with_its_total(placed: Order) -> None:
    [event] = placed.collect()[1]
    assert isinstance(event, OrderPlaced)
    assert (event.order, event.total_minor, event.currency) == ("orders/1", 1000, "EUR")
    assert placed.state == State.PLACED


def test_placing_twice_records_once(placed: Order) -> None:
    placed.place(PlaceOrderRequest(), [], "EUR")
    assert placed.version == 1


def test_a_cancelled_order_stays_cancelled(placed: Order) -> None:
    placed.cancel()
    placed.cancel()
    placed.close(shipped=True)
    assert placed.state == State.CANCELLED
    assert [type(event) for event in placed.collect()[1]] == [OrderPlaced, OrderCancelled]


def test_a_shipped_order_cannot_be_cancelled(placed: Order) -> None:
    placed.close(shipped=True)
    with pytest.raises(FailedPrecondition, match="orders/1 is SHIPPED"):
        placed.cancel()


def test_a_rejected_order_says_why(placed: Order) -> None:
    placed.close(shipped=False, reason="no stock")
    assert (placed.state, placed.message.reason) == (State.REJECTED, "no stock")


def test_an_order_is_what_its_events_say(placed: Order) -> None:
    placed.close(shipped=True)
    _, events = placed.collect()
    again = Order.replay("1", events)
    assert again.message == placed.message


def test_a_bestseller_counts_its_units_once_for_each_order() -> None:
    lines = [OrderLine(product=product, quantity=quantity) for product, quantity in (("a", 2), ("b", 1), ("a", 3))]
    changes = Bestsellers().changes(Recorded(OrderPlaced(lines=lines), "order/1", 1, "e", 0.0))
    assert [(change.key["product"], change.amounts) for change in changes if isinstance(change, Add)] == [
        ("a", {"units": 5, "orders": 1}),
        ("b", {"units": 1, "orders": 1}),
    ]
