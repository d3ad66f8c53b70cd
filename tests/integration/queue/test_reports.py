"""What workers report, from the broker's list to the rows: nothing of it is taken before it is settled, or left after."""

import asyncio
from typing import Any

import pytest

from laneway.lanes.operation import PUBLISH_GRACE
from laneway.lanes.queue.broker import Outcome, Report
from laneway.store import subscriptions
from laneway.store.events import NewEvent, append
from tests.integration.queue.conftest import WINDOW, Lane

LIST = "laneway:reports:shelf"


async def done(lane: Lane, id: str) -> None:
    await lane.broker.report("shelf", Report(id=id, outcome=Outcome.DONE), enqueued_at=0.0)


async def test_a_wake_that_comes_while_the_relay_is_at_work_ends_its_next_wait(lane: Lane) -> None:
    await lane.broker.wake("shelf")
    async with lane.broker.reports("shelf", wait=1):
        await lane.broker.wake("shelf")
    async with asyncio.timeout(10), lane.broker.reports("shelf", wait=60) as reports:
        assert reports == []


async def test_of_two_relays_that_read_the_same_neither_takes_what_it_has_not_read(lane: Lane) -> None:
    await done(lane, "m1")
    async with lane.broker.reports("shelf", wait=1) as slow:
        async with lane.broker.reports("shelf", wait=1) as quick:
            assert slow == quick
        await done(lane, "m2")
    async with lane.broker.reports("shelf", wait=0.01) as left:
        assert [each.id for each in left] == ["m2"]


async def test_wakes_and_what_is_no_report_are_not_read_again(lane: Lane) -> None:
    await lane.broker.wake("shelf")
    await lane.broker._client.rpush(LIST, b"garbage")
    await lane.settle()
    assert await lane.broker._client.llen(LIST) == 0, "the relay would never wait again"


async def test_what_has_ended_is_not_published_again_in_the_round_that_hears_of_it(lane: Lane) -> None:
    await lane.start("m1")
    lane.shelf.clock.now += PUBLISH_GRACE
    await done(lane, "m1")
    await lane.relay.go_round()
    assert await lane.take() is None


async def test_subscribers_are_served_before_what_has_ended_is_settled(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened, served = lane.shelf.method("On"), []
    name = happened.input.DESCRIPTOR.full_name
    subscribe = subscriptions.register(
        happened.full_name, service="shelf", queue="default", event_type=name, from_start=True, now=0.0
    )
    event = NewEvent("e", name, happened.input(name="x").SerializeToString(), 0.0)
    await lane.shelf.store.commit([subscribe, *append("s", 0, [event])])
    await done(lane, "m1")

    async def settle(reports: Any) -> None:
        served.append((len(reports), await lane.broker.room(["shelf.default"])))

    monkeypatch.setattr(lane.relay, "settle", settle)
    await lane.relay.go_round()
    assert served == [(1, [WINDOW - 1])]
