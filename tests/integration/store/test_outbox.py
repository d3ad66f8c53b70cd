"""Messages stay until they are confirmed; delays, retries and dead letters are rows."""

from dataclasses import replace

import pytest

from laneway.store import DuplicateKey, Store, outbox
from laneway.store.outbox import OutboxMessage, QueueCounts


def message(id: str, *, queue: str = "mail", due_at: float = 10.0) -> OutboxMessage:
    return OutboxMessage(
        id=id,
        service="notifications",
        queue=queue,
        method="shop.notifications.v1.Notifications.SendMail",
        payload=b"\x01\x00",
        headers={"traceparent": "00-abc"},
        due_at=due_at,
        created_at=5.0,
    )


MAIL = ("notifications", "mail")


async def due(store: Store, now: float, limit: int = 10, queue: tuple[str, str] = MAIL) -> list[str]:
    return [each.id for each in await outbox.due(store, queue, now, limit)]


async def test_a_message_comes_back_as_it_was_written(store: Store) -> None:
    written = replace(message("m-1"), start_by=99.0, subscription="OnOrderPlaced")
    await store.commit([outbox.insert([written])])

    assert await outbox.due(store, MAIL, 10.0, 1) == [written]
    assert await outbox.get(store, "m-1") == written
    assert await outbox.get(store, "m-2") is None


async def test_the_longest_due_comes_first_and_what_is_not_due_not_at_all(store: Store) -> None:
    await store.commit([outbox.insert([message("c", due_at=3.0), message("a", due_at=1.0), message("b", due_at=2.0)])])

    assert await due(store, 2.5) == ["a", "b"]
    assert await due(store, 9.0, limit=1) == ["a"]


async def test_the_most_urgent_comes_first_and_what_is_not_due_hides_nothing(store: Store) -> None:
    urgent, later = (
        replace(message("urgent", due_at=9.0), priority=0),
        replace(message("later", due_at=99.0), priority=0),
    )
    normal, low = message("normal", due_at=2.0), replace(message("low", due_at=1.0), priority=6)
    await store.commit([outbox.insert([low, normal, later, urgent])])

    assert await due(store, 10.0) == ["urgent", "normal", "low"]
    assert await due(store, 10.0, limit=2) == ["urgent", "normal"]


async def test_one_queue_is_taken_from_at_a_time(store: Store) -> None:
    await store.commit([outbox.insert([message("a"), message("b", queue="bulk")])])

    assert await due(store, 10.0, queue=("notifications", "bulk")) == ["b"]


async def test_the_queues_of_what_is_not_parked_are_known(store: Store) -> None:
    assert await outbox.queues(store) == []
    several = [message("a"), message("b", queue="bulk"), message("c"), message("d", queue="dead")]
    await store.commit([outbox.insert(several), outbox.park("d", 8, "SMTP 550", 11.0)])

    assert await outbox.queues(store) == [("notifications", "bulk"), ("notifications", "mail")]


async def test_two_copies_that_fail_are_one_failed_attempt(store: Store) -> None:
    await store.commit([outbox.insert([message("a")])])
    for due_at in (20.0, 99.0):
        await store.commit([outbox.retry("a", 1, due_at, "busy")])

    [row] = await outbox.due(store, MAIL, 20.0, 1)
    assert (row.attempts, row.due_at) == (1, 20.0)


async def test_a_dead_letter_stays_as_it_was_parked_whatever_is_told_of_it_later(store: Store) -> None:
    await store.commit([outbox.insert([message("a")]), outbox.park("a", 3, "broken", 20.0)])
    await store.commit([outbox.park("a", 1, "late", 99.0), outbox.retry("a", 9, 99.0, "late")])

    row = await outbox.get(store, "a")
    assert row is not None
    assert (row.attempts, row.parked_at, row.error) == (3, 20.0, "broken")


async def test_an_id_is_used_once(store: Store) -> None:
    await store.commit([outbox.insert([message("a")])])

    with pytest.raises(DuplicateKey):
        await store.commit([outbox.insert([message("b"), message("a")])])

    assert await due(store, 10.0) == ["a"]


async def test_a_postponed_message_is_due_again_later(store: Store) -> None:
    await store.commit([outbox.insert([message("a"), message("b"), message("c")])])
    await store.commit([outbox.postpone(["a", "b"], 40.0)])

    assert await due(store, 39.0) == ["c"]
    assert await due(store, 40.0) == ["c", "a", "b"]


async def test_a_confirmed_message_goes_and_confirming_twice_changes_nothing(store: Store) -> None:
    await store.commit([outbox.insert([message("a"), message("b")])])
    for _ in range(2):
        await store.commit([outbox.confirm(["a"])])

    assert await due(store, 10.0) == ["b"]


async def test_a_retry_counts_the_attempt_and_keeps_the_error(store: Store) -> None:
    await store.commit([outbox.insert([message("a")])])
    await store.commit([outbox.retry("a", 1, 20.0, "SMTP 451")])
    await store.commit([outbox.retry("a", 2, 30.0, "SMTP 452")])

    found = await outbox.get(store, "a")
    assert found is not None
    assert (found.attempts, found.due_at, found.error) == (2, 30.0, "SMTP 452")


async def test_a_parked_message_waits_for_a_person(store: Store) -> None:
    await store.commit([outbox.insert([message("a"), message("b")])])
    await store.commit([outbox.park("a", 8, "SMTP 550", 11.0)])
    await store.commit([outbox.retry("a", 9, 12.0, "a late report of an earlier delivery")])

    dead = await outbox.get(store, "a")
    assert dead is not None
    assert (dead.attempts, dead.parked_at, dead.error) == (8, 11.0, "SMTP 550")
    assert await due(store, 99.0) == ["b"]


async def test_each_queue_is_counted(store: Store) -> None:
    first, second = message("a", due_at=3.0), message("b", due_at=99.0)
    await store.commit([outbox.insert([first, second, message("c"), message("d", queue="bulk")])])
    await store.commit([outbox.park("c", 8, "SMTP 550", 11.0)])

    assert await outbox.counts(store, 10.0) == [
        QueueCounts("notifications", "bulk", 1, 0, 0, 10.0, 5.0, 5.0, None),
        QueueCounts("notifications", "mail", 1, 1, 1, 3.0, 5.0, 5.0, 11.0),
    ]


async def test_demand_of_what_has_been_tried_is_as_old_as_its_next_try(store: Store) -> None:
    await store.commit([outbox.insert([message("a")])])
    await store.commit([outbox.retry("a", 1, 20.0, "busy")])

    [counts] = await outbox.counts(store, 21.0)
    assert (counts.oldest_created_at, counts.oldest_demand_at) == (5.0, 20.0)


async def test_what_the_window_refused_is_due_at_once_and_a_retry_is_not(store: Store) -> None:
    await store.commit([outbox.insert([message("new", due_at=12.0), message("tried", due_at=1.0)])])
    await store.commit([outbox.retry("tried", 1, 12.0, "busy")])

    await store.commit([outbox.hasten(["new", "tried"], 10.0)])

    assert await due(store, 10.0) == ["new"]
