"""Cancelling what speaks with the broker ends it, whenever the cancellation comes."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from laneway.lanes.queue.valkey import ValkeyBroker
from laneway.scaling.signals import Source, Workers
from laneway.scaling.signals.valkey import ValkeySignals

TURNS = 60
"""Of the event loop, after each of which one run is cancelled: connecting and asking take fewer."""


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
    await asyncio.sleep(0.0001 * (count % 20))


async def of_the_broker(url: str) -> tuple[Callable[[], Awaitable[object]], Callable[[], Awaitable[None]]]:
    broker = ValkeyBroker(url, window=5)
    return lambda: broker.room(["a.b"]), broker.close


async def of_the_signals(url: str) -> tuple[Callable[[], Awaitable[object]], Callable[[], Awaitable[None]]]:
    signals = ValkeySignals(url)
    source = Source(pool="a", queues=("a.b",), workers=Workers.LANEWAY)
    return lambda: signals.read([source]), signals.close


@pytest.mark.parametrize("of", [of_the_broker, of_the_signals])
async def test_no_cancellation_is_lost(
    of: Callable[..., Awaitable[tuple[Callable, Callable]]], valkey_url: str
) -> None:
    for count in range(TURNS):
        ask, close = await of(valkey_url)
        cancelled, went_on = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(_ask_on(ask, cancelled, went_on))
        await turns(count)
        if task.cancel():
            cancelled.set()
        await asyncio.gather(task, return_exceptions=True)
        await close()
        assert not went_on.is_set(), f"cancelled after {count} turns, it went on asking"


async def _ask_on(ask: Callable[[], Awaitable[object]], cancelled: asyncio.Event, went_on: asyncio.Event) -> None:
    while not went_on.is_set():
        await ask()
        if cancelled.is_set():
            went_on.set()
