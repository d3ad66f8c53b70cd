"""The development loop: an edited handler answers from its pod within seconds, and no image is built."""

import asyncio
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.e2e.conftest import IMAGE
from tests.e2e.kube import ROOT, Namespace

OFF = {"enabled": False}
FEW = {
    "laneway": {
        "services": {
            "gateway": {"calls": ["catalog"]},
            **dict.fromkeys(("orders", "inventory", "payments", "fulfilment", "notifications")),
        },
        "image": {"pullPolicy": "Never"},
        "jaeger": OFF,
        "prometheus": OFF,
    },
    "provider": OFF,
    "mailbox": OFF,
}
"""The gateway and the catalog: the shop of the other tests stands beside it on a small machine."""
CATALOG = "app.kubernetes.io/name=catalog"
HANDLER = "catalog/src/shop_catalog/service.py"
ANSWER = "return Product(**rows[0].as_dict())"


@dataclass(frozen=True)
class Workplace:
    """A copy of the sources, and the pods that follow it."""

    sources: Path
    namespace: Namespace
    url: str

    def edit(self, title: str) -> None:
        """Let the catalog's handler give every product this title."""
        edited = (ROOT / "services" / HANDLER).read_text()
        assert edited.count(ANSWER) == 1
        edited = edited.replace(ANSWER, f'return Product(**rows[0].as_dict() | {{"title": "{title}"}})')
        (self.sources / HANDLER).write_text(edited)

    async def answers(self, title: str, within: float) -> float:
        """Wait for the new code's answer; the seconds that took."""
        begin = time.monotonic()
        said = "nothing"
        async with httpx.AsyncClient(base_url=self.url, timeout=2) as client:
            while time.monotonic() - begin < within:
                try:
                    said = (await client.get("/v1/products/lamp")).text
                except httpx.HTTPError as error:
                    said = repr(error)
                if f'"title":"{title}"' in said:
                    return time.monotonic() - begin
                await asyncio.sleep(0.05)
        raise AssertionError(f"not {title} but {said} after {within:g} s")


@pytest.fixture(scope="module")
def folder(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("workplace")
    shutil.copytree(ROOT / "services", folder / "services", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (folder / "few.yaml").write_text(yaml.safe_dump(FEW))
    namespace = Namespace("laneway-dev-loop")
    namespace.create()
    yield folder
    namespace.delete()


@asynccontextmanager
async def developing(folder: Path, port: int) -> AsyncIterator[Workplace]:
    """`make dev-cluster`, with the image that is there."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, ROOT / "k8s/dev_cluster.py", "--no-build", "--image", IMAGE, "--namespace", "laneway-dev-loop",
        "--values", folder / "few.yaml", "--sources", folder / "services", "--port", str(port),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    said = []
    try:
        async with asyncio.timeout(180):
            async for line in process.stdout:
                said.append(line.decode())
                if "watching" in said[-1]:
                    break
        assert process.returncode is None and "watching" in said[-1], "".join(said)
        yield Workplace(folder / "services", Namespace("laneway-dev-loop"), f"http://127.0.0.1:{port}")
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.communicate()
    assert process.returncode == 0


async def test_an_edited_handler_answers_within_five_seconds(folder: Path, unused_tcp_port: int, figure) -> None:
    async with developing(folder, unused_tcp_port) as workplace:
        await workplace.answers("A lamp", within=30)
        before = workplace.namespace.restarts()
        seconds = []
        for title in ("A brighter lamp", "A dimmer lamp", "A lamp that is off"):
            workplace.edit(title)
            seconds.append(await workplace.answers(title, within=30))
        figure("seconds from an edit to the pod's answer", ", ".join(f"{each:.1f}" for each in seconds))
        assert sorted(seconds)[1] <= 5
        assert workplace.namespace.restarts() == before, "the pods are those that were there"


async def test_a_container_that_starts_again_gets_what_has_changed_since(folder: Path, unused_tcp_port: int) -> None:
    async with developing(folder, unused_tcp_port) as workplace:
        workplace.edit("A lamp of today")
        await workplace.answers("A lamp of today", within=30)
        [pod] = workplace.namespace.pods(CATALOG)
        workplace.namespace.kill(pod)
        async with asyncio.timeout(60):
            while container(workplace.namespace) in (None, container_of(pod)):
                await asyncio.sleep(0.2)
        await workplace.answers("A lamp of today", within=60)


def container(namespace: Namespace) -> str | None:
    """The container of the catalog that runs."""
    return next(map(container_of, namespace.pods(CATALOG)), None)


def container_of(pod: dict[str, Any]) -> str | None:
    [status] = pod["status"].get("containerStatuses") or [{}]
    return status.get("containerID") if "running" in status.get("state", ()) else None
