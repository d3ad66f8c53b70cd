"""`make bench-async`, the queue: from an acceptance to its handler, draining, enqueuing, and from a commit to a subscriber.

The peer is plain Celery on the same Valkey, with a pool of threads of the same size and late acknowledgements.
"""

import asyncio
import base64
import contextlib
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import redis
import uvloop

from laneway.lanes.grpc.channel import GrpcTransport
from laneway.lanes.operation import queued
from laneway.lanes.outgoing import Lanes
from laneway.lanes.queue.publisher import Publisher
from laneway.lanes.queue.valkey import ValkeyBroker
from laneway.resilience.pipeline import Pipelines
from laneway.store import Store, inbox, migrations, outbox
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from tests.benchmarks import bench_service, following
from tests.benchmarks.bench_service import FOLLOWED, SLOTS, Processes, processes
from tests.benchmarks.figures import Figure, limit, tell
from tests.fixtures.roles import ROOT
from tests.fixtures.valkey import Server

ACCEPTED = 400
PACE = 0.03
"""Seconds between two acceptances: a machine that has time."""

DRAINED = 4_000
ROUNDS = 3
ENQUEUED = 400

P50_GOAL, P99_GOAL = 10.0, 50.0
DRAIN_GOAL, ENQUEUE_GOAL = 0.7, 1 / 1.05


# From an acceptance to its handler


async def accepting(port: int) -> None:
    """Calls that commit a claim, an event, a message and their reply."""
    transport = GrpcTransport(lambda _: f"127.0.0.1:{port}")
    lanes = Lanes(transport, pipelines=Pipelines(), tracing=Tracing("b", "b", None), metrics=Metrics())
    begin = bench_service.method("Begin")
    for _ in range(ACCEPTED):
        await lanes.call(begin, begin.input(request_id=str(uuid.uuid4())))
        await asyncio.sleep(PACE)
    await transport.close()


