"""Views on every database: they follow the log, are rebuilt beside, and stand still only where an event fails."""

import asyncio
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import BytesValue, StringValue
from sqlalchemy import func, select

from laneway.domain.upcasting import VERSION, Upcaster, Upcasters
from laneway.errors import Unavailable
from laneway.history import projector as module
from laneway.history.projector import Projector
from laneway.store import Store, VersionConflict, events, projections
from laneway.store.events import ANY, NewEvent
from laneway.store.projections import State
from laneway.telemetry.metrics import Metrics
from tests.fixtures.talk import WORD, Louder, Talk, WordCount, talk_on, words


async def states(talk: Talk) -> list[tuple[int, State]]:
    return [(each.generation, each.state) for each in await projections.generations(talk.store, "words")]


async def test_a_view_begins_at_the_first_event_and_follows_the_log(talk: Talk) -> None:
    await talk.say("a", "b", "a")
    keeper = talk.projector(WordCount())

    await talk.settle(keeper)
    assert await talk.seen() == {"a": 2, "b": 1}
    await talk.say("b", stream="talk/2")
    await talk.say("b", type="google.protobuf.Duration")
    await talk.settle(keeper)

    assert await talk.seen() == {"a": 2, "b": 2}


async def test_a_view_sees_what_became_one_of_its_events(talk: Talk) -> None:
    became = Upcaster(BytesValue, 1, lambda old: StringValue(value=old.value.decode()), becomes=StringValue)
    keeper = Projector(
        talk.store, WordCount(), holder="me", metrics=Metrics(), upcasters=Upcasters([became]), clock=talk.clock
    )
    old = NewEvent("old", BytesValue.DESCRIPTOR.full_name, BytesValue(value=b"a").SerializeToString(), talk.clock.now)
    await talk.store.commit(events.append("talk/1", ANY, [old]))
    await talk.settle(keeper)

    assert await talk.seen() == {"a": 1}


async def test_a_generation_that_has_retired_takes_nothing_more(talk: Talk) -> None:
    """Or a keeper that has slept meanwhile would leave rows behind that nobody sweeps."""
    await talk.settle(talk.projector(WordCount()))
    await talk.store.commit([projections.begin("words", 2, 1, now=0.0)])
    before, new = await projections.generations(talk.store, "words")
    await talk.store.commit(projections.go_live(new, 0.0))

    with pytest.raises(VersionConflict):
        await talk.store.commit([projections.advance(before, before.cursor, 0)])


async def test_the_rows_of_what_has_retired_are_removed(talk: Talk) -> None:
    await talk.say("a", "b")
    await talk.settle(talk.projector(WordCount()))
    await talk.settle(talk.projector(Louder()))
    await talk.settle(talk.projector(Louder()))

    assert {row.word for row in await talk.store.fetch(select(words))} == {"A", "B"}


async def test_an_empty_log_is_an_empty_view_that_is_up_to_date(talk: Talk) -> None:
    await talk.settle(talk.projector(WordCount()))

    assert (await states(talk), await talk.seen()) == ([(1, State.LIVE)], {})


async def test_more_events_than_a_batch_are_seen_once(talk: Talk) -> None:
    keeper = talk.projector(WordCount(), batch=3)
    await talk.say(*"abcab" * 2)
    await talk.settle(keeper)
    await talk.say(*"abcab" * 2)
    await talk.settle(keeper)

    assert await talk.seen() == {"a": 8, "b": 8, "c": 4}
    [live] = await projections.generations(talk.store, "words")
    assert live.applied == 20


async def test_of_keepers_at_once_none_applies_an_event_twice(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.01)
    monkeypatch.setattr(module._Lease, "held", _everybody)
    keepers = [asyncio.create_task(talk.projector(WordCount(), holder=str(at), batch=2).run()) for at in range(3)]
    for at in range(30):
        await talk.say("a", stream=f"talk/{at}")

    async with asyncio.timeout(30):
        while (await talk.seen()).get("a", 0) < 30:
            await asyncio.sleep(0.01)
    for keeper in keepers:
        keeper.cancel()
    await asyncio.gather(*keepers, return_exceptions=True)

    assert await talk.seen() == {"a": 30}


