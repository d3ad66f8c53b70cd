"""A service of nothing but its lanes, as real processes on SQLite, for what a message costs."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import redis.asyncio
from google.protobuf.message_factory import GetMessageClass

from laneway.call import Call
from laneway.client import Lanes
from laneway.contract.model import Method, method_of
from laneway.service import Service
from laneway.store import migrations
from tests.fixtures.protos import service_of
from tests.fixtures.roles import ROOT
from tests.fixtures.valkey import free_port

SLOTS = 16

HEAD = """
syntax = "proto3";
package bench.v1;
import "laneway/v1/call.proto";
message Request { optional string request_id = 1; optional double at = 2; }
message Reply {}
message Begun { option (laneway.v1.event) = {published: true}; optional double at = 1; }
"""

BODY = """
service Bench {
  rpc Begin(Request) returns (Reply) { option (laneway.v1.call) = {idempotency {key: "request_id"}}; }
  rpc Follow(Request) returns (Reply) {
    option idempotency_level = IDEMPOTENT;
    option (laneway.v1.call) = {queue {use: ONLY}};
  }
  rpc Nothing(Request) returns (Reply) {
    option idempotency_level = IDEMPOTENT;
    option (laneway.v1.call) = {queue {use: ONLY}};
  }
}
"""

FOLLOWED = "bench:followed"
"""The list of the seconds that passed from an acceptance to its handler."""


@cache
def descriptor() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return service_of(Path(folder), BODY, head=HEAD)


def method(name: str) -> Method:
    return method_of(descriptor().methods_by_name[name])


def service(lanes: Lanes) -> Service:
    """The service, as it is installed for a benchmark."""
    file, told = descriptor().file, redis.asyncio.Redis.from_url(os.environ["LANEWAY_BROKER_URL"])
    begun, reply = (GetMessageClass(file.message_types_by_name[name]) for name in ("Begun", "Reply"))

    async def begin(request: Any, call: Call) -> Any:
        now = time.time()
        call.emit(begun(at=now))
        await lanes.start(method("Follow"), method("Follow").input(at=now))
        return reply()

    async def follow(request: Any, call: Call) -> Any:
        passed = time.time() - request.at
        await told.rpush(FOLLOWED, passed)
        return reply()

    async def nothing(request: Any, call: Call) -> Any:
        return reply()

    return Service("bench").bind(descriptor(), {"Begin": begin, "Follow": follow, "Nothing": nothing})


class Processes:
    """The roles of the service, which are started when a benchmark wants them."""

    def __init__(self, folder: Path, broker_url: str) -> None:
        self.database_url = f"sqlite:///{folder}/bench.db"
        self.port = free_port()
        self._folder = folder
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        package = folder / "bench-1.dist-info"
        package.mkdir()
        (package / "METADATA").write_text("Metadata-Version: 2.1\nName: bench\nVersion: 1\n")
        (package / "entry_points.txt").write_text(
            "[laneway.services]\nbench = tests.benchmarks.bench_service:service\n"
        )
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LANEWAY_")},
            "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))),
            "LANEWAY_DATABASE_URL": self.database_url,
            "LANEWAY_BROKER_URL": broker_url,
            "LANEWAY_GRPC_PORT": str(self.port),
            "LANEWAY_WORKER_SLOTS": str(SLOTS),
        }
        migrations.migrate(self.database_url, service="bench")

    def start(self, role: str, says: str) -> None:
        """Start a role, and wait until it says something."""
        log = self._folder / f"{role}.log"
        with log.open("wb") as output:
            self._started[role] = subprocess.Popen(
                [sys.executable, "-m", "laneway.cli", "run", "bench", "--role", role],
                stdout=output, stderr=output, env=self._environment, cwd=ROOT,
            )  # fmt: skip
        end = time.monotonic() + 60
        while says not in log.read_text():
            if time.monotonic() > end or self._started[role].poll() is not None:
                raise RuntimeError(f"{role} does not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        for process in self._started.values():
            process.terminate()
        for process in self._started.values():
            process.wait(60)
        self._started.clear()


@contextmanager
def processes(broker_url: str) -> Iterator[Processes]:
    with tempfile.TemporaryDirectory(prefix="laneway-bench-") as folder:
        running = Processes(Path(folder), broker_url)
        try:
            yield running
        finally:
            running.stop()
