"""`make bench-twin`: lines and cost of notifications, the shop's against the twin by hand."""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from aiosmtpd.controller import Controller

from laneway.cli.compare.costs import cpu_seconds
from shop.fulfilment.v1.events_pb2 import OrderShipped
from tests.benchmarks.figures import Figure, tell
from tests.benchmarks.twin.lines import counted
from tests.fixtures.roles import until
from tests.fixtures.valkey import Server, free_port
from tests.integration.twin.services import Processes, opened

MAILS = 400


class Post:
    """Takes mail, and counts it."""

    def __init__(self) -> None:
        self.taken = 0

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 aiosmtpd's name
        self.taken += 1
        return "250 kept"


@contextmanager
def running(kind: str) -> Iterator[tuple[Processes, Post]]:
    """One of the two, with a Valkey and a mail server of its own."""
    post, port = Post(), free_port()
    with tempfile.TemporaryDirectory() as name:
        valkey = Server(Path(name))
        valkey.start()
        mail = Controller(post, hostname="127.0.0.1", port=port)
        mail.start()
        try:
            for processes in opened(kind, valkey.url, port, Path(name)):
                yield processes, post
        finally:
            mail.stop()
            valkey.kill()


def costs(kind: str) -> tuple[float, float]:
    """Mails a second, and CPU milliseconds of server and worker for one: an event taken in, a mail started and sent."""
    with running(kind) as (processes, post):
        event = OrderShipped(order="orders/1", email="ada@example.org", tracking="T1")
        processes.tell("first", "OnOrderShipped", event)
        until(lambda: post.taken == 1, processes.log)
        pids = [each.pid for each in processes.running.values()]
        cpu, begin = cpu_seconds(pids), time.monotonic()
        for number in range(MAILS):
            processes.tell(f"event-{number}", "OnOrderShipped", event)
        until(lambda: post.taken == MAILS + 1, processes.log)
        took, used = time.monotonic() - begin, cpu_seconds(pids)
    if cpu is None or used is None:
        sys.exit("CPU time is read from /proc, which this system does not have.")
    return MAILS / took, (used - cpu) / MAILS * 1000


def figures() -> list[Figure]:
    """Lines, and the medians of three runs in turns."""
    ours, contract, twin = counted()
    own, other = zip(*((costs("ours"), costs("twin")) for _ in range(3)), strict=True)
    (own_rate, own_cpu), (other_rate, other_cpu) = (map(median, zip(*runs, strict=True)) for runs in (own, other))
    return [
        _figure("lines of Python", ours, twin, "lines", twin / ours, 10),
        _figure("lines with the contract", ours + contract, twin, "lines", twin / (ours + contract), 10),
        _figure("mails of events", own_rate, other_rate, "1/s", own_rate / other_rate, 1),
        _figure("CPU of a mail", own_cpu, other_cpu, "ms", other_cpu / own_cpu, 1),
    ]


def _figure(work: str, ours: float, peer: float, unit: str, ratio: float, goal: float) -> Figure:
    return Figure(
        work=work, ours=round(ours, 2), peer=round(peer, 2), unit=unit, ratio=round(ratio, 2), goal=goal,
        met=ratio >= goal,
    )  # fmt: skip


if __name__ == "__main__":
    tell("twin", figures())