async def _everybody(_: object) -> bool:
    return True


async def test_a_second_keeper_waits_until_the_first_is_gone(talk: Talk) -> None:
    first, second = talk.projector(WordCount(), holder="first"), talk.projector(WordCount(), holder="second")

    assert [await first._hold_lease(), await second._hold_lease()] == [True, False]
    talk.clock.now += module.LEASE + 1
    assert await second._hold_lease()
    assert not await first._hold_lease()
    await second.hand_over()
    assert await first._hold_lease()


# Rebuilding


async def test_a_new_version_of_the_code_rebuilds_beside_what_is_read(talk: Talk) -> None:
    await talk.say("a", "b", "a")
    await talk.settle(talk.projector(WordCount()))
    keeper, seen = talk.projector(Louder(), batch=2), []

    more = True
    while more:
        more = await keeper.go_round()
        seen.append(await talk.seen())

    assert seen == [{"a": 2, "b": 1}, {"A": 2, "B": 1}], "readers change over in one step"
    await keeper.go_round()
    assert await states(talk) == [(2, State.LIVE)], "and the old rows are gone"


async def test_the_code_of_before_leaves_a_newer_view_alone(talk: Talk) -> None:
    await talk.say("a")
    await talk.settle(talk.projector(Louder()))

    assert not await talk.projector(WordCount()).go_round()

    assert (await talk.seen(), await states(talk)) == ({"A": 1}, [(1, State.LIVE)])


async def test_a_rebuild_by_hand_mends_a_view_while_it_is_followed(talk: Talk) -> None:
    await talk.say("a", "b")
    running = talk.projector(WordCount(), holder="service")
    await talk.settle(running)
    await talk.store.commit([_spoil()])
    assert await talk.seen() == {"a": 99, "b": 1}

    told: list[int] = []
    done = await talk.projector(WordCount(), holder="by hand").rebuild(
        lambda generation: told.append(generation.applied)
    )

    assert (done.generation, done.state, told[-1], await talk.seen()) == (2, State.LIVE, 2, {"a": 1, "b": 1})
    await talk.say("b")
    await talk.settle(running)
    assert await talk.seen() == {"a": 1, "b": 2}


def _spoil() -> object:
    from sqlalchemy import update

    from laneway.store import Write
    from tests.fixtures.talk import words

    return Write(update(words).where(words.c.word == "a").values(times=99))


async def test_a_rebuild_by_hand_takes_over_from_the_service_which_follows_meanwhile(talk: Talk) -> None:
    await talk.say(*"abc" * 3)
    service, by_hand = (
        talk.projector(WordCount(), holder="service"),
        talk.projector(WordCount(), holder="by hand", batch=4),
    )
    await talk.settle(service)
    assert await by_hand._rebuilding.held()
    await by_hand._begin(await projections.generations(talk.store, "words"))

    assert await service._turn() == module.PAUSE
    assert await states(talk) == [(1, State.LIVE), (2, State.BUILDING)], "the other has the rebuild"
    await talk.say("a")
    await service._turn()
    assert (await talk.seen())["a"] == 4, "what is read is followed"
    while (await states(talk))[-1] == (2, State.BUILDING):
        await by_hand._turn(keep=False)
    assert await talk.seen() == {"a": 4, "b": 3, "c": 3}


# What fails


