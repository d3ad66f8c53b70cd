"""Streams: expected versions, several at once, and what a reader gets back."""

import asyncio

import pytest
from sqlalchemy import text

from laneway.store import ConstraintViolated, DuplicateKey, Store, VersionConflict, Write, events
from laneway.store.events import ANY, NEW, START, NewEvent


def _event(event_id: str, type: str = "shop.orders.v1.OrderPlaced", payload: bytes = b"\x00\xff") -> NewEvent:
    return NewEvent(event_id, type, payload, recorded_at=12.5, metadata={"trace": "abc"})


def _events(prefix: str, count: int) -> list[NewEvent]:
    return [_event(f"{prefix}-{at}") for at in range(count)]


async def test_an_event_comes_back_as_it_was_appended(store: Store) -> None:
    await store.commit(events.append("orders/1", NEW, [_event("e-1")]))

    [event] = await events.read_stream(store, "orders/1")

    assert (event.event_id, event.stream, event.version, event.type) == (
        "e-1",
        "orders/1",
        1,
        "shop.orders.v1.OrderPlaced",
    )
    assert (event.payload, event.metadata, event.recorded_at) == (b"\x00\xff", {"trace": "abc"}, 12.5)
    assert event.position > 0
    assert (event.tx > 0) == (store.dialect == "postgresql")


async def test_versions_count_on_from_the_expected_one(store: Store) -> None:
    await store.commit(events.append("orders/1", NEW, _events("a", 2)))
    await store.commit(events.append("orders/1", 2, _events("b", 2)))

    found = await events.read_stream(store, "orders/1")

    assert [(event.event_id, event.version) for event in found] == [("a-0", 1), ("a-1", 2), ("b-0", 3), ("b-1", 4)]


@pytest.mark.parametrize("expected", [NEW, 1])
async def test_another_version_than_the_expected_is_a_conflict(store: Store, expected: int) -> None:
    await store.commit(events.append("orders/1", NEW, _events("a", 2)))

    with pytest.raises(VersionConflict, match="orders/1"):
        await store.commit(events.append("orders/1", expected, _events("b", 2)))

    assert len(await events.read_stream(store, "orders/1")) == 2


async def test_of_concurrent_appends_at_one_version_one_succeeds(store: Store) -> None:
    results = await asyncio.gather(
        *(store.commit(events.append("orders/1", NEW, _events(f"w{at}", 2))) for at in range(10)),
        return_exceptions=True,
    )

    assert sum(result is None for result in results) == 1
    assert sum(isinstance(result, VersionConflict) for result in results) == 9
    assert [event.version for event in await events.read_stream(store, "orders/1")] == [1, 2]


async def test_appends_at_the_end_never_conflict_with_each_other(store: Store) -> None:
    await asyncio.gather(*(store.commit(events.append("log", ANY, _events(f"w{at}", 3))) for at in range(10)))

    found = await events.read_stream(store, "log")

    assert [event.version for event in found] == list(range(1, 31))
    assert all(found[at].event_id[:-2] == found[at + 2].event_id[:-2] for at in range(0, 30, 3)), "kept together"


async def test_an_event_id_is_used_once(store: Store) -> None:
    await store.commit(events.append("orders/1", NEW, [_event("e-1")]))

    with pytest.raises(DuplicateKey):
        await store.commit(events.append("orders/2", NEW, [_event("e-1")]))


async def test_several_streams_are_appended_to_in_one_commit_or_not_at_all(store: Store) -> None:
    await store.commit([*events.append("from", NEW, _events("a", 1)), *events.append("to", NEW, _events("b", 1))])

    with pytest.raises(VersionConflict, match="to is not at version 0"):
        await store.commit([*events.append("from", 1, _events("c", 1)), *events.append("to", 0, _events("d", 1))])

    assert [len(await events.read_stream(store, stream)) for stream in ("from", "to")] == [1, 1]


async def test_a_stream_is_read_from_a_version_on_and_in_part(store: Store) -> None:
    await store.commit(events.append("orders/1", NEW, _events("a", 5)))

    assert [event.version for event in await events.read_stream(store, "orders/1", after=2)] == [3, 4, 5]
    assert [event.version for event in await events.read_stream(store, "orders/1", after=1, limit=2)] == [2, 3]
    assert await events.read_stream(store, "orders/2") == []


async def test_the_log_is_read_page_by_page_in_order(store: Store) -> None:
    for at in range(7):
        await store.commit(events.append(f"orders/{at % 2}", ANY, [_event(f"e-{at}")]))

    found, cursor = [], START
    while page := await events.read_after(store, cursor, limit=3):
        found += page
        cursor = page[-1].cursor

    assert [event.event_id for event in found] == [f"e-{at}" for at in range(7)]


