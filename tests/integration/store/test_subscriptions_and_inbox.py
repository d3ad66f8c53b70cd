"""Both ends of an event's way: the producer's low-water mark and the consumer's inbox."""

import pytest

from laneway.store import Store, VersionConflict, Write, events, inbox, subscriptions
from laneway.store.events import ANY, START, Cursor, NewEvent


def subscribe(*, from_start: bool = False, queue: str = "mail", name: str = "OnOrderPlaced") -> Write:
    return subscriptions.register(
        name, service="notifications", queue=queue, event_type="Placed", from_start=from_start, now=1.0
    )


async def emit(store: Store, *ids: str) -> None:
    await store.commit(events.append("orders/1", ANY, [NewEvent(id, "Placed", b"", 0.0) for id in ids]))


async def ahead(store: Store, cursor: Cursor) -> list[str]:
    return [event.event_id for event in await events.read_after(store, cursor, ["Placed"])]


async def test_a_new_subscription_begins_at_the_end_of_the_log(store: Store) -> None:
    await emit(store, "before")
    await store.commit([subscribe()])
    await emit(store, "after")

    [subscription] = await subscriptions.all(store)
    assert (subscription.name, subscription.service, subscription.queue) == ("OnOrderPlaced", "notifications", "mail")
    assert await ahead(store, subscription.cursor) == ["after"]


async def test_a_subscription_may_begin_at_the_first_event(store: Store) -> None:
    await emit(store, "before")
    await store.commit([subscribe(from_start=True)])

    [subscription] = await subscriptions.all(store)
    assert subscription.from_start
    assert await ahead(store, subscription.cursor) == ["before"]


async def test_registering_again_keeps_the_cursor_and_follows_the_queue(store: Store) -> None:
    await store.commit([subscribe(from_start=True)])
    await emit(store, "e-1")
    await store.commit([subscribe(queue="bulk")])

    [subscription] = await subscriptions.all(store)
    assert (subscription.queue, subscription.cursor) == ("bulk", START)


async def test_a_cursor_moves_once_from_one_place(store: Store) -> None:
    await store.commit([subscribe(from_start=True)])
    move = subscriptions.advance("OnOrderPlaced", START, Cursor(7, 8))

    await store.commit([move])
    with pytest.raises(VersionConflict, match="OnOrderPlaced"):
        await store.commit([move])

    [subscription] = await subscriptions.all(store)
    assert subscription.cursor == Cursor(7, 8)


async def test_a_cursor_moves_once_from_one_place_also_within_a_transaction_of_the_log(store: Store) -> None:
    """On SQLite, all of the log is one."""
    await store.commit([subscribe(from_start=True)])
    move = subscriptions.advance("OnOrderPlaced", Cursor(0, 0), Cursor(0, 5))
    await store.commit([move])
    with pytest.raises(VersionConflict):
        await store.commit([move])


async def test_a_dropped_subscription_is_gone(store: Store) -> None:
    await store.commit([subscribe(), subscribe(name="Other")])
    await store.commit(subscriptions.drop("OnOrderPlaced"))

    assert [each.name for each in await subscriptions.all(store)] == ["Other"]


async def test_a_processed_message_is_known(store: Store) -> None:
    await store.commit([inbox.record("m-1", "OnOrderPlaced", 1.0)])

    assert await inbox.seen(store, "m-1")
    assert not await inbox.seen(store, "m-2")
