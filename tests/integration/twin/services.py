"""Notifications as processes: the shop's, and its twin written by hand; both seen from outside alone."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import redis
from google.longrunning import operations_pb2
from google.protobuf.message import Message

from laneway.lanes.queue.envelope import encode
from laneway.store import migrations
from laneway.store.outbox import OutboxMessage
from laneway.v1 import system_pb2
from tests.fixtures.roles import PATIENCE
from tests.fixtures.valkey import free_port

ROOT = Path(__file__).parents[3]
SERVICE = "shop.notifications.v1.Notifications"
EVENTS = "notifications.events"


@dataclass
class Processes:
    """A server and a worker of one of the two."""

    kind: str
    broker_url: str
    smtp_port: int
    folder: Path
    grpc_port: int = field(default_factory=free_port)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, *roles: str) -> None:
        for role in roles:
            with (self.folder / f"{role}.log").open("ab") as log:
                self.running[role] = subprocess.Popen(
                    self._command(role), cwd=ROOT, env=self._environment(), stdout=log, stderr=log,
                    start_new_session=True,
                )  # fmt: skip

    def _command(self, role: str) -> list[str]:
        if self.kind == "ours":
            return [sys.executable, "-m", "laneway.cli", "run", "notifications", "--role",
                    {"server": "grpc", "worker": "worker"}[role]]  # fmt: skip
        if role == "server":
            return [sys.executable, "-m", "tests.benchmarks.twin.server"]
        return [sys.executable, "-m", "celery", "-A", "tests.benchmarks.twin.worker", "worker", "-P", "threads",
                "-c", "16", "--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "INFO"]  # fmt: skip

    def _environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("LANEWAY_")}
        smtp = {"SMTP_URL": f"smtp://127.0.0.1:{self.smtp_port}", "PYTHONPATH": str(ROOT)}
        if self.kind == "ours":
            return {**own, **smtp, "LANEWAY_DATABASE_URL": self.database_url, "LANEWAY_BROKER_URL": self.broker_url,
                    "LANEWAY_GRPC_PORT": str(self.grpc_port)}  # fmt: skip
        return {**own, **smtp, "DATABASE": str(self.folder / "twin.db"), "BROKER_URL": self.broker_url,
                "GRPC_PORT": str(self.grpc_port), "ADMIN_PORT": str(free_port()), "COPY_TTL": "5"}  # fmt: skip

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.folder}/notifications.db"

    def open(self) -> None:
        """Everything runs."""
        if self.kind == "ours":
            migrations.migrate(self.database_url, service="notifications")
        self.start("server", "worker")
        with grpc.insecure_channel(self.target) as channel:
            grpc.channel_ready_future(channel).result(PATIENCE)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    def kill(self, role: str) -> None:
        """kill -9."""
        process = self.running.pop(role)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def outlast_copies(self) -> None:
        """As if the time had passed for which a copy of ours is held to be under way; the twin's is short."""
        if self.kind == "ours":
            with redis.Redis.from_url(self.broker_url) as client:
                for copy in client.scan_iter("laneway:copy:*"):
                    client.delete(copy)
            with closing(sqlite3.connect(self.folder / "notifications.db", timeout=PATIENCE)) as connection:
                connection.execute("update outbox set due_at = 0")
                connection.commit()

    def close(self) -> None:
        for role in list(self.running):
            self.kill(role)

    def log(self) -> str:
        return "\n".join(file.read_text(errors="replace")[-2000:] for file in self.folder.glob("*.log"))

    # Seen from outside

    def start_mail(self, request: Message, key: str) -> str:
        """Queue a mail as another service does; its operation's name."""
        asked = system_pb2.StartRequest(method=f"{SERVICE}.SendEmail", payload=request.SerializeToString())
        return str(self._call("laneway.v1.Acceptor/Start", asked, key).name)

    def operation(self, name: str) -> operations_pb2.Operation:
        """What has become of it."""
        return self._call("google.longrunning.Operations/GetOperation", operations_pb2.GetOperationRequest(name=name))

    def _call(self, path: str, request: Message, key: str = "") -> Any:
        with grpc.insecure_channel(self.target) as channel:
            call = channel.unary_unary(
                f"/{path}", lambda it: it.SerializeToString(), operations_pb2.Operation.FromString
            )
            metadata = (("idempotency-key", key),) if key else ()
            return call(request, timeout=10, metadata=metadata)

    def tell(self, id: str, method: str, event: Message) -> None:
        """Deliver a copy of an event, as its producer's relay does."""
        message = OutboxMessage(
            id=id, service="notifications", queue="events", method=f"{SERVICE}.{method}",
            payload=event.SerializeToString(), headers={}, due_at=0, created_at=time.time(), priority=3,
        )  # fmt: skip
        with redis.Redis.from_url(self.broker_url) as client:
            client.lpush(EVENTS, encode(message, producer="test", now=time.time()))


def opened(kind: str, broker_url: str, smtp_port: int, folder: Path) -> Iterator[Processes]:
    processes = Processes(kind, broker_url, smtp_port, folder)
    try:
        processes.open()
        yield processes
    finally:
        processes.close()
