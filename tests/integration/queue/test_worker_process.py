"""A worker as a real process on a real Valkey: when it consumes, what it acknowledges, and how it stops."""

import asyncio
import signal
from urllib.parse import urlsplit

import httpx
import pytest

from laneway.contract.policy import Priority
from laneway.errors import Cancelled
from laneway.lanes.grpc.channel import GrpcTransport
from laneway.lanes.operation import queued
from laneway.lanes.outgoing import Lanes
from laneway.lanes.queue.broker import Outcome
from laneway.resilience.pipeline import Pipelines
from laneway.store import outbox
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from tests.fixtures.producer import entered, fact
from tests.fixtures.proxy import proxy
from tests.fixtures.roles import PATIENCE, listens, until
from tests.fixtures.valkey import free_port

GRACE = 60
"""Seconds; longer than a test waits for anything."""

QUEUE = "shelf.default"


async def test_a_worker_says_that_the_broker_is_away_and_consumes_when_it_is_there(roles, producer, valkey) -> None:
    valkey.kill()
    worker = roles.start("worker", broker_url=valkey.url)
    await asyncio.to_thread(worker.says, "the broker does not answer; check LANEWAY_BROKER_URL, or start it [broker=")
    assert "consuming" not in worker.log()
    assert "Traceback" not in worker.log()
    await asyncio.to_thread(valkey.start)
    await asyncio.to_thread(worker.says, "consuming [queues=shelf.default]")

    valkey.kill()
    await fact(lambda: worker.log().count("the broker does not answer; check") == 2, worker)
    await asyncio.to_thread(valkey.start)
    await fact(lambda: worker.log().count("consuming [queues") == 2, worker)
    loud = [line for line in worker.log().splitlines() if line.startswith(("warning", "error", "critical"))]
    assert [line for line in loud if "capacity is not reported" not in line] == [
        line for line in loud if "the broker does not answer; check" in line
    ], "one line an outage"
    assert "Traceback" not in worker.log()


async def test_a_copy_is_under_way_until_it_has_ended_and_no_longer(roles, producer) -> None:
    worker = roles.start("worker", grace_seconds=GRACE)
    await producer.start("m1")
    assert await entered(roles) == ["m1"]
    assert producer.held() == (0, 1)
    assert roles.gates.keys("*unacked*") == [], "kombu keeps a record besides"
    roles.let_go("m1")
    assert await producer.settle() == []
    await fact(lambda: producer.held() == (0, 0), worker)


async def test_a_worker_that_is_told_to_stop_finishes_what_runs(roles, producer) -> None:
    worker = roles.start("worker", grace_seconds=GRACE)
    await producer.start("m1")
    assert await entered(roles) == ["m1"]
    worker.terminate()
    await asyncio.to_thread(worker.says, "Warm shutdown")
    roles.let_go("m1")
    assert await asyncio.to_thread(worker.ended) == 0
    assert await producer.settle() == []
    assert producer.held() == (0, 0)
    assert "Traceback" not in worker.log()


async def test_what_outlives_the_grace_runs_again_elsewhere_and_what_has_ended_does_not(roles, producer) -> None:
    worker = roles.start("worker", grace_seconds=10)
    await producer.start("quick", "slow")
    assert await entered(roles, 2) == ["quick", "slow"]
    worker.terminate()
    await asyncio.to_thread(worker.says, "Warm shutdown")
    roles.let_go("quick")
    assert await producer.settle() == ["slow"]
    assert await asyncio.to_thread(worker.ended) == 0
    assert producer.held() == (0, 0)
    assert roles.all_ended() == ["quick"]

    roles.start("worker", grace_seconds=GRACE)
    await producer.after(producer.broker.copy_ttl)
    assert await entered(roles) == ["slow"]
    roles.let_go("slow")
    assert await producer.settle() == []
    assert roles.all_ended() == ["quick", "slow"]


async def test_what_is_more_urgent_is_taken_first_however_late_it_came(roles, producer) -> None:
    roles.start("worker", worker_slots=1)
    await producer.start("first")
    assert await entered(roles) == ["first"]
    await producer.start("low", priority=Priority.LOW)
    await producer.start("normal")
    await producer.start("high", priority=Priority.HIGH)
    taken = []
    for before in ("first", "high", "normal"):
        roles.let_go(before)
        taken += await entered(roles)
    roles.let_go("low")
    assert taken == ["high", "normal", "low"]


