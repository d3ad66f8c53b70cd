"""What a person does to dead letters, on each database."""

from dataclasses import replace

import pytest

from laneway.store import Store, dead_letters, outbox
from laneway.store.dead_letters import Selection
from laneway.store.outbox import OutboxMessage
from tests.integration.store.test_outbox import MAIL, due, message

NOW = 100.0


async def park(store: Store, *parked: OutboxMessage, error: str = "SMTP 550", at: float = 20.0) -> None:
    await store.commit([outbox.insert(parked), *(outbox.park(each.id, 8, error, at) for each in parked)])


async def found(store: Store, limit: int = 10, after: OutboxMessage | None = None, **chosen: object) -> list[str]:
    selection = Selection(**chosen)  # type: ignore[arg-type]
    return [each.id for each in await dead_letters.find(store, selection, limit, after)]


async def test_a_dead_letter_keeps_payload_error_attempts_and_trace(store: Store) -> None:
    written = message("a")
    await park(store, written)

    [dead] = await dead_letters.find(store, Selection(), 10)

    assert dead == replace(written, attempts=8, parked_at=20.0, error="SMTP 550")


@pytest.mark.parametrize(
    ("chosen", "ids"),
    [
        ({}, ["a", "b", "c"]),
        ({"ids": ("c", "a", "nobody")}, ["a", "c"]),
        ({"queue": "notifications.bulk"}, ["b"]),
        ({"queue": "bulk"}, []),
        ({"error": "smtp"}, ["a", "b"]),
        ({"error": "100%"}, ["c"]),
        ({"error": "1_0"}, []),
        ({"parked_before": 30.0}, ["a", "b"]),
        ({"queue": "notifications.mail", "parked_before": 20.0}, []),
        ({"skipped": True}, []),
    ],
)
async def test_they_are_chosen_by_id_queue_error_and_age(store: Store, chosen: dict, ids: list[str]) -> None:
    await park(store, message("a"), message("b", queue="bulk"))
    await park(store, message("c"), error="disk 100% full", at=30.0)
    await store.commit([outbox.insert([message("alive")])])

    assert await found(store, **chosen) == ids


async def test_they_are_read_page_by_page(store: Store) -> None:
    await park(store, *(message(f"m-{n}") for n in range(5)))

    first = await dead_letters.find(store, Selection(), 2)
    assert [each.id for each in first] == ["m-0", "m-1"]
    assert await found(store, 2, after=first[-1]) == ["m-2", "m-3"]


async def test_a_redriven_one_keeps_its_id_and_has_all_its_attempts_again(store: Store) -> None:
    await park(store, replace(message("a"), start_by=15.0), message("b"))
    await store.commit([dead_letters.redrive({"a": NOW, "b": NOW + 7})])

    [again] = await outbox.due(store, MAIL, NOW, 9)
    assert (again.id, again.attempts, again.parked_at, again.start_by) == ("a", 0, None, None)
    assert await due(store, NOW + 7) == ["a", "b"]


async def test_what_is_not_dead_is_neither_redriven_nor_skipped_nor_dropped(store: Store) -> None:
    alive = message("a", due_at=10.0)
    await store.commit([outbox.insert([alive])])
    for change in ([dead_letters.redrive({"a": NOW})], dead_letters.skip([alive], NOW), dead_letters.drop([alive])):
        await store.commit(change)

    assert await outbox.get(store, "a") == alive


async def test_a_skipped_one_stays_on_record_and_is_counted_no_more(store: Store) -> None:
    await park(store, message("a"), message("b"))
    await store.commit(dead_letters.skip([message("a")], NOW))

    assert await found(store) == ["b"]
    assert await found(store, skipped=True) == ["a"]
    [counts] = await outbox.counts(store, NOW)
    assert (counts.parked, counts.oldest_parked_at) == (1, 20.0)


async def test_skipping_twice_keeps_the_first_moment(store: Store) -> None:
    await park(store, message("a"))
    for now in (NOW, NOW + 1):
        await store.commit(dead_letters.skip([message("a")], now))

    [skipped] = await dead_letters.find(store, Selection(skipped=True), 1)
    assert skipped.skipped_at == NOW


async def test_a_skipped_one_may_be_redriven_after_all(store: Store) -> None:
    await park(store, message("a"))
    await store.commit(dead_letters.skip([message("a")], NOW))
    await store.commit([dead_letters.redrive({"a": NOW})])

    assert await due(store, NOW) == ["a"]
    assert await found(store, skipped=True) == []


async def test_a_dropped_one_is_gone(store: Store) -> None:
    await park(store, message("a"), message("b"))
    await store.commit(dead_letters.drop([message("a")]))

    assert await outbox.get(store, "a") is None
    assert await found(store) == ["b"]