def starts(own: Processes, broker: "redis.Redis[bytes]") -> list[Figure]:
    own.start("grpc", "serving")
    own.start("worker", "consuming")
    uvloop.run(accepting(own.port))
    until(lambda: broker.llen(FOLLOWED) >= ACCEPTED)
    passed = sorted(float(each) * 1e3 for each in broker.lrange(FOLLOWED, 0, -1))[:ACCEPTED]
    return [
        limit("accepted → handler, p50, with the commit", passed[len(passed) // 2], P50_GOAL),
        limit("accepted → handler, p99, with the commit", passed[int(len(passed) * 0.99)], P99_GOAL),
    ]


# Draining


def drain_ours(own: Processes) -> float:
    """Messages per second: rows that no relay has looked at, until all are confirmed."""
    own.start("worker", "consuming")
    uvloop.run(fill(own.database_url))
    with contextlib.closing(sqlite3.connect(own.database_url.removeprefix("sqlite:///"))) as database:
        left = lambda: int(database.execute("SELECT count(*) FROM outbox").fetchone()[0])  # noqa: E731
        own.start("grpc", "serving")
        return rate(left)


async def fill(url: str) -> None:
    store, nothing, now = await Store.open(url, pool=1), bench_service.method("Nothing"), time.time() - 10
    rows = [queued(nothing, nothing.input(at=now), str(uuid.uuid4()), {}, now) for _ in range(DRAINED)]
    for begin in range(0, DRAINED, 500):
        await store.commit([outbox.insert(rows[begin : begin + 500])])
    await store.close()


def drain_bare(url: str, broker: "redis.Redis[bytes]") -> float:
    """The same of plain Celery: messages in its list, until all are acknowledged."""
    app, payload = _bare(url), base64.b64encode(bytes(9)).decode()
    for _ in range(DRAINED):
        app.send_task("nothing", (payload,), queue="bare")
    app.close()
    arguments = ["worker", "--pool", "threads", "--concurrency", str(SLOTS), "--loglevel", "ERROR"]
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "tests.benchmarks.bare_celery", *arguments,
         "--without-gossip", "--without-mingle", "--without-heartbeat"],
        env={**os.environ, "BROKER_URL": url}, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        return rate(lambda: int(broker.llen("bare")) + int(broker.hlen("unacked")))
    finally:
        worker.terminate()
        worker.wait(60)


def rate(left: Callable[[], int]) -> float:
    """Messages per second, from the first that is done to the last."""
    until(lambda: left() < DRAINED)
    begin, first = time.perf_counter(), left()
    until(lambda: left() == 0)
    return first / (time.perf_counter() - begin)


def _bare(url: str) -> "object":
    os.environ["BROKER_URL"] = url
    from tests.benchmarks.bare_celery import app

    app.conf.broker_url = url
    return app


# Enqueuing


async def enqueues(url: str) -> tuple[list[float], list[float]]:
    """Microseconds of one, in turns: ours in the business's commit, the peer's after it."""
    costs: tuple[list[float], list[float]] = ([], [])
    with tempfile.TemporaryDirectory() as folder:
        database = f"sqlite:///{folder}/enqueue.db"
        migrations.migrate(database)
        store, broker = await Store.open(database, pool=1), ValkeyBroker(url, window=1_000_000)
        app, payload, nothing = _bare(url), base64.b64encode(bytes(9)).decode(), bench_service.method("Nothing")
        tracing = Tracing("bench", "bench-1", None)

        async def ours(publisher: Publisher) -> None:
            id, now = str(uuid.uuid4()), time.time()
            message = queued(nothing, nothing.input(at=now), id, {}, now)
            await store.commit([inbox.record(id, "business", now), outbox.insert([message])])
            publisher.offer([message], [tracing.start_span("publish")])

        async def bare() -> None:
            id, now = str(uuid.uuid4()), time.time()
            await store.commit([inbox.record(id, "business", now)])
            app.send_task("nothing", (payload,), queue="bare")  # type: ignore[attr-defined]

        for round in range(ROUNDS + 1):
            async with Publisher(broker, service="bench") as publisher:
                own = await _each(lambda publisher=publisher: ours(publisher))
            peer = await _each(bare)
            if round:  # the first warms up
                costs[0].append(own)
                costs[1].append(peer)
        await broker.close()
        await store.close()
    return costs


async def _each(run: Callable[[], Awaitable[None]]) -> float:
    begin = time.perf_counter()
    for _ in range(ENQUEUED):
        await run()
    return (time.perf_counter() - begin) / ENQUEUED * 1e6


# Figures


def paired(work: str, ours: list[float], peer: list[float], unit: str, goal: float, *, more: bool) -> Figure:
    pairs = list(zip(ours, peer, strict=True))
    ratio = statistics.median(own / theirs if more else theirs / own for own, theirs in pairs)
    return Figure(
        work=work, ours=round(statistics.median(ours)), peer=round(statistics.median(peer)), unit=unit,
        ratio=round(ratio, 2), goal=round(goal, 2), met=ratio >= goal,
    )  # fmt: skip


def until(fact: Callable[[], object], within: float = 300.0) -> None:
    end = time.monotonic() + within
    while not fact():
        if time.monotonic() > end:
            raise RuntimeError("it takes too long")
        time.sleep(0.01)


@contextlib.contextmanager
def valkey() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        server.start()
        try:
            yield server.url
        finally:
            server.kill()


def main() -> None:
    """Measure, print the table, keep the figures."""
    figures: list[Figure] = []
    with valkey() as url, redis.Redis.from_url(url) as broker:
        with processes(url) as own:
            figures += starts(own, broker)
        ours, peer = [], []
        for _ in range(ROUNDS):
            broker.flushall()
            with processes(url) as own:
                ours.append(drain_ours(own))
            broker.flushall()
            peer.append(drain_bare(url, broker))
        work = f"drain of {DRAINED:,} messages that do nothing, {SLOTS} slots"
        figures.append(paired(work, ours, peer, "messages/s", DRAIN_GOAL, more=True))
        broker.flushall()
        costs = uvloop.run(enqueues(url))
        figures.append(paired("enqueue, with the commit beside it", *costs, "µs", ENQUEUE_GOAL, more=False))
    figures += following.figures()
    tell("async-delivery", figures)


if __name__ == "__main__":
    main()