async def test_the_log_is_read_by_type(store: Store) -> None:
    kinds = ["Placed", "Shipped", "Cancelled", "Placed"]
    await store.commit(events.append("orders/1", NEW, [_event(f"e-{at}", kind) for at, kind in enumerate(kinds)]))

    async def ids(*types: str) -> list[str]:
        return [event.event_id for event in await events.read_after(store, START, types)]

    assert await ids("Placed") == ["e-0", "e-3"]
    assert await ids("Placed", "Shipped") == ["e-0", "e-1", "e-3"]
    assert await ids("Refunded") == []


async def test_behind_the_end_lies_what_comes_later(store: Store) -> None:
    await store.commit(events.append("orders/1", NEW, _events("a", 2)))
    cursor = await events.end(store)

    assert await events.read_after(store, cursor) == []
    await store.commit(events.append("orders/1", 2, _events("b", 1)))

    assert [event.event_id for event in await events.read_after(store, cursor)] == ["b-0"]


async def test_nothing_to_append_is_no_write() -> None:
    assert events.append("orders/1", NEW, []) == []


async def test_the_same_events_appended_again_are_there_once(store: Store) -> None:
    await store.commit(events.append("orders/1", NEW, _events("before", 1)))

    versions = [await events.append_once(store, "orders/1", 1, _events("a", 2)) for _ in range(3)]
    versions.append(await events.append_once(store, "orders/1", ANY, _events("a", 2)))

    assert versions == [3, 3, 3, 3]
    assert [event.event_id for event in await events.read_stream(store, "orders/1")] == ["before-0", "a-0", "a-1"]


async def test_of_many_attempts_at_once_to_append_the_same_all_succeed_and_one_appends(store: Store) -> None:
    versions = await asyncio.gather(*(events.append_once(store, "log", ANY, _events("a", 2)) for _ in range(8)))

    assert set(versions) == {2}
    assert len(await events.read_stream(store, "log")) == 2


@pytest.mark.parametrize(
    ("stream", "expected", "new", "refused"),
    [
        ("orders/1", NEW, [_event("other")], VersionConflict),
        ("orders/1", 1, [_event("a-0", payload=b"something else")], DuplicateKey),
        ("orders/2", NEW, [_event("a-0")], DuplicateKey),
        ("orders/1", 1, [_event("a-0"), _event("more")], DuplicateKey),
    ],
)
async def test_appending_again_forgives_nothing_but_the_same(
    store: Store, stream: str, expected: int, new: list[NewEvent], refused: type[Exception]
) -> None:
    await store.commit(events.append("orders/1", NEW, _events("a", 1)))

    with pytest.raises(refused):
        await events.append_once(store, stream, expected, new)

    assert len(await events.newest(store, 10)) == 1


async def test_events_that_were_appended_apart_are_not_those_of_one_append(store: Store) -> None:
    for id in ("a-0", "between", "a-1"):
        await store.commit(events.append("orders/1", ANY, [_event(id)]))

    with pytest.raises((VersionConflict, DuplicateKey)):
        await events.append_once(store, "orders/1", 0, [_event("a-0"), _event("a-1")])


def _at(event_id: str, recorded_at: float) -> NewEvent:
    return NewEvent(event_id, "Placed", b"", recorded_at)


async def test_a_stream_is_read_as_of_a_version(store: Store) -> None:
    await store.commit(events.append("orders/1", NEW, _events("a", 4)))

    assert [event.version for event in await events.read_stream(store, "orders/1", version=2)] == [1, 2]
    assert [event.version for event in await events.read_stream(store, "orders/1", after=1, version=3)] == [2, 3]


async def test_a_stream_is_read_as_of_a_time_without_a_gap(store: Store) -> None:
    clocks = [10.0, 20.0, 15.0, 30.0]  # the third was recorded by a process whose clock is slow
    await store.commit(events.append("orders/1", NEW, [_at(f"a-{now:g}", now) for now in clocks]))
    await store.commit(events.append("orders/2", NEW, [_at("b", 1.0)]))

    async def versions(at: float) -> list[int]:
        return [event.version for event in await events.read_stream(store, "orders/1", at=at)]

    assert [await versions(at) for at in (9.0, 10.0, 17.0, 20.0, 99.0)] == [[], [1], [1], [1, 2, 3], [1, 2, 3, 4]]


async def test_the_newest_events_come_first(store: Store) -> None:
    for at in range(4):
        await store.commit(events.append(f"s-{at}", NEW, [_event(f"e-{at}", "Placed" if at % 2 else "Shipped")]))

    assert [event.event_id for event in await events.newest(store, 2)] == ["e-3", "e-2"]
    assert [event.event_id for event in await events.newest(store, 9, ["Shipped"])] == ["e-2", "e-0"]


@pytest.mark.parametrize("change", ["UPDATE events SET payload = '' WHERE version = 1", "DELETE FROM events"])
async def test_what_has_happened_cannot_be_changed(store: Store, change: str) -> None:
    await store.commit(events.append("orders/1", NEW, _events("a", 1)))

    with pytest.raises(ConstraintViolated, match="append-only"):
        await store.commit([Write(text(change))])

    assert [event.payload for event in await events.read_stream(store, "orders/1")] == [b"\x00\xff"]
