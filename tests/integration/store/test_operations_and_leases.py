"""Operations end once; an expiring row has one holder."""

import pytest

from laneway.store import Store, Write, leases, operations
from laneway.store.operations import State

CREATE = operations.create("op-1", "ShipOrder", now=1.0, start_by=60.0)


async def state(store: Store) -> State | None:
    operation = await operations.get(store, "op-1")
    return operation.state if operation else None


async def test_an_operation_goes_from_pending_to_its_result(store: Store) -> None:
    await store.commit([CREATE])
    pending = await state(store)
    await store.commit([operations.succeed("op-1", reply_type="Shipment", reply=b"\x01", now=3.0)])

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


async def test_creating_again_changes_nothing(store: Store) -> None:
    await store.commit([CREATE, operations.fail("op-1", error=b"", now=2.0)])
    await store.commit([CREATE])

    assert await state(store) is State.FAILED


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (operations.succeed("op-1", reply_type="Shipment", reply=b"", now=3.0), State.SUCCEEDED),
        (operations.expire("op-1", error=b"status", now=3.0), State.EXPIRED),
    ],
)
async def test_an_end_is_final(store: Store, end: Write, expected: State) -> None:
    await store.commit([CREATE, end])
    await store.commit([operations.succeed("op-1", reply_type="Late", reply=b"late", now=5.0)])

    operation = await operations.get(store, "op-1")
    assert operation is not None
    assert (operation.state, operation.updated_at) == (expected, 3.0)


async def test_ended_operations_are_swept_and_open_ones_stay(store: Store) -> None:
    await store.commit([CREATE, operations.create("op-2", "ShipOrder", now=1.0)])
    await store.commit([operations.fail("op-2", error=b"", now=2.0)])
    await store.commit([operations.sweep(100.0)])

    assert await operations.get(store, "op-2") is None
    assert await state(store) is State.PENDING


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
