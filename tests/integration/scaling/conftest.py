import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.integration.queue.conftest import lane  # noqa: F401 the queue's suite has it, this one reads it

ROOT = Path(__file__).parents[3]
LAYOUT_STEPS = (0, 5)

Until = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


@pytest.fixture
def until() -> Until:
    """Wait for a fact of other processes."""

    async def wait(fact: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(90):
            while not await fact():
                await asyncio.sleep(0.05)

    return wait


class PlainWorkers:
    """Workers of the plain application, as processes."""

    def __init__(self, url: str, *, pool: str = "threads") -> None:
        self.url = url
        self.pool = pool
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, pod: str, *, report: bool = True, prefix: str = "", slots: int = 2) -> None:
        environment = os.environ | {
            "BROKER": self.url, "POD_NAME": pod, "PREFIX": prefix, "REPORT": "1" if report else "",
        }  # fmt: skip
        self._running[pod] = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "tests.integration.scaling.plain_app", "worker", "--pool", self.pool,
             "-c", str(slots), "-n", f"{pod}@host", "--loglevel", "WARNING", "--without-mingle"],
            cwd=ROOT, env=environment,
        )  # fmt: skip

    def kill(self, pod: str) -> None:
        process = self._running.pop(pod)
        process.kill()
        process.wait()

    def stop(self, pod: str) -> None:
        process = self._running.pop(pod)
        process.terminate()
        assert process.wait(30) == 0

    def kill_all(self) -> None:
        for pod in list(self._running):
            self.kill(pod)


@pytest.fixture
def workers(valkey_url: str) -> Iterator[PlainWorkers]:
    workers = PlainWorkers(valkey_url)
    yield workers
    workers.kill_all()


@pytest.fixture
def plain(valkey_url: str) -> Iterator[Celery]:
    """The producer's side of the plain application."""
    with producer(valkey_url) as app:
        yield app


class producer:  # noqa: N801 reads as a verb
    def __init__(self, url: str, prefix: str = "") -> None:
        self.app = Celery("plain", broker=url, set_as_current=False)
        self.app.conf.update(
            task_default_queue="plain",
            broker_transport_options={"priority_steps": list(LAYOUT_STEPS), "global_keyprefix": prefix},
        )

    def __enter__(self) -> Celery:
        return self.app

    def __exit__(self, *_: Any) -> None:
        self.app.close()


def hold(app: Celery, released: Path) -> None:
    app.send_task("tests.integration.scaling.plain_app.hold", args=[str(released)], ignore_result=True)


def nap(app: Celery, seconds: float, *, priority: int = 0) -> None:
    app.send_task("tests.integration.scaling.plain_app.nap", args=[seconds], priority=priority, ignore_result=True)
