"""Of the messages of a key one has its turn, in order, on each database."""

import asyncio
import random
from dataclasses import replace

import pytest
from sqlalchemy import update

from laneway.store import DuplicateKey, Store, Write, dead_letters, outbox, turns
from laneway.store.dead_letters import Selection
from laneway.store.outbox import OutboxMessage
from laneway.store.schema import outbox as table
from laneway.store.turns import Key
from tests.integration.store.test_outbox import due, message

NOW = 100.0


def keyed(id: str, key: str = "k", **changes: object) -> OutboxMessage:
    return replace(message(id), order_key=key, **changes)  # type: ignore[arg-type]


async def place(store: Store) -> None:
    if found := await turns.newcomers(store, 100):
        await store.commit(turns.place(found))


async def write(store: Store, *messages: OutboxMessage) -> None:
    """Each in a transaction of its own, as callers do."""
    for each in messages:
        await store.commit([outbox.insert([each])])


async def confirm(store: Store, id: str) -> None:
    """As the relay does it."""
    await store.commit([outbox.confirm([id]), *turns.pass_on(await turns.keys_of(store, [id]))])


async def test_nothing_of_a_key_is_due_before_somebody_has_looked(store: Store) -> None:
    await write(store, keyed("a"), message("free"))
    assert await due(store, NOW) == ["free"]


async def test_one_of_each_key_has_its_turn_the_first_committed(store: Store) -> None:
    await write(store, keyed("z"), keyed("b"), keyed("a"), keyed("other", "k2"))
    await place(store)
    assert sorted(await due(store, NOW)) == ["other", "z"]


async def test_the_order_is_that_of_the_commits_also_within_one(store: Store) -> None:
    await store.commit([outbox.insert([keyed(id) for id in "dacb"])])
    await write(store, keyed("0"))
    await place(store)
    taken = []
    while ids := await due(store, NOW):
        taken += ids
        await confirm(store, ids[0])
    assert taken == ["d", "a", "c", "b", "0"]


async def test_one_that_is_tried_again_later_keeps_its_turn(store: Store) -> None:
    await write(store, keyed("a"), keyed("b"))
    await place(store)
    await store.commit([outbox.retry("a", 1, NOW + 60, "busy")])
    assert await due(store, NOW) == []
    assert await due(store, NOW + 60) == ["a"]


async def test_a_parked_one_holds_its_key_until_it_is_redriven(store: Store) -> None:
    await write(store, keyed("a"), keyed("b"))
    await place(store)
    await store.commit([outbox.park("a", 8, "SMTP 550", NOW)])
    await place(store)
    assert await due(store, NOW) == []
    assert await turns.behind(store, Key("notifications", "mail", "k")) == 1
    await store.commit([dead_letters.redrive({"a": NOW})])
    assert await due(store, NOW) == ["a"]


@pytest.mark.parametrize("act", ["skip", "drop"])
async def test_or_until_it_is_skipped_or_dropped(store: Store, act: str) -> None:
    await write(store, keyed("a"), keyed("b"), keyed("c"))
    await place(store)
    await store.commit([outbox.park("a", 8, "SMTP 550", NOW)])
    [dead] = await dead_letters.find(store, Selection(), 9)
    await store.commit(dead_letters.skip([dead], NOW) if act == "skip" else dead_letters.drop([dead]))
    assert await due(store, NOW) == ["b"]
    await confirm(store, "b")
    assert await due(store, NOW) == ["c"]


async def test_a_skipped_one_that_is_redriven_waits_for_the_one_in_flight(store: Store) -> None:
    await write(store, keyed("a"), keyed("b"), keyed("c"))
    await place(store)
    await store.commit([outbox.park("a", 8, "SMTP 550", NOW)])
    [dead] = await dead_letters.find(store, Selection(), 9)
    await store.commit(dead_letters.skip([dead], NOW))
    await store.commit([dead_letters.redrive({"a": NOW})])
    await place(store)
    assert await due(store, NOW) == ["b"]
    await confirm(store, "b")
    assert await due(store, NOW) == ["a"]


async def test_one_that_was_dead_when_it_was_written_holds_its_key_too(store: Store) -> None:
    await write(store, keyed("a", parked_at=NOW, error="cannot be read"), keyed("b"))
    await place(store)
    assert await due(store, NOW) == []
    await store.commit([dead_letters.redrive({"a": NOW})])
    assert await due(store, NOW) == ["a"]


async def test_what_waits_for_its_turn_is_not_demand(store: Store) -> None:
    await write(store, keyed("a"), keyed("b"), keyed("c"))
    await place(store)
    [counts] = await outbox.counts(store, NOW)
    assert (counts.due, counts.waiting) == (1, 2)


async def test_the_database_itself_refuses_two_of_a_key_in_flight(store: Store) -> None:
    await write(store, keyed("a"), keyed("b"))
    await place(store)
    with pytest.raises(DuplicateKey):
        await store.commit([Write(update(table).where(table.c.id == "b").values(turn=0))])


async def test_a_key_whose_turn_nobody_passed_on_is_found(store: Store) -> None:
    await write(store, keyed("a"), keyed("b"), keyed("c", "k2"))
    await place(store)
    await store.commit([outbox.confirm(["a"])])  # and whoever did it died
    await place(store)
    assert await due(store, NOW) == ["c"]
    assert await turns.forgotten(store, 10) == [Key("notifications", "mail", "k")]
    await store.commit(turns.pass_on(await turns.forgotten(store, 10)))
    assert sorted(await due(store, NOW)) == ["b", "c"]
    assert await turns.forgotten(store, 10) == []


async def test_callers_that_commit_at_once_while_turns_are_given_never_put_two_in_flight(store: Store) -> None:
    """Each caller waits for one commit before its next: of one caller the order is exact."""
    rng, taken = random.Random(7), []
    print("seed 7")

    async def caller(name: str) -> None:
        for n in range(20):
            await write(store, keyed(f"{name}-{n:02}", rng.choice("xyz")))

    async def consumer(callers: "asyncio.Future[object]") -> None:
        while not callers.done() or await turns.newcomers(store, 1) or await due(store, NOW):
            await place(store)
            found = await outbox.due(store, ("notifications", "mail"), NOW, 100)
            assert len({each.order_key for each in found}) == len(found)
            for each in found:
                taken.append(each)
                await confirm(store, each.id)

    callers = asyncio.gather(*(caller(name) for name in "abcd"))
    await asyncio.gather(consumer(callers), callers)
    assert len(taken) == 80
    for name in "abcd":
        for key in "xyz":
            mine = [each.id for each in taken if each.order_key == key and each.id.startswith(name)]
            assert mine == sorted(mine)
