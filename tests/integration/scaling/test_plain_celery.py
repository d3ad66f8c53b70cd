"""Signals of an application that has never heard of Laneway, against kombu's own layout and real workers."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from celery import Celery

from laneway.scaling.leave import leave
from laneway.scaling.model import Reading, Unknown
from laneway.scaling.signals import Layout, Source
from laneway.scaling.signals.valkey import ValkeySignals
from tests.fixtures.proxy import proxy
from tests.fixtures.valkey import Server
from tests.integration.scaling.conftest import PlainWorkers, Until, hold, nap, producer

# Workers of two runs of the tests on one machine must not meet on the socket where they are asked to leave.
ONE, TWO = (f"{name}-{os.getpid()}" for name in ("one", "two"))
SOURCE = Source(pool="p", queues=("plain",), pods=(ONE, TWO), layout=Layout(priority_steps=(0, 5)))


class Eyes:
    def __init__(self, signals: ValkeySignals) -> None:
        self.signals = signals
        self.source = SOURCE

    async def look(self) -> Reading:
        reading = (await self.signals.read([self.source]))["p"]
        assert isinstance(reading, Reading), reading
        return reading

    async def active(self) -> int:
        return (await self.look()).active


@pytest.fixture
async def eyes(valkey_url: str) -> AsyncIterator[Eyes]:
    signals = ValkeySignals(valkey_url)
    yield Eyes(signals)
    await signals.close()


async def test_messages_of_every_priority_wait(eyes: Eyes, plain: Celery) -> None:
    for priority in (0, 5, 9, 9):
        nap(plain, 0, priority=priority)

    reading = await eyes.look()
    assert (reading.waiting, reading.held, reading.orphans) == (4, 0, 0)


async def test_a_prefix_stands_before_every_key(
    eyes: Eyes, valkey_url: str, workers: PlainWorkers, until: Until
) -> None:
    eyes.source = replace(SOURCE, layout=replace(SOURCE.layout, global_keyprefix="team:"))
    with producer(valkey_url, "team:") as app:
        for _ in range(3):
            nap(app, 60)
    assert (await eyes.look()).waiting == 3

    workers.start(ONE, prefix="team:")

    async def two_run() -> bool:
        return (await eyes.active(), (await eyes.look()).waiting) == (2, 1)

    await until(two_run)
    await eyes.signals.drain(eyes.source, [ONE])

    async def it_drains() -> bool:
        return (await eyes.look()).workers[0].draining

    await until(it_drains)


async def test_a_worker_says_what_it_runs_and_what_it_has_done(
    eyes: Eyes, plain: Celery, workers: PlainWorkers, until: Until
) -> None:
    workers.start(ONE)
    for seconds in (0.5, 0.5, 0.5, 0.5, 60, 60):
        nap(plain, seconds)

    async def the_long_ones_run() -> bool:
        reading = await eyes.look()
        return bool(reading.workers) and reading.workers[0].shares["plain"].processed == 4 and reading.active == 2

    await until(the_long_ones_run)
    [worker] = (await eyes.look()).workers
    share = worker.shares["plain"]
    assert (worker.pod, worker.slots, share.reserved) == (ONE, 2, 0)
    assert 1.8 < share.busy_seconds < 8, "four half seconds, and a moment of the long ones"
    assert worker.startup_seconds is not None
    assert 0 < worker.startup_seconds < 30


@pytest.mark.parametrize("pool", ["threads", "prefork"])
async def test_a_drained_worker_finishes_takes_nothing_and_consumes_again_when_it_may(
    eyes: Eyes, plain: Celery, valkey_url: str, until: Until, pool: str, tmp_path: Path
) -> None:
    workers = PlainWorkers(valkey_url, pool=pool)
    try:
        workers.start(ONE)
        hold(plain, tmp_path / "released")

        async def it_runs() -> bool:
            return await eyes.active() == 1

        await until(it_runs)
        await eyes.signals.drain(SOURCE, [ONE])

        async def it_drains() -> bool:
            return (await eyes.look()).workers[0].draining

        await until(it_drains)
        for _ in range(5):
            nap(plain, 0)
        (tmp_path / "released").touch()

        async def it_is_idle() -> bool:
            reading = await eyes.look()
            return reading.workers[0].held == 0

        await until(it_is_idle)
        reading = await eyes.look()
        assert (reading.waiting, reading.workers[0].shares["plain"].processed) == (5, 1)

        await eyes.signals.undrain(SOURCE, [ONE])

        async def all_done() -> bool:
            reading = await eyes.look()
            return (reading.waiting, reading.workers[0].shares["plain"].processed) == (0, 6)

        await until(all_done)
        assert not (await eyes.look()).workers[0].draining
        workers.stop(ONE)
    finally:
        workers.kill_all()


async def test_a_worker_that_starts_again_still_obeys_the_drain(
    eyes: Eyes, plain: Celery, workers: PlainWorkers, until: Until
) -> None:
    await eyes.signals.drain(SOURCE, [ONE])
    workers.start(ONE)
    nap(plain, 0)

    async def it_drains() -> bool:
        reading = await eyes.look()
        return bool(reading.workers) and reading.workers[0].draining and reading.workers[0].startup_seconds is not None

    await until(it_drains)
    reading = await eyes.look()
    assert (reading.waiting, reading.drained) == (1, {ONE})
    assert reading.workers[0].shares["plain"].processed == 0


async def test_a_paused_queue_is_taken_from_by_nobody_until_it_is_resumed(
    eyes: Eyes, plain: Celery, workers: PlainWorkers, until: Until
) -> None:
    await eyes.signals.pause(SOURCE)
    workers.start(ONE)

    async def it_reports() -> bool:
        reading = await eyes.look()
        return bool(reading.workers) and reading.workers[0].startup_seconds is not None

    await until(it_reports)
    nap(plain, 0)
    reading = await eyes.look()
    assert (reading.waiting, reading.queues[0].paused, reading.workers[0].draining) == (1, True, False)

    await eyes.signals.resume(SOURCE)

    async def taken() -> bool:
        return (await eyes.look()).waiting == 0

    await until(taken)


async def test_a_worker_that_is_asked_to_leave_finishes_first_and_never_consumes_again(
    eyes: Eyes, plain: Celery, workers: PlainWorkers, until: Until, tmp_path: Path
) -> None:
    workers.start(ONE)
    hold(plain, tmp_path / "released")

    async def it_runs() -> bool:
        return await eyes.active() == 1

    await until(it_runs)
    leaving = asyncio.create_task(asyncio.to_thread(leave, ONE, within=90))

    async def it_drains() -> bool:
        return (await eyes.look()).workers[0].draining

    await until(it_drains)
    assert not leaving.done(), "it still runs something"
    nap(plain, 0)
    (tmp_path / "released").touch()
    assert await leaving == ""
    reading = await eyes.look()
    assert (reading.waiting, reading.workers[0].held, reading.unacked) == (1, 0, 0)
    await eyes.signals.undrain(SOURCE, [ONE])
    workers.stop(ONE)
    assert (await eyes.look()).waiting == 1


def test_who_asks_a_worker_that_is_not_there_is_told() -> None:
    assert "has no worker that reports" in leave("nobody")


async def test_what_a_dead_worker_held_is_seen_as_orphaned(
    eyes: Eyes, plain: Celery, workers: PlainWorkers, until: Until
) -> None:
    workers.start(ONE)
    nap(plain, 60)

    async def it_runs() -> bool:
        return await eyes.active() == 1

    await until(it_runs)
    assert (await eyes.look()).orphans == 0
    workers.kill(ONE)
    eyes.source = replace(SOURCE, pods=())

    reading = await eyes.look()
    assert (reading.waiting, reading.held, reading.orphans) == (0, 0, 1)


async def test_messages_of_other_queues_in_the_same_unacked_are_not_ours(
    eyes: Eyes, plain: Celery, workers: PlainWorkers, until: Until
) -> None:
    workers.start(ONE, report=False)
    nap(plain, 60)
    eyes.source = replace(SOURCE, pods=())

    async def it_is_taken() -> bool:
        return (await eyes.look()).orphans == 1

    await until(it_is_taken)
    eyes.source = replace(SOURCE, queues=("other",), pods=())
    assert (await eyes.look()).orphans == 0


async def test_workers_that_do_not_report_are_read_from_unacked(
    valkey_url: str, plain: Celery, workers: PlainWorkers, until: Until
) -> None:
    now = 1000.0
    signals = ValkeySignals(valkey_url, clock=lambda: now)
    eyes = Eyes(signals)
    try:
        workers.start(ONE, report=False)
        nap(plain, 60)

        async def it_is_taken() -> bool:
            return (await eyes.look()).waiting == 0

        await until(it_is_taken)
        assert not (await eyes.look()).basic, "it may still be starting"
        now += 16
        reading = await eyes.look()
        assert (reading.basic, reading.held, reading.orphans) == (True, 1, 0)
        nap(plain, 0.3)

        async def one_has_ended() -> bool:
            return (await eyes.look()).finished == 1

        await until(one_has_ended)
        assert 0.2 < (await eyes.look()).held_seconds < 5
    finally:
        await signals.close()


async def test_a_broker_that_is_away_is_unknown_and_comes_back(valkey: Server) -> None:
    signals = ValkeySignals(valkey.url)
    try:
        assert isinstance((await signals.read([SOURCE]))["p"], Reading)
        valkey.kill()
        unknown = (await signals.read([SOURCE]))["p"]
        assert not isinstance(unknown, Reading)
        assert "The broker does not answer" in unknown.reason
        valkey.start()
        assert isinstance((await signals.read([SOURCE]))["p"], Reading)
    finally:
        await signals.close()


async def test_a_broker_that_hangs_is_unknown_soon_enough_to_say_it_within_five_seconds(valkey_url: str) -> None:
    async with proxy(behind=urlsplit(valkey_url).port or 0) as between:
        signals = ValkeySignals(f"redis://127.0.0.1:{between.port}/0")
        try:
            assert isinstance((await signals.read([SOURCE]))["p"], Reading)
            between.black_hole()
            begin = time.monotonic()
            assert isinstance((await signals.read([SOURCE]))["p"], Unknown)
            assert time.monotonic() - begin < 3.9, "a look begins a second later at most"
        finally:
            await signals.close()


async def test_what_cannot_be_read_is_unknown_for_that_pool_only(valkey_url: str) -> None:
    signals = ValkeySignals(valkey_url)
    try:
        await signals._client.set("broken", "not a list")
        broken = replace(SOURCE, pool="b", queues=("broken",))
        readings = await signals.read([SOURCE, broken])
        assert isinstance(readings["p"], Reading)
        assert not isinstance(readings["b"], Reading)
        assert "WRONGTYPE" in readings["b"].reason
    finally:
        await signals.close()
