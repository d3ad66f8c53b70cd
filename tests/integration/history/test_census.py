"""Open sagas are counted by kind and direction, on every database."""

from google.protobuf.message import Message

from laneway.history.census import Census
from laneway.history.projector import Projector
from laneway.history.sagas import SagaView, open_sagas
from laneway.store import Store, events
from laneway.store.events import ANY, NewEvent
from laneway.telemetry.metrics import Metrics
from laneway.v1.saga_pb2 import SagaCompensating, SagaEnded, SagaStarted, SagaStepCompleted

NOON = 1_700_000_000.0


async def tell(store: Store, stream: str, *told: Message, at: float) -> None:
    new = [
        NewEvent(f"{stream}@{number}", event.DESCRIPTOR.full_name, event.SerializeToString(), at)
        for number, event in enumerate(told)
    ]
    await store.commit(events.append(stream, ANY, new))


async def test_those_that_have_ended_are_not_counted_and_those_that_turned_back_are_told_apart(store: Store) -> None:
    await tell(store, "shipping/1", SagaStarted(), at=NOON)
    await tell(store, "shipping/2", SagaStarted(), SagaCompensating(reason="declined"), at=NOON + 5)
    await tell(store, "shipping/3", SagaStarted(), SagaEnded(), at=NOON - 100)
    await tell(store, "other/1", SagaStarted(), at=NOON - 100)
    keeper = Projector(store, SagaView(), holder="service", metrics=Metrics())
    while await keeper.go_round():
        pass

    census = Census(store, {"Shipping": "shipping/", "Refund": "refund/"}, clock=lambda: NOON + 30)
    await census.count()

    assert dict(census.open()) == {
        ("Shipping", "forward"): 1, ("Shipping", "compensating"): 1,
        ("Refund", "forward"): 0, ("Refund", "compensating"): 0,
    }  # fmt: skip
    assert dict(census.silent()) == {("Shipping",): 30.0, ("Refund",): 0.0}


async def test_one_that_hears_of_something_after_its_end_is_open_again(store: Store) -> None:
    """It may owe what undoes it."""
    late = SagaStepCompleted(step="authorize")
    await tell(store, "shipping_now/1", SagaStarted(), SagaCompensating(reason="late"), SagaEnded(), late, at=NOON)
    await tell(store, "shippingXnow/1", SagaStarted(), at=NOON)
    keeper = Projector(store, SagaView(), holder="service", metrics=Metrics())
    while await keeper.go_round():
        pass

    census = Census(store, {"Shipping": "shipping_now/"}, clock=lambda: NOON)
    await census.count()

    assert dict(census.open()) == {("Shipping", "forward"): 0, ("Shipping", "compensating"): 1}
    assert [each.stream for each in await open_sagas(store, told_before=NOON)] == ["shippingXnow/1", "shipping_now/1"]
