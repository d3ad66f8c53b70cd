"""Inventory says nothing at all, and nobody is told: its processes stop where they are, with their connections open.

Orders arrive meanwhile, and calls that need nothing of it. Measures what those feel, when the breaker opens, and how
long any transaction in the shop's databases lasts.
"""

import asyncio
import os
import re
import signal
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import httpx
import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from laneway.cli import discovery
from tests.fixtures.shop import RunningShop, at_rest

ORDERS_A_SECOND = 8
OTHERS_A_SECOND = 20
"""What a machine of two cores bears: on one that has too much to do, a call reaches inventory long after it arrived."""

LASTS = 4.0
"""Seconds of a black hole, and of the time before it."""

LOOK = 0.01
"""Seconds between looks at the transactions."""

SCRAPE = 0.1
"""Seconds between looks at the breaker: each costs the very process that is to open it a page of metrics."""

SILENT = "inventory"
"""The service that says nothing."""

PATIENCE = 60.0
PREFIX = "hole_"
"""Of the names of the shop's databases."""

ORDER = {"lines": [{"product": "products/lamp", "quantity": 1}], "email": "a@b.example", "cardToken": "visa"}
OTHERS = ("/v1/products/lamp", "/v1/orders?page_size=5")

_BREAKER = re.compile(r'^laneway_breaker_state\{target="inventory/[^"]*CheckStock"\} (\S+)$', re.MULTILINE)
_OLDEST = """
    SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float FROM pg_stat_activity
    WHERE starts_with(datname, %s) AND backend_type = 'client backend' AND pid <> pg_backend_pid()
    AND right(datname, length(%s)) <> %s
"""
"""Not those of inventory itself: what a process has open when it is stopped is open for as long."""


@dataclass
class Felt:
    """What the shop felt; times in seconds. `oldest` are the oldest transactions of each round, in all the databases
    but that of inventory.
    """

    opened_after: list[float] = field(default_factory=list)
    before: list[float] = field(default_factory=list)
    during: list[float] = field(default_factory=list)
    oldest: list[float] = field(default_factory=list)
    orders: dict[str, int] = field(default_factory=lambda: {"ok": 0, "degraded": 0, "failed": 0})
    """What became of the orders that were placed while it lasted."""

    @property
    def p99_ratio(self) -> float:
        """How much longer the calls took that needed nothing of inventory."""
        return percentile(self.during) / percentile(self.before)


def percentile(times: list[float], share: float = 0.99) -> float:
    return sorted(times)[int(len(times) * share)]


@contextmanager
def databases(server: str) -> Iterator[Mapping[str, str]]:
    """A database for each service on a PostgreSQL server: the settings that say so."""
    names = {service: f"{PREFIX}{uuid.uuid4().hex[:8]}_{service}" for service in discovery.service_names()}
    with psycopg.connect(server, autocommit=True) as connection:
        try:
            for name in names.values():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            yield {
                f"LANEWAY_DATABASES__{service}": make_url(server)
                .set(database=name)
                .render_as_string(hide_password=False)
                for service, name in names.items()
            }
        finally:
            for name in names.values():
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


async def feel(shop: RunningShop, server: str, *, rounds: int) -> Felt:
    """Let inventory fall silent, again and again; the shop's databases are on `server`."""
    felt = Felt()
    async with (
        httpx.AsyncClient(base_url=shop.url, timeout=10, limits=httpx.Limits(max_connections=None)) as client,
        await psycopg.AsyncConnection.connect(server, autocommit=True) as watching,
    ):
        for number in range(rounds + 1):
            before: list[float] = []
            async with _busy(client, before, {}):
                await asyncio.sleep(LASTS)
            await at_rest(client, PATIENCE)  # what is left of one time must not be felt in the next
            if not number:
                continue  # the first is for warming up
            felt.before += before
            with _silent(shop):
                begin = time.monotonic()
                async with _busy(client, felt.during, felt.orders):
                    opening = asyncio.create_task(_opens(shop, begin))
                    felt.oldest.append(await _oldest(watching, until=begin + LASTS))
                    felt.opened_after.append(await opening)
            await _well_again(client)
            await at_rest(client, PATIENCE)
    return felt


@contextmanager
def _silent(shop: RunningShop) -> Iterator[None]:
    pids = [shop.state["processes"][name]["pid"] for name in (SILENT, f"{SILENT}-worker")]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def _busy(client: httpx.AsyncClient, times: list[float], orders: dict[str, int]) -> AsyncIterator[None]:
    """Calls arrive at their rates, whether or not those before them were answered; all have ended at its end."""
    others = iter(range(1_000_000))

    async def other() -> None:
        begin = time.monotonic()
        (await client.get(OTHERS[next(others) % len(OTHERS)])).raise_for_status()
        times.append(time.monotonic() - begin)

    async def order() -> None:
        outcome = await place(client)
        orders[outcome] = orders.get(outcome, 0) + 1

    async with asyncio.TaskGroup() as calls:
        arriving = [
            asyncio.create_task(_arrive(calls, call, rate))
            for call, rate in ((order, ORDERS_A_SECOND), (other, OTHERS_A_SECOND))
        ]
        try:
            yield
        finally:
            for task in arriving:
                task.cancel()


async def _arrive(calls: asyncio.TaskGroup, call: Callable[[], Awaitable[None]], rate: float) -> None:
    due = time.monotonic()
    while True:
        calls.create_task(_awaited(call))
        due += 1 / rate
        await asyncio.sleep(due - time.monotonic())


async def _awaited(call: Callable[[], Awaitable[None]]) -> None:
    await call()


async def place(client: httpx.AsyncClient) -> str:
    """Place an order; what became of it."""
    answer = await client.post("/v1/orders", json=ORDER, headers={"Idempotency-Key": str(uuid.uuid4())})
    if answer.is_error:
        return "failed"
    return "degraded" if "laneway-degraded" in answer.headers else "ok"


async def _opens(shop: RunningShop, begin: float) -> float:
    """Seconds until the breaker of orders has opened."""
    metrics = shop.state["processes"]["orders"]["admin"] + "/metrics"
    async with httpx.AsyncClient() as client, asyncio.timeout(PATIENCE):
        while True:
            state = _BREAKER.search((await client.get(metrics)).text)
            if state is not None and float(state[1]) > 0:
                return time.monotonic() - begin
            await asyncio.sleep(SCRAPE)


async def _oldest(watching: "psycopg.AsyncConnection[tuple[float]]", *, until: float) -> float:
    oldest = 0.0
    while time.monotonic() < until:
        cursor = await watching.execute(_OLDEST, [PREFIX, *2 * [f"_{SILENT}"]])
        oldest = max(oldest, *(age for (age,) in await cursor.fetchall()))
        await asyncio.sleep(LOOK)
    return oldest


async def _well_again(client: httpx.AsyncClient) -> None:
    """Wait until orders are placed as ever."""
    async with asyncio.timeout(PATIENCE):
        while await place(client) != "ok":
            await asyncio.sleep(0.1)