@pytest.mark.parametrize(
    "poison",
    ["unspeakable", "too much", "nonsense"],
    ids=["a mistake in the code", "refused by the database", "a change that is none"],
)
async def test_an_event_that_fails_holds_its_stream_and_no_other(talk: Talk, poison: str) -> None:
    await talk.say("before", poison, "after", stream="talk/bad")
    await talk.say("a", stream="talk/good")
    keeper = talk.projector(WordCount())
    await talk.settle(keeper)
    await talk.say("later", stream="talk/bad")
    await talk.say("a", stream="talk/good")
    await talk.settle(keeper)

    [held] = await projections.holds(talk.store, "words")

    assert (held.stream, held.version) == ("talk/bad", 2)
    assert await talk.seen() == {"before": 1, "a": 2}


async def test_what_was_held_back_follows_in_order_when_the_code_is_mended(talk: Talk) -> None:
    await talk.say("before", "unspeakable", "after", stream="talk/bad")
    await talk.settle(talk.projector(WordCount()))
    await talk.say("later", stream="talk/bad")

    mended = talk.projector(WordCount(forgiving=True))
    assert await mended._hold_lease()
    await talk.settle(mended)

    assert await projections.holds(talk.store, "words") == []
    assert await talk.seen() == {"before": 1, "unspeakable": 1, "after": 1, "later": 1}


async def test_a_stream_with_a_second_mistake_is_held_from_there_on(talk: Talk) -> None:
    await talk.say("unspeakable", "between", "too much", "after", stream="talk/bad")
    await talk.settle(talk.projector(WordCount()))

    mended = talk.projector(WordCount(forgiving=True))
    await talk.settle(mended)
    await talk.say("a", stream="talk/good")
    await talk.settle(mended)

    [held] = await projections.holds(talk.store, "words")
    assert held.stream == "talk/bad"
    assert (await talk.seen())["a"] == 1


# What is told


async def test_the_lag_is_told_and_who_does_not_keep_the_view_tells_none(talk: Talk) -> None:
    metrics = Metrics()
    keeper = talk.projector(WordCount(), metrics, batch=2)
    await talk.settle(keeper)
    await talk.say("a", "unspeakable", "b", "c")
    talk.clock.now += 7

    await keeper.go_round()
    assert sample(metrics, "laneway_projection_lag_seconds") == 7
    await talk.settle(keeper)
    assert sample(metrics, "laneway_projection_lag_seconds") == 0
    await keeper.go_round()
    assert sample(metrics, "laneway_projection_held_streams") == 1
    assert sample(metrics, "laneway_projection_events_total") == 4

    assert await talk.projector(WordCount(), holder="another")._hold_lease()
    assert not await keeper._hold_lease()
    assert sample(metrics, "laneway_projection_lag_seconds") is None


async def test_a_view_that_waits_for_newer_code_is_late(talk: Talk) -> None:
    metrics = Metrics()
    keeper = talk.projector(WordCount(), metrics)
    await talk.settle(keeper)
    newer = NewEvent("newer", WORD, b"", talk.clock.now, {VERSION: "2"})
    await talk.store.commit(events.append("talk/2", ANY, [newer]))
    talk.clock.now += 9

    with pytest.raises(Unavailable, match="a newer version"):
        await keeper.go_round()
    assert sample(metrics, "laneway_projection_lag_seconds") == 9


async def test_a_view_is_late_while_a_transaction_that_runs_withholds_events_from_it(
    postgres_store: Store, tmp_path: Path
) -> None:
    talk, metrics = await talk_on(postgres_store, tmp_path), Metrics()
    keeper = talk.projector(WordCount(), metrics)
    await talk.settle(keeper)
    async with await postgres_store.begin() as long:
        await long.fetch(select(func.txid_current()))
        await talk.say("a")
        talk.clock.now += 9
        await keeper.go_round()
        assert (await talk.seen(), sample(metrics, "laneway_projection_lag_seconds")) == ({}, 9)
    await keeper.go_round()
    assert (await talk.seen(), sample(metrics, "laneway_projection_lag_seconds")) == ({"a": 1}, 0)


def sample(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(name, {"view": "words"})
