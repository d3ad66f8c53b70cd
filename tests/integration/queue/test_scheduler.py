"""Each tick of a schedule is one message, on each database, over replicas and restarts."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from laneway.contract.model import Contract, Method
from laneway.lanes.queue.scheduler import Scheduler
from laneway.store import Store, migrations, outbox
from laneway.store.outbox import OutboxMessage
from laneway.telemetry import names
from laneway.telemetry.tracing import Tracing
from tests.fixtures.protos import service_of
from tests.fixtures.shelf import Clock

HOUR = 3600.0

BODY = """
service Shelf {{
  rpc Sweep(Request) returns (Reply) {{
    option (laneway.v1.call) = {{
      idempotency {{key: "request_id"}} queue {{priority: LOW schedule {{cron: "{cron}" {missed}}}}}
    }};
  }}
}}
"""


def sweep(folder: Path, cron: str = "0 * * * *", missed: str = "") -> Method:
    [method] = Contract.of([service_of(folder, BODY.format(cron=cron, missed=missed))])
    return method


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    place = f"sqlite:///{tmp_path}/x.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    migrations.migrate(place)
    yield place


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    opened = await Store.open(url, pool=4)
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock(1_700_000_000 // 3600 * 3600 + 60.0)  # a minute past the hour


@pytest.fixture
def replica(store: Store, tmp_path: Path, clock: Clock) -> Callable[..., Scheduler]:
    """Makes a replica's scheduler, as it is after a start."""

    def make(**contract: str) -> Scheduler:
        tracing = Tracing("shelf", "shelf-1", None)
        return Scheduler(store, [sweep(tmp_path, **contract)], tracing=tracing, clock=clock)

    return make


async def messages(store: Store) -> list[OutboxMessage]:
    found = await outbox.due(store, ("shelf", "default"), 1e12, 1000)
    return sorted(found, key=lambda each: each.headers[names.SCHEDULED_AT])


async def test_nothing_is_made_up_for_before_the_first_start(store, replica) -> None:
    scheduler = replica()
    await scheduler.tick()
    await scheduler.tick()
    assert await messages(store) == []


async def test_a_tick_is_a_message_that_is_due_at_once_under_a_key(store, replica, clock, tmp_path) -> None:
    scheduler = replica()
    await scheduler.tick()
    clock.now += HOUR
    await scheduler.tick()
    [message] = await messages(store)
    tick = clock.now - 60
    assert (message.due_at, message.headers[names.SCHEDULED_AT]) == (clock.now, f"{tick:.0f}")
    assert sweep(tmp_path).input.FromString(message.payload).request_id == message.id
    assert "traceparent" in message.headers
    assert message.priority == 6


async def test_replicas_that_tick_at_once_write_one_message_for_each_tick(store, replica, clock) -> None:
    replicas = [replica() for _ in range(4)]
    for _ in range(5):
        await asyncio.gather(*(each.tick() for each in replicas))
        clock.now += HOUR
    await asyncio.gather(*(each.tick() for each in replicas))
    ticks = [message.headers[names.SCHEDULED_AT] for message in await messages(store)]
    first = clock.now - 60 - 4 * HOUR
    assert ticks == [f"{first + n * HOUR:.0f}" for n in range(5)]


async def test_a_restart_neither_repeats_nor_loses_a_tick(store, replica, clock) -> None:
    await replica().tick()
    for _ in range(3):
        clock.now += HOUR
        for _ in range(2):
            await replica().tick()
    assert len(await messages(store)) == 3


async def test_ticks_that_nobody_saw_are_one_message_at_the_last_of_them(store, replica, clock) -> None:
    await replica().tick()
    clock.now += 9 * HOUR
    await replica().tick()
    [message] = await messages(store)
    assert message.headers[names.SCHEDULED_AT] == f"{clock.now - 60:.0f}"


async def test_or_each_of_them_if_the_contract_says_so(store, replica, clock) -> None:
    await replica(missed="missed: EACH").tick()
    clock.now += 250 * HOUR
    scheduler = replica(missed="missed: EACH")
    while await scheduler.tick():
        pass
    assert len({message.id for message in await messages(store)}) == 250


async def test_another_expression_begins_when_it_is_first_seen(store, replica, clock) -> None:
    await replica().tick()
    clock.now += HOUR / 2
    changed = replica(cron="1-31 * * * *")  # by it, ticks have passed since the old one's last
    await changed.tick()
    assert await messages(store) == []
    clock.now += HOUR / 2
    await changed.tick()
    assert len(await messages(store)) == 1


async def test_a_tick_that_comes_again_is_the_same_message(store, replica, clock) -> None:
    await replica().tick()
    clock.now += HOUR
    await replica().tick()
    before = await messages(store)
    await replica(cron="1-31 * * * *").tick()
    clock.now -= HOUR  # the clock of another replica, which has the old expression still
    await replica().tick()
    clock.now += HOUR
    await replica().tick()
    assert await messages(store) == before
    await store.commit([outbox.confirm([each.id for each in before])])
    await replica().tick()
    assert [each.id for each in await messages(store)] == [each.id for each in before]
