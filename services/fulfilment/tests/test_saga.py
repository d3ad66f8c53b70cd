import pytest

from shop.fulfilment.v1.events_pb2 import OrderRejected, OrderShipped
from shop.orders.v1.events_pb2 import OrderLine, OrderPlaced
from shop_fulfilment.domain import PAYMENT_PATIENCE, Fulfilment

PLACED = OrderPlaced(
    order="orders/1", lines=[OrderLine(product="products/lamp", quantity=2)], email="a@b.example", total_minor=5
)


@pytest.fixture
def saga() -> Fulfilment:
    return Fulfilment("orders/1")


def names(actions: object) -> list[str]:
    return [action.name for action in actions]  # type: ignore[attr-defined]


def test_the_steps_follow_each_other(saga: Fulfilment) -> None:
    assert names(saga.begin(PLACED)) == ["reserve"]
    [authorize] = saga.completed("reserve")
    assert (authorize.name, authorize.answer_within) == ("authorize", PAYMENT_PATIENCE)
    assert names(saga.completed("authorize", "a1")) == ["ship"]
    assert names(saga.completed("ship", "T1")) == ["capture"]
    assert names(saga.completed("capture")) == []
    assert saga.done


def test_an_event_that_comes_twice_changes_nothing(saga: Fulfilment) -> None:
    saga.begin(PLACED)
    saga.completed("reserve")
    version = saga.version
    assert names(saga.completed("reserve")) == []
    assert saga.version == version


def test_a_declined_payment_puts_the_stock_back_and_tells_once(saga: Fulfilment) -> None:
    saga.begin(PLACED)
    saga.completed("reserve")
    assert names(saga.failed("authorize", "declined")) == ["release"]
    for _ in range(2):
        saga.tell_rejected()
    [told] = [event for event in saga.collect()[1] if isinstance(event, OrderRejected)]
    assert (told.order, told.email, told.reason) == ("orders/1", "a@b.example", "declined")


def test_a_payment_that_answers_after_the_wait_is_given_back(saga: Fulfilment) -> None:
    saga.begin(PLACED)
    saga.completed("reserve")
    assert names(saga.timed_out("authorize")) == ["release"]
    saga.compensated("reserve")
    assert names(saga.completed("authorize", "late")) == ["void"]


def test_what_a_lost_run_reserved_before_the_cancellation_is_put_back(saga: Fulfilment) -> None:
    """Whether there was such a run, nobody knows: its key makes reserving again the same reservation."""
    [lost] = Fulfilment("orders/1").begin(PLACED)
    saga.cancel("The customer cancelled.")
    [again] = saga.begin(PLACED)
    assert (again.name, again.key) == ("reserve", lost.key)
    assert names(saga.completed("reserve")) == ["release"]
    saga.compensated("reserve")
    assert saga.done


def test_an_order_that_was_cancelled_and_is_not_in_stock_goes_nowhere(saga: Fulfilment) -> None:
    saga.cancel("The customer cancelled.")
    saga.begin(PLACED)
    assert names(saga.failed("reserve", "Not enough.")) == []
    assert saga.done


def test_a_cancellation_that_comes_before_its_order_is_told_when_it_is_known_to_whom(saga: Fulfilment) -> None:
    saga.cancel("The customer cancelled.")
    saga.tell_rejected()
    saga.begin(PLACED)
    saga.tell_rejected()
    [told] = [event for event in saga.collect()[1] if isinstance(event, OrderRejected)]
    assert (told.order, told.email) == ("orders/1", "a@b.example")


def test_what_is_on_its_way_is_told_with_its_tracking_number(saga: Fulfilment) -> None:
    saga.begin(PLACED)
    saga.tell_shipped("T1")
    [told] = [event for event in saga.collect()[1] if isinstance(event, OrderShipped)]
    assert (told.order, told.email, told.tracking) == ("orders/1", "a@b.example", "T1")
