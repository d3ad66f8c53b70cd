"""Operations end once; an expiring row has one holder."""

import pytest

from laneway.store import Store, Write, inbox, leases, operations
from laneway.store.operations import Caller, Selection, Standing, State

ANN, BOB = Caller("acme", "ann"), Caller("acme", "bob")
CREATE = operations.create("op-1", "ShipOrder", now=1.0, caller=ANN, start_by=60.0)


def done(now: float, reply: bytes = b"", caller: Caller | None = ANN) -> Write:
    return operations.succeed("op-1", "ShipOrder", caller=caller, reply_type="Shipment", reply=reply, now=now)


async def state(store: Store) -> State | None:
    operation = await operations.get(store, "op-1")
    return operation.state if operation else None


async def test_an_operation_goes_from_pending_to_its_result(store: Store) -> None:
    await store.commit([CREATE])
    pending = await state(store)
    await store.commit([done(3.0, b"\x01")])

    operation = await operations.get(store, "op-1")
    assert pending is State.PENDING
    assert operation is not None
    assert operation.done
    assert (operation.method, operation.state, operation.reply_type, operation.reply) == (
        "ShipOrder",
        State.SUCCEEDED,
        "Shipment",
        b"\x01",
    )
    assert (operation.created_at, operation.updated_at, operation.start_by) == (1.0, 3.0, 60.0)


async def test_what_has_not_ended_is_not_forgotten(store: Store) -> None:
    await store.commit([operations.create("op", "Tidy", now=1.0, caller=Caller())])
    await store.commit([operations.forget("op")])
    assert await operations.get(store, "op") is not None


async def test_creating_again_changes_nothing(store: Store) -> None:
    await store.commit([CREATE, operations.fail("op-1", error=b"", now=2.0)])
    await store.commit([CREATE])

    assert await state(store) is State.FAILED


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (done(3.0), State.SUCCEEDED),
        (operations.expire("op-1", error=b"status", now=3.0), State.EXPIRED),
    ],
)
async def test_an_end_is_final(store: Store, end: Write, expected: State) -> None:
    await store.commit([CREATE, end])
    await store.commit([done(5.0, b"late")])

    operation = await operations.get(store, "op-1")
    assert operation is not None
    assert (operation.state, operation.updated_at) == (expected, 3.0)


async def test_ended_operations_are_swept_and_open_ones_stay(store: Store) -> None:
    await store.commit([CREATE, operations.create("op-2", "ShipOrder", now=1.0, caller=ANN)])
    await store.commit([operations.fail("op-2", error=b"", now=2.0)])
    await store.commit([operations.sweep(100.0)])

    assert await operations.get(store, "op-2") is None
    assert await state(store) is State.PENDING


WISH = operations.wish_cancelled("op-1", ANN, 0.5)


async def test_a_wish_that_came_first_counts_from_the_same_caller(store: Store) -> None:
    await store.commit([WISH])
    assert await operations.standing(store, "op-1", ANN) is Standing.UNWANTED
    assert await operations.standing(store, "op-1", BOB) is None
    assert await operations.standing(store, "op-1", None) is None
    await store.commit([CREATE])
    operation = await operations.get(store, "op-1")
    assert operation is not None
    assert (operation.method, operation.cancelled_at, operation.start_by) == ("ShipOrder", 0.5, 60.0)


@pytest.mark.parametrize("caller", [BOB, None])
async def test_a_wish_of_another_is_forgotten_when_the_call_is_heard_of(store: Store, caller: Caller | None) -> None:
    await store.commit([WISH])
    await store.commit([operations.create("op-1", "ShipOrder", now=1.0, caller=caller)])
    operation = await operations.get(store, "op-1")
    assert operation is not None
    assert (operation.is_of(ANN), operation.cancelled_at) == (False, None)


@pytest.mark.parametrize(("caller", "wished"), [(ANN, 0.5), (BOB, None), (None, None)])
async def test_a_result_that_comes_first_is_the_operation_of_its_caller(
    store: Store, caller: Caller | None, wished: float | None
) -> None:
    await store.commit([WISH])
    await store.commit([done(3.0, caller=caller)])
    operation = await operations.get(store, "op-1")
    assert operation is not None
    assert (operation.method, operation.state, operation.reply) == ("ShipOrder", State.SUCCEEDED, b"")
    assert (operation.is_of(ANN), operation.cancelled_at) == (caller == ANN, wished)


@pytest.mark.parametrize("caller", [BOB, Caller()])
async def test_a_wish_of_another_changes_nothing(store: Store, caller: Caller) -> None:
    await store.commit([CREATE])
    await store.commit([operations.wish_cancelled("op-1", caller, 2.0)])
    assert await operations.unwanted(store, ["op-1"]) == {}


async def test_what_was_processed_has_ended_whatever_is_wished(store: Store) -> None:
    await store.commit([WISH, inbox.record("op-1", "ShipOrder", 1.0)])
    assert await operations.standing(store, "op-1", ANN) is Standing.ENDED


async def test_progress_is_of_what_is_open(store: Store) -> None:
    await store.commit([CREATE, operations.report("op-1", b"1", now=2.0)])
    await store.commit([operations.fail("op-1", error=b"", now=3.0), operations.report("op-1", b"2", now=4.0)])
    operation = await operations.get(store, "op-1")
    assert operation is not None
    assert (operation.progress, operation.updated_at) == (b"1", 3.0)


async def test_operations_of_one_moment_are_listed_once_each(store: Store) -> None:
    ids = ["a", "b", "c"]
    await store.commit([operations.create(id, "ShipOrder", now=1.0, caller=ANN) for id in ids])
    first = await operations.of_caller(store, ANN, Selection(), 2)
    rest = await operations.of_caller(store, ANN, Selection(), 2, after=(1.0, first[-1].id))
    assert [each.id for each in (*first, *rest)] == ids


async def test_a_lease_has_one_holder_who_may_renew_it(store: Store) -> None:
    assert await leases.acquire(store, "relay", "a", now=0.0, until=10.0)
    assert not await leases.acquire(store, "relay", "b", now=5.0, until=15.0)
    assert await leases.acquire(store, "relay", "a", now=5.0, until=15.0)
    assert not await leases.acquire(store, "relay", "b", now=14.0, until=24.0)


async def test_an_expired_lease_goes_to_who_asks(store: Store) -> None:
    await leases.acquire(store, "relay", "a", now=0.0, until=10.0)

    assert await leases.acquire(store, "relay", "b", now=10.0, until=20.0)
    assert not await leases.acquire(store, "relay", "a", now=11.0, until=21.0)


async def test_a_released_lease_is_free_and_that_of_another_cannot_be_released(store: Store) -> None:
    await leases.acquire(store, "relay", "a", now=0.0, until=10.0)
    await store.commit([leases.release("relay", "b")])
    assert not await leases.acquire(store, "relay", "b", now=1.0, until=11.0)

    await store.commit([leases.release("relay", "a")])
    assert await leases.acquire(store, "relay", "b", now=1.0, until=11.0)
