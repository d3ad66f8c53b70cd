"""What a worker writes into the log: an outage once, and never what a caller sent."""

import asyncio
import base64
import json
import logging
from collections.abc import Iterator
from concurrent.futures import Future

import pytest
from celery import signals
from celery.app import trace
from celery.contrib.testing.worker import start_worker
from celery.worker import request
from celery.worker.consumer import consumer
from redis import Redis

from laneway.errors import Unavailable
from laneway.lanes.queue import celery_logs
from laneway.lanes.queue.envelope import encode
from laneway.lanes.queue.outages import Outages
from laneway.lanes.queue.pool import LoopPool
from laneway.lanes.queue.worker import _keep_our_logging, celery_app
from tests.fixtures.roles import until
from tests.integration.queue.conftest import Lane

CARD = "card-4111-1111"
UNREACHABLE = Unavailable("The broker does not answer.", reason="BROKER_UNAVAILABLE")


@pytest.fixture
def outages(monkeypatch: pytest.MonkeyPatch) -> Iterator[Outages]:
    """As a worker's process has them."""
    for logger in (trace.logger, request.logger, consumer.logger):
        monkeypatch.setattr(logger, "filters", [])
    outages = Outages(logging.getLogger("laneway.worker"))
    celery_logs.quieten(outages)
    signals.setup_logging.connect(_keep_our_logging)
    yield outages
    signals.setup_logging.disconnect(_keep_our_logging)


def everything(log: pytest.LogCaptureFixture) -> str:
    """All records with all their facts, as they are written down in the end."""
    return "\n".join(f"{record.getMessage()} {vars(record)}" for record in log.records)


async def test_a_broker_that_takes_no_report_is_one_line_and_no_payload(
    lane: Lane, valkey_url: str, outages: Outages, caplog: pytest.LogCaptureFixture
) -> None:
    refused = []

    def deliver(delivery) -> "Future[None]":
        refused.append(delivery.id)
        failed: Future[None] = Future()
        failed.set_exception(UNREACHABLE)
        return failed

    methods = [method for method in lane.shelf.contract if method.work is not None]
    app = celery_app("shelf", methods, broker_url=valkey_url)
    pool = LoopPool.of(deliver, outages)
    messages = [await lane.start(f"m{number}", name=CARD) for number in range(5)]
    await lane.broker.publish(messages, producer="shelf", now=lane.shelf.clock())
    sent = base64.b64encode(messages[0].payload).decode()

    with start_worker(app, pool=pool, concurrency=2, perform_ping_check=False, shutdown_timeout=30):
        await asyncio.to_thread(until, lambda: len(refused) == 5)

    loud = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in loud] == ["not reported; it comes again"]
    assert sent not in everything(caplog)
    assert CARD not in everything(caplog)
    app.close()


async def test_the_next_outage_is_said_again(caplog: pytest.LogCaptureFixture) -> None:
    outages = Outages(logging.getLogger("laneway.worker"))
    for _ in range(3):
        outages.missed("not reported", UNREACHABLE)
    outages.end()
    outages.missed("not reported", UNREACHABLE)
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 2


async def test_what_no_handler_takes_is_dropped_without_its_content(
    lane: Lane, valkey_url: str, outages: Outages, caplog: pytest.LogCaptureFixture
) -> None:
    methods = [method for method in lane.shelf.contract if method.work is not None]
    app = celery_app("shelf", methods, broker_url=valkey_url)
    pool = LoopPool.of(lambda _: Future(), outages)
    message = await lane.start("m1", name=CARD)
    copy = json.loads(encode(message, producer="shelf", now=1.0))
    unknown = {**copy, "headers": {**copy["headers"], "task": "test.shelf.v1.Shelf.Gone"}}
    foreign = {**copy, "headers": {}, "body": base64.b64encode(json.dumps({"card": CARD}).encode()).decode()}

    def dropped() -> bool:
        return len([record for record in caplog.records if "unreadable message dropped" in record.getMessage()]) == 2

    with (
        Redis.from_url(valkey_url) as client,
        start_worker(app, pool=pool, concurrency=1, perform_ping_check=False, shutdown_timeout=30),
    ):
        for each in (unknown, foreign):
            client.lpush("shelf.default", json.dumps(each))
        await asyncio.to_thread(until, dropped, lambda: everything(caplog))

    assert CARD not in everything(caplog)
    assert base64.b64encode(message.payload).decode() not in everything(caplog)
    app.close()
