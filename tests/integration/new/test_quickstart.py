"""docs/quickstart.md as a newcomer follows it: each block in its order, in a fresh copy of this repository."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.fixtures.checkout import ROOT, Checkout
from tests.fixtures.valkey import free_port

PAGE = ROOT / "docs/quickstart.md"
STARTS_WITHIN = 60.0


@dataclass(frozen=True)
class Block:
    """A block of code; what is behind its language says what it is done with: a file to change, or what goes on running."""

    language: str
    about: str
    text: str


def blocks() -> list[Block]:
    found = re.findall(r"^```(\w+) ?(.*)\n([\s\S]*?)^```$", PAGE.read_text(), re.MULTILINE)
    return [Block(*each) for each in found]


def change(file: Path, diff: str) -> None:
    """Make a change as it is shown; its place must be there once."""
    lines = diff.splitlines(keepends=True)
    old, new = ("".join(line[1:] for line in lines if line[0] in kept) for kept in (" -", " +"))
    text = file.read_text()
    assert text.count(old) == 1, f"{file} does not have this once:\n{old}"
    file.write_text(text.replace(old, new))


@contextmanager
def running(checkout: Checkout, command: str, port: int) -> Iterator[None]:
    """What goes on running in another terminal, when it says that it runs; Ctrl-C ends it."""
    settings = {"LANEWAY_REST_PORT": str(port), "ARGS": "--base-port 0"}
    log = (checkout.root / "up.log").open("wb")
    process = subprocess.Popen(
        ["bash", "-c", f"exec {command}"], cwd=checkout.root, env=checkout.env | settings, stdout=log,
        stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + STARTS_WITHIN
        while not (checkout.root / "var/laneway/up.json").exists():
            assert process.poll() is None, (checkout.root / "up.log").read_text()
            assert time.monotonic() < deadline, (checkout.root / "up.log").read_text()
            time.sleep(0.05)
        yield
    finally:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        process.wait(timeout=60)
        log.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_what_the_quickstart_says_works_in_its_order(checkout: Checkout) -> None:
    port = free_port()
    page = iter(blocks())
    for block in page:
        if block.about == "up":
            break
        if block.language == "diff":
            change(checkout.root / block.about, block.text)
        else:
            checkout.run(block.text)
    with running(checkout, block.text.strip(), port):
        typed = [each.text.replace("127.0.0.1:8080", f"127.0.0.1:{port}") for each in page]
        waited, queued, refused, policy = map(checkout.run, typed[:4])
        assert '"text":"It shines."' in waited
        assert queued.startswith("HTTP/1.1 202")
        [operation] = re.findall(r"^location: (\S+)", queued, re.MULTILINE | re.IGNORECASE)
        assert ended(f"http://127.0.0.1:{port}{operation}")["text"] == "It shines at night."
        assert "INVALID_ARGUMENT" in refused
        assert "text" in refused
        assert "CreateReview" in policy
        trace, top = typed[4:]
        for step in ("POST /v1/reviews", "publish reviews.default", "process reviews.default"):
            assert step in shown(checkout, trace, step)
        assert re.search(r"^reviews +worker +1 ", checkout.run(top), re.MULTILINE)


def shown(checkout: Checkout, command: str, what: str) -> str:
    """What a command shows, once it shows something: spans arrive when they have ended."""
    deadline = time.monotonic() + 30
    while what not in (said := checkout.run(f"{command.strip()} || true")):
        assert time.monotonic() < deadline, said
        time.sleep(0.05)
    return said


def ended(url: str) -> dict[str, str]:
    """The response of an operation, when a worker has done it."""
    deadline = time.monotonic() + 30
    while not (operation := httpx.get(url).json()).get("done"):
        assert time.monotonic() < deadline, operation
        time.sleep(0.05)
    return dict(operation["response"])
