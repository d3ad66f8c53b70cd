"""The pool hands a copy over and holds nothing but a slot; Celery hears when its delivery has ended."""

import json
import logging
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from laneway.errors import Unavailable
from laneway.lanes.queue.envelope import Delivery
from laneway.lanes.queue.outages import Outages
from laneway.lanes.queue.pool import LoopPool
from laneway.telemetry import names

HEADERS: Mapping[str, Any] = {
    names.MESSAGE_ID: "m1", names.PRODUCER: "shelf", names.ENQUEUED_AT: "1.0", names.ATTEMPT: "1",
}  # fmt: skip


class Worker:
    """A pool, and Celery's side of it."""

    def __init__(self) -> None:
        self.begun: list[tuple[Delivery, Future[None]]] = []
        self.ended: list[object] = []
        self.pool = LoopPool.of(self._deliver, Outages(logging.getLogger("laneway.worker")))(limit=2)

    def take(self, argument: Any = "AAEC", headers: Mapping[str, Any] = HEADERS) -> None:
        body = json.dumps([[argument], {}, {}]).encode()
        args = ("shelf.Tidy", "m1", headers, body, "application/json", "utf-8")
        self.pool.on_apply(None, args, callback=self.ended.append, accept_callback=lambda _pid, _at: None)

    def _deliver(self, delivery: Delivery) -> "Future[None]":
        future: Future[None] = Future()
        self.begun.append((delivery, future))
        return future


def test_a_copy_is_done_with_when_its_delivery_has_ended_and_no_sooner() -> None:
    worker = Worker()
    worker.take()
    [(delivery, running)] = worker.begun
    assert (delivery.id, delivery.method, delivery.payload) == ("m1", "shelf.Tidy", b"\x00\x01\x02")
    assert worker.ended == []
    running.set_result(None)
    assert worker.ended == [(0, None, 0.0)]


def test_one_that_cannot_be_reported_is_not_put_back_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker()
    worker.take()
    worker.begun[0][1].set_exception(Unavailable("The broker does not answer.", reason="BROKER_UNAVAILABLE"))
    assert worker.ended == [(0, None, 0.0)]
    assert [record.getMessage() for record in caplog.records] == ["not reported; it comes again"]


def test_one_that_was_handed_back_is_nothing_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker()
    worker.take()
    worker.begun[0][1].cancel()
    assert (worker.ended, caplog.records) == ([(0, None, 0.0)], [])


@pytest.mark.parametrize("headers", [{}, {**HEADERS, names.ENQUEUED_AT: "soon"}])
@pytest.mark.parametrize("argument", ["AAEC", "%%%", ["card-1"]])
def test_what_nobody_can_read_is_dropped_without_its_content(
    argument: Any, headers: Mapping[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker()
    worker.take(argument, headers)
    assert (worker.begun, worker.ended) == ([], [(0, None, 0.0)])
    [record] = caplog.records
    assert record.getMessage() == "unreadable message dropped"
    assert "card-1" not in str(vars(record))


def test_a_stop_waits_for_all_that_runs() -> None:
    worker = Worker()
    worker.take()
    worker.take()
    (_, one), (_, other) = worker.begun
    with ThreadPoolExecutor(1) as thread:
        stop = thread.submit(worker.pool.on_stop)
        one.set_result(None)
        assert not stop.done()
        other.set_result(None)
        stop.result(timeout=30)
    assert len(worker.ended) == 2
