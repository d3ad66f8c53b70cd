"""From a commit to a subscriber's handler, in the shop as `laneway up` runs it, by the spans of its traces.

Fulfilment commits that an order has shipped; orders, which subscribes to it, begins to run. In a shop that has time,
and in one that takes as many orders as it can.
"""

import asyncio
import tempfile
import uuid
from pathlib import Path

import httpx

from laneway.cli import traces
from laneway.cli.embedded.spans import SpanRecord
from laneway.errors import LanewayError
from tests.benchmarks.figures import Figure, limit
from tests.benchmarks.walk import ORDER
from tests.fixtures.shop import RunningShop, at_rest

GOAL = 25.0
"""Milliseconds."""

QUIET_ORDERS, PACE = 200, 0.3
"""Orders one after the other, and seconds between them: each costs the whole shop 0.15 s of a processor."""

LOADED_ORDERS, IN_FLIGHT = 300, 8
PATIENCE = 120.0
WARM = 10
"""Orders that are not counted."""


def figures() -> list[Figure]:
    """Of a shop that has time, and of one that is full of orders."""
    with tempfile.TemporaryDirectory() as folder:
        shop = RunningShop(Path(folder))
        try:
            return asyncio.run(_measured(shop))
        finally:
            shop.stop()


async def _measured(shop: RunningShop) -> list[Figure]:
    async with httpx.AsyncClient(base_url=shop.url, timeout=60) as client:
        quiet = await _orders(client, QUIET_ORDERS, at_once=1, pause=PACE)
        await at_rest(client, PATIENCE)
        loaded = await _orders(client, LOADED_ORDERS, at_once=IN_FLIGHT, pause=0.0)
        await at_rest(client, PATIENCE)
    return [
        *_rows("a shop that has time", await _delays(shop.data, quiet[WARM:])),
        *_rows(f"a shop with {IN_FLIGHT} orders in flight", await _delays(shop.data, loaded)),
    ]


async def _orders(client: httpx.AsyncClient, number: int, *, at_once: int, pause: float) -> list[str]:
    """Place orders; the ids of their traces."""
    found: list[str] = []
    left = iter(range(number))

    async def customer() -> None:
        for _ in left:
            answer = await client.post("/v1/orders", json=ORDER, headers={"Idempotency-Key": str(uuid.uuid4())})
            found.append(traces.named(answer.raise_for_status().headers["traceparent"]))
            await asyncio.sleep(pause)

    await asyncio.gather(*(customer() for _ in range(at_once)))
    return found


async def _delays(data: Path, ids: list[str]) -> list[float]:
    """Milliseconds of each trace, as soon as its spans have been exported."""
    delays = []
    async with asyncio.timeout(PATIENCE):
        for id in ids:
            while (delay := await asyncio.to_thread(_delay, id, data)) is None:
                await asyncio.sleep(0.1)
            delays.append(delay)
    return sorted(delays)


def _delay(id: str, data: Path) -> float | None:
    """From the end of the COMMIT to the beginning of the subscriber's run."""
    try:
        spans = traces.fetch_trace(id, data)
    except LanewayError:
        return None
    for told in spans:
        if told.service == "fulfilment" and told.name == "publish orders.events":
            runs = [span for span in spans if span.parent_id == told.span_id and span.kind == "consumer"]
            commits = [span for span in spans if span.parent_id == told.parent_id and span.name == "COMMIT"]
            if runs and commits:
                return (_first(runs).start - _first(commits).end) / 1e6
    return None


def _first(spans: list[SpanRecord]) -> SpanRecord:
    return min(spans, key=lambda span: span.start)


def _rows(where: str, delays: list[float]) -> list[Figure]:
    work = f"commit → subscriber's handler, {{}}, {where}"
    return [
        limit(work.format("p50"), delays[len(delays) // 2], GOAL),
        limit(work.format("p99"), delays[int(len(delays) * 0.99)], GOAL),
    ]
