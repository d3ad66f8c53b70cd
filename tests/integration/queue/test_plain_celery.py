"""Plain Celery on both ends, as docs/celery.md has it, on a real Valkey."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from laneway.contract.model import method_of
from laneway.errors import InvalidArgument, NotFound
from laneway.lanes.operation import queued
from laneway.lanes.queue.publisher import Publisher
from laneway.store import outbox
from laneway.telemetry.tracing import Tracing
from shop.notifications.v1 import notifications_pb2
from tests.fixtures.roles import until
from tests.integration.queue.conftest import WINDOW, Lane

DOCS = (Path(__file__).parents[3] / "docs/celery.md").read_text()
CALL, APPLICATION = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)


@pytest.fixture
def plain(tmp_path: Path, valkey_url: str) -> Iterator[redis.Redis]:
    """The application of the page, consuming; and what it does, as lists."""
    (tmp_path / "plain_app.py").write_text(APPLICATION)
    search = os.pathsep.join((str(tmp_path), *(path for path in sys.path if path)))
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "plain_app", "worker", "--pool", "solo", "--loglevel", "WARNING",
         "-Q", "images,notifications.email", "--without-mingle", "--without-gossip"],
        cwd=tmp_path, env=os.environ | {"BROKER": valkey_url, "PYTHONPATH": search},
    )  # fmt: skip
    with redis.Redis.from_url(valkey_url, decode_responses=True) as client:
        yield client
    worker.terminate()
    worker.wait(30)


async def send(lane: Lane, line: str = CALL, **fields: Any) -> None:
    """Run a handler whose body is a line, as an author writes it."""

    async def put(request: Any, call: Any) -> Any:
        exec(line, {"call": call})  # noqa: S102 the line of the page
        if request.name == "fail":
            raise NotFound("after all")
        return lane.shelf.reply("done")

    lane.shelf.handle("Put", put)
    await lane.shelf.call("Put", **fields)


async def in_the_list(client: redis.Redis, name: str, count: int = 1) -> list[str]:
    await asyncio.to_thread(until, lambda: client.llen(name) >= count)
    return client.lrange(name, 0, -1)  # type: ignore[return-value]


async def rows(lane: Lane) -> list[str]:
    return [each.id for queue in await outbox.queues(lane.shelf.store) for each in await due(lane, queue)]


async def due(lane: Lane, queue: tuple[str, str]) -> list[outbox.OutboxMessage]:
    return await outbox.due(lane.shelf.store, queue, 1e12, 100)


async def test_a_task_of_an_existing_application_is_started_by_a_handlers_commit(
    lane: Lane, plain: redis.Redis
) -> None:
    await send(lane)
    assert len(await rows(lane)) == 1
    assert lane.shelf.published.wakes == 1
    await lane.relay.go_round()
    assert await rows(lane) == [], "the broker has it, and nobody confirms it"
    assert await in_the_list(plain, "resized") == ["lamp.png 640"]


async def test_a_handler_that_fails_has_sent_nothing(lane: Lane) -> None:
    with pytest.raises(NotFound):
        await send(lane, name="fail")
    assert await rows(lane) == []


async def test_while_the_broker_is_full_or_forgets_the_row_stays_and_the_id_is_one(lane: Lane, valkey_url: str) -> None:
    for n in range(WINDOW + 1):
        await send(lane, f'call.send_task("images.resize", {n}, width=1, queue="images")', request_id=f"r{n}")
    await lane.relay.go_round()
    [waiting] = await rows(lane)
    with redis.Redis.from_url(valkey_url) as client:
        ids = [json.loads(each)["headers"]["id"] for each in client.lrange("images", 0, -1)]  # type: ignore[union-attr]
        assert len({*ids, waiting}) == WINDOW + 1
        client.flushall()
    lane.shelf.clock.now += 1
    await lane.relay.go_round()
    assert await rows(lane) == []


async def test_a_task_whose_room_another_has_taken_meanwhile_stays(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody but its row knows of it."""

    async def room(queues: Sequence[str]) -> list[int]:
        return [2 * WINDOW for _ in queues]

    monkeypatch.setattr(lane.broker, "room", room)
    for n in range(WINDOW + 1):
        await send(lane, f'call.send_task("images.resize", {n}, width=1, queue="images")', request_id=f"r{n}")
    await lane.relay.go_round()
    assert len(await rows(lane)) == 1


async def test_a_repeated_call_sends_its_task_under_the_same_id(lane: Lane) -> None:
    found = []
    for _ in range(2):
        await send(lane, request_id="r", name="x")
        found += await rows(lane)
    assert len(found) == 2
    assert len(set(found)) == 1


async def test_arguments_that_are_no_json_are_refused(lane: Lane) -> None:
    with pytest.raises(InvalidArgument, match=r"images\.resize takes what is JSON"):
        await send(lane, 'call.send_task("images.resize", object())')


@pytest.fixture
async def notifications(lane: Lane) -> AsyncIterator[outbox.OutboxMessage]:
    """A message of a service whose consumer is the plain application."""
    service = notifications_pb2.DESCRIPTOR.services_by_name["Notifications"]
    method = method_of(service.methods_by_name["SendEmail"])
    request = notifications_pb2.SendEmailRequest(request_id="m1", to="ada@example.org", subject="Shipped")
    message = queued(method, request, "m1", {}, lane.shelf.clock())
    yield replace(message, due_at=lane.shelf.clock())


async def test_an_existing_application_consumes_a_services_messages_and_confirms_them(
    lane: Lane, plain: redis.Redis, notifications: outbox.OutboxMessage
) -> None:
    await lane.shelf.store.commit([outbox.insert([notifications])])
    async with Publisher(lane.broker, service="shelf", clock=lane.shelf.clock) as publisher:
        publisher.offer([notifications], [Tracing("p", "p", None).start_span("publish")])
    assert await in_the_list(plain, "mails") == ["ada@example.org: Shipped"]
    async with asyncio.timeout(60):
        while await rows(lane):
            await lane.relay.go_round(wait=1)


async def test_its_failure_comes_again_when_it_said(
    lane: Lane, plain: redis.Redis, notifications: outbox.OutboxMessage
) -> None:
    plain.set("sent", "in the way of the set")
    await lane.shelf.store.commit([outbox.insert([notifications])])
    await lane.relay.go_round()
    async with asyncio.timeout(60):
        while (row := await outbox.get(lane.shelf.store, "m1")) is not None and row.attempts == 0:
            await lane.relay.go_round(wait=1)
    assert row is not None
    assert (row.attempts, row.due_at - lane.shelf.clock()) == (1, 60)
    assert "ResponseError" in str(row.error)
