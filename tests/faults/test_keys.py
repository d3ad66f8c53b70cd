"""Ten duplicates of each call at once, over the replicas of a service, while its processes are killed: one effect for each
key, and the same reply to all.

On PostgreSQL with two replicas, and on SQLite with one. `make keys KEYS=10000 KILLS=100` does it in another size.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.engine import make_url

from laneway.store import Store, Write, migrations
from laneway.telemetry import names
from shop.inventory.v1.inventory_pb2 import AdjustStockRequest, StockLevel
from shop_inventory import service as inventory
from shop_inventory.domain import stock
from tests.faults.conftest import Figure
from tests.fixtures.postgres import database
from tests.fixtures.roles import ROOT, listens
from tests.fixtures.valkey import free_port

KEYS, KILLS = int(os.environ.get("KEYS") or 300), int(os.environ.get("KILLS") or 6)
DUPLICATES = 10
AT_ONCE = 12
PATIENCE = 120.0
"""Seconds for one key to be answered ten times, kills and restarts included."""


class Replica:
    """A process of inventory's server."""

    def __init__(self, number: int, database_url: str, broker_url: str, folder: Path) -> None:
        self.port = free_port()
        self._log = folder / f"replica-{number}.log"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LANEWAY_")},
            "LANEWAY_DATABASE_URL": database_url,
            "LANEWAY_BROKER_URL": broker_url,
            "LANEWAY_GRPC_PORT": str(self.port),
            "LANEWAY_INSTANCE": f"replica-{number}",
        }
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "laneway.cli", "run", "inventory", "--role", "grpc"],
                stdout=output, stderr=output, env=self._environment, cwd=ROOT,
            )  # fmt: skip

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    async def serves(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while not listens(self.port):
                assert self._process.poll() is None, self._log.read_text(errors="replace")[-2000:]
                await asyncio.sleep(0.05)


class Callers:
    """Repeat each call until it is answered, at any replica."""

    def __init__(self, replicas: list[Replica]) -> None:
        self._channels = [grpc.aio.insecure_channel(f"127.0.0.1:{replica.port}") for replica in replicas]
        self.replayed = 0

    async def key(self, number: int) -> None:
        """Ten at once under one key."""
        calls = [self._answered(number, duplicate) for duplicate in range(DUPLICATES)]
        replies = await asyncio.gather(*calls)
        assert set(replies) == {StockLevel(product=f"products/{number}", available=1).SerializeToString()}

    async def _answered(self, number: int, turn: int) -> bytes:
        request = AdjustStockRequest(request_id=f"key-{number}", product=f"products/{number}", change=1)
        async with asyncio.timeout(PATIENCE):
            while True:
                turn += 1
                channel = self._channels[turn % len(self._channels)]
                adjust = channel.unary_unary(
                    "/shop.inventory.v1.Inventory/AdjustStock",
                    AdjustStockRequest.SerializeToString,
                    StockLevel.FromString,
                )
                call = adjust(request, timeout=5)
                try:
                    reply: bytes = (await call).SerializeToString()
                except grpc.aio.AioRpcError as error:
                    assert error.code() in _TRANSIENT, error.details()
                    await asyncio.sleep(0.05)
                    continue
                trailers = dict(await call.trailing_metadata())
                self.replayed += trailers.get(names.REPLAYED) == "true"
                return reply

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()


_TRANSIENT = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
}


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    folder = Path(inventory.__file__).with_name("migrations")
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/inventory.db"
        migrations.migrate(url, author=folder, service="inventory")
        yield url
        return
    with database(request.getfixturevalue("postgres_server")) as url:
        migrations.migrate(url, author=folder, service="inventory")
        yield url


@asynccontextmanager
async def running(database_url: str, broker_url: str, folder: Path) -> AsyncIterator[list[Replica]]:
    count = 1 if database_url.startswith("sqlite") else 2
    replicas = [Replica(number, database_url, broker_url, folder) for number in range(count)]
    try:
        for replica in replicas:
            await replica.serves()
        yield replicas
    finally:
        for replica in replicas:
            replica.kill()


@pytest.mark.timeout(300 + KEYS // 10 + 15 * KILLS)
async def test_each_key_has_one_effect_and_one_reply_whatever_is_killed(
    database_url: str, valkey_url: str, tmp_path: Path, figure: Figure
) -> None:
    store = await Store.open(database_url, pool=1)
    await store.commit([Write(insert(stock), [{"product": f"products/{n}", "available": 0} for n in range(KEYS)])])
    async with running(database_url, valkey_url, tmp_path) as replicas:
        callers, numbers, kills = Callers(replicas), iter(range(KEYS)), 0
        done, apart = 0, KEYS / KILLS

        async def work() -> None:
            nonlocal done
            for number in numbers:
                while number >= (kills + 1) * apart:  # calls are under way at each kill
                    await asyncio.sleep(0.01)
                await callers.key(number)
                done += 1

        working = [asyncio.create_task(work()) for _ in range(AT_ONCE)]
        while not all(task.done() for task in working):
            if kills < KILLS and done >= (kills + 0.2) * apart:
                victim = replicas[kills % len(replicas)]
                victim.kill()
                victim.start()
                await victim.serves()
                kills += 1
            await asyncio.sleep(0.01)
        await asyncio.gather(*working)
        await callers.close()
    products = stock.c.product.not_in(["products/lamp", "products/chair", "products/book"])
    [row] = await store.fetch(
        select(func.count().label("rows"), func.min(stock.c.available).label("least"), func.max(stock.c.available).label("most")).where(products)
    )  # fmt: skip
    await store.close()
    name, replayed = (
        make_url(database_url).get_backend_name(),
        f"{callers.replayed} of {KEYS * (DUPLICATES - 1)} replayed",
    )
    figure(
        f"{KEYS} keys × {DUPLICATES} at once, {kills} kills, {name}",
        f"{row.least} to {row.most} effects",
        f"1 each; {replayed}",
    )
    assert (row.rows, row.least, row.most) == (KEYS, 1, 1)
    assert kills == KILLS
    assert callers.replayed >= KEYS * (DUPLICATES - 1) * 0.9, "nearly every duplicate was told that it is one"
