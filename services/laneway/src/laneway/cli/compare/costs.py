"""What calls cost: CPU time of processes, bytes on connections, bytes in a database."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import redis

CHUNK = 1 << 16


def cpu_seconds(pids: Iterable[int]) -> float | None:
    """CPU time that processes have used; None where the system does not tell (it is read from /proc)."""
    try:
        return sum(_used(pid) for pid in pids)
    except FileNotFoundError:
        return None


def _used(pid: int) -> float:
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = after_name[11], after_name[12]  # fields 14 and 15 of proc(5)
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def broker_bytes(url: str) -> int:
    """What has gone in and out of a broker since its start."""
    with redis.Redis.from_url(url) as client:
        told = client.info("stats")
    return int(told["total_net_input_bytes"]) + int(told["total_net_output_bytes"])


def database_bytes(file: Path) -> int:
    """What an SQLite database holds, the pages that are free left out."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        pages, free, size = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - free) * size)


class Meter:
    """A TCP proxy that counts what goes through it, both ways; owns every connection, also one that is being made."""

    def __init__(self, target: int) -> None:
        self.bytes = 0
        self.port = 0
        self._target = target
        self._listens = False
        self._connections: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Listen on a free port of this machine, until exit; then nothing of it is left."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._listens = True
        try:
            yield
        finally:
            self._listens = False
            server.close()
            await self._drop()

    async def _drop(self) -> None:
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """No coroutine: a task of the server's would be nobody's until its first step."""
        if not self._listens:
            writer.transport.abort()
            return
        connection = asyncio.create_task(self._forward(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)
        connection.add_done_callback(lambda _: writer.transport.abort())  # one cancelled at once has run nothing

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until both ends have said all."""
        try:
            behind, before = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            return  # nobody is there: so whoever has connected is told
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, before))
                pumps.create_task(self._pump(behind, writer))
        finally:
            before.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while chunk := await source.read(CHUNK):
                self.bytes += len(chunk)
                sink.write(chunk)
                await sink.drain()
        except ConnectionError:
            """The other end is gone; so is this one."""
        finally:
            sink.close()