async def test_a_message_that_kills_its_process_is_parked_after_its_attempts(roles, producer) -> None:
    method = roles.method("Crash")
    row = queued(method, method.input(request_id="poison"), "poison", {}, producer.clock())
    await producer.store.commit([outbox.insert([row])])
    for _ in range(method.work.max_attempts):
        worker = roles.start("worker")
        await producer.after(producer.broker.copy_ttl)
        assert await asyncio.to_thread(worker.ended) == -signal.SIGKILL
        roles.gates.delete("laneway:copy:poison")  # as if the time that it was marked for had passed
    survivor = roles.start("worker")
    await producer.after(producer.broker.copy_ttl)
    assert await producer.settle() == []
    parked = await outbox.get(producer.store, "poison")
    assert parked is not None
    assert (parked.attempts, "never ended" in parked.error) == (2, True)
    assert survivor.runs()


async def test_a_running_handler_is_cancelled_from_another_process(roles, producer) -> None:
    roles.start("grpc")
    roles.start("worker", grace_seconds=GRACE)
    transport = GrpcTransport(lambda _: f"127.0.0.1:{roles.ports['grpc']}")
    lanes = Lanes(transport, pipelines=Pipelines(), tracing=Tracing("c", "c", None), metrics=Metrics())
    await asyncio.to_thread(until, lambda: listens(roles.ports["grpc"]))
    tidy = roles.method("Tidy")
    started = await lanes.start(tidy, tidy.input(request_id="m1", name="m1"))
    assert await entered(roles) == ["m1"]
    await started.cancel()
    assert await asyncio.to_thread(roles.gates.blpop, ["cancelled"], PATIENCE) == ("cancelled", "m1")
    with pytest.raises(Cancelled):
        await started.result(timeout=PATIENCE)
    await asyncio.to_thread(until, lambda: producer.held() == (0, 0))
    assert roles.all_ended() == []
    async with asyncio.timeout(PATIENCE):
        while await outbox.get(producer.store, started.name.rpartition("/")[2]) is not None:
            await asyncio.sleep(0.05)
    await transport.close()


async def test_a_worker_whose_connections_are_half_open_consumes_again_and_is_alive(
    roles, producer, valkey_url
) -> None:
    port = free_port()
    async with proxy(urlsplit(valkey_url).port) as between, httpx.AsyncClient() as client:
        worker = roles.start("worker", broker_url=f"redis://127.0.0.1:{between.port}/0", admin_port=port)
        await asyncio.to_thread(worker.says, "consuming")
        assert between.swallow() > 1
        await producer.start("m1")
        roles.let_go("m1")
        async with asyncio.timeout(PATIENCE):
            while not (reports := await producer.told(wait=5)):
                roles.gates.delete("laneway:copy:m1")  # the copy may have gone down with what its worker asked of it
                await producer.after(producer.broker.copy_ttl)
        assert {(report.id, report.outcome) for report in reports} == {("m1", Outcome.DONE)}, "each copy reports"
        assert (await client.get(f"http://127.0.0.1:{port}/livez", timeout=10)).text == "ok\n"


async def test_a_copy_that_runs_long_stays_known_as_running(roles, producer) -> None:
    worker = roles.start("worker", grace_seconds=GRACE)
    await producer.start("m1")
    assert await entered(roles) == ["m1"]
    roles.gates.delete("laneway:copy:m1")  # as if the time that it was marked for had passed
    await fact(lambda: roles.gates.exists("laneway:copy:m1") == 1, worker)
    await producer.after(producer.broker.copy_ttl)
    assert producer.held() == (0, 1), "another copy was pushed beside the one that runs"
    roles.let_go("m1")
    assert await producer.settle() == []


async def test_what_is_no_message_at_all_does_not_stop_a_worker(roles, producer) -> None:
    worker = roles.start("worker", grace_seconds=GRACE)
    await asyncio.to_thread(worker.says, "consuming")
    strange = ["not JSON", "[1, 2]", '{"body": "x"}', '{"headers": {}, "properties": 7}', b"\xff\xfe"]
    roles.gates.lpush(QUEUE, *strange)
    await fact(lambda: worker.log().count("unreadable message dropped") == len(strange), worker)
    await producer.start("m1")
    roles.let_go("m1")
    assert await producer.settle() == []
    assert worker.runs()
