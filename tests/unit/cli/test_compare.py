"""What `laneway compare` makes of what it measured."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from io import StringIO
from pathlib import Path
from unittest.mock import Mock

import pytest
from rich.console import Console

from laneway.cli.compare import told
from laneway.cli.compare.asking import Done, Sample
from laneway.cli.compare.costs import Meter, cpu_seconds, database_bytes
from laneway.cli.compare.figures import Figures, Kept, figures, percentile
from laneway.cli.compare.scenarios import Compared


def test_answers_and_failures_are_told_apart() -> None:
    samples = [
        Sample(0, 0.010),
        Sample(0, 0.030),
        Sample(0, 1.0, "DEADLINE_EXCEEDED"),
        Sample(0, 0.002, "UNAVAILABLE", 3),
    ]
    of = figures("10x burst", "gRPC", samples, Done([0.5, 0.6, 0.7], [1.5, 1.6, 1.7]))
    assert (of.asked, of.ok, of.done) == (4, 2, 3)
    assert (of.answer_p50, of.answer_p99) == (30.0, 30.0)
    assert told.noticed(of) == (
        "2 of 4 answered; 1 DEADLINE_EXCEEDED, 1 UNAVAILABLE, after 1000 ms, come back in 3 s, 1 done unheard"
    )


def test_what_was_accepted_and_not_done_is_told() -> None:
    samples = [Sample(0, 0.010), Sample(0, 0.010), Sample(0, 0.010, "UNAVAILABLE")]
    assert told.noticed(figures("callee down", "queue", samples, Done([], []))).endswith("2 not done")


def test_what_waits_is_what_was_asked_for_and_not_done() -> None:
    of = figures("10x burst", "queue", [], Done([0.1, 0.6, 0.8], [10.1, 10.6, 10.8]))
    assert of.waiting == [2, 2, 1, 0]


def test_percentiles_are_milliseconds_and_none_of_none() -> None:
    assert percentile([], 0.5) == 0.0
    assert percentile([0.3, 0.1, 0.2], 0.5) == 200.0
    assert percentile([0.3, 0.1, 0.2], 0.99) == 300.0


def figure(scenario: str, lane: str, **other: float) -> Figures:
    done = Done([0.004, 0.3], [1.004, 1.3])
    return figures(scenario, lane, [Sample(0, 0.003), Sample(0, 0.004)], done, **other)


def test_everything_is_shown_and_nothing_is_cut_where_nobody_looks() -> None:
    lanes = [figure("healthy", "queue", per_second=200, cpu=6, bytes=8850), figure("10x burst", "queue")]
    kept = [Kept(how="a row", answer_p50=1, answer_p99=2, cpu=None, stored=451)]
    out = StringIO()
    told.show(Compared(lanes, kept), Console(file=out, width=160))
    shown = out.getvalue()
    for text in ("healthy", "queue", "8,850", "10x burst", "the caller noticed", "at most 1", "a row", "451", "10,000"):
        assert text in shown
    assert "…" not in shown


def test_cpu_time_is_that_of_the_processes_and_unknown_of_one_that_is_gone() -> None:
    before = cpu_seconds([os.getpid()])
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    after = cpu_seconds([os.getpid()])
    assert before is not None and after is not None
    assert after - before >= 0.05
    assert cpu_seconds([2**22 + 1]) is None


def test_a_database_grows_by_what_is_kept_in_it(tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("CREATE TABLE a (b BLOB)")
        database.commit()
        before = database_bytes(tmp_path / "a.db")
        database.executemany("INSERT INTO a VALUES (?)", [(b"x" * 4000,)] * 25)
    database.close()
    assert database_bytes(tmp_path / "a.db") - before >= 100_000


async def test_a_meter_counts_what_goes_through_it_both_ways() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readexactly(5)) * 2)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server:
        meter = Meter(server.sockets[0].getsockname()[1])
        async with meter.open():
            reader, writer = await asyncio.open_connection("127.0.0.1", meter.port)
            writer.write(b"hello")
            assert await reader.read(-1) == b"hellohello"
            writer.close()
    assert meter.bytes == 15


@asynccontextmanager
async def silent() -> AsyncIterator[tuple[asyncio.Server, list[asyncio.StreamWriter]]]:
    """A server that says nothing, and keeps who has connected."""
    connected: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: connected.append(writer), "127.0.0.1", 0)
    try:
        yield server, connected
    finally:
        server.close()
        for writer in connected:
            writer.transport.abort()


async def test_a_meter_that_closes_drops_what_goes_through_it() -> None:
    async with silent() as (server, connected):
        meter = Meter(server.sockets[0].getsockname()[1])
        async with meter.open():
            reader, writer = await asyncio.open_connection("127.0.0.1", meter.port)
            while not connected:
                await asyncio.sleep(0)
        assert await reader.read() == b""
        assert meter._connections == set()
        writer.close()


async def test_a_meter_that_closes_drops_connections_that_are_only_being_made(monkeypatch: pytest.MonkeyPatch) -> None:
    connecting = asyncio.Event()

    async def never(*_: object) -> None:
        connecting.set()
        await asyncio.Event().wait()

    connect = asyncio.open_connection
    monkeypatch.setattr("laneway.cli.compare.costs.asyncio.open_connection", never)
    meter = Meter(1)
    async with meter.open():
        reader, writer = await connect("127.0.0.1", meter.port)
        await connecting.wait()
    with suppress(ConnectionResetError):
        assert await reader.read() == b""
    assert meter._connections == set()
    writer.close()


async def test_who_comes_to_a_meter_that_has_closed_is_dropped() -> None:
    meter = Meter(1)
    async with meter.open():
        accept = meter._accept
    dropped = Mock()
    accept(Mock(), dropped)
    dropped.transport.abort.assert_called_once_with()


async def test_a_meter_before_nobody_says_so() -> None:
    async with silent() as (server, _):
        port = server.sockets[0].getsockname()[1]
    meter = Meter(port)
    async with meter.open():
        reader, writer = await asyncio.open_connection("127.0.0.1", meter.port)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
