"""Open sagas are counted by kind and direction, on every database."""

from google.protobuf.message import Message
from sqlalchemy import func, select

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

    census = Census(store, "shop", {"Shipping": "shipping/", "Refund": "refund/"}, clock=lambda: NOON + 30)
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

    census = Census(store, "shop", {"Shipping": "shipping_now/"}, clock=lambda: NOON)
    await census.count()

    assert dict(census.open()) == {("Shipping", "forward"): 0, ("Shipping", "compensating"): 1}
    assert [each.stream for each in await open_sagas(store, told_before=NOON)] == ["shippingXnow/1", "shipping_now/1"]


async def test_what_a_transaction_withholds_from_readers_grows_old_until_it_ends(postgres_store: Store) -> None:
    census = Census(postgres_store, "shop", {}, clock=lambda: NOON + 90)
    async with await postgres_store.begin() as long:
        await long.fetch(select(func.txid_current()))
        await tell(postgres_store, "shipping/1", SagaStarted(), at=NOON)
        await tell(postgres_store, "shipping/2", SagaStarted(), at=NOON + 60)
        await census.count()
        assert dict(census.withheld()) == {("shop",): 90.0}
    await census.count()
    assert dict(census.withheld()) == {("shop",): 0.0}


async def test_where_nothing_is_withheld_that_is_said(store: Store) -> None:
    await tell(store, "shipping/1", SagaStarted(), at=NOON)
    census = Census(store, "shop", {}, clock=lambda: NOON + 90)
    await census.count()
    assert dict(census.withheld()) == {("shop",): 0.0}
