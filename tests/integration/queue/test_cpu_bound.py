"""A worker of `cpu_bound` queues as real processes: its handlers hold their event loops, and never its own."""

import asyncio
import os
import signal
from contextlib import suppress

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from laneway.errors import Cancelled
from laneway.lanes.grpc.channel import GrpcTransport
from laneway.lanes.outgoing import Lanes
from laneway.resilience.pipeline import Pipelines
from laneway.store import operations, outbox
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from laneway.v1 import system_pb2
from tests.fixtures.producer import Producer, entered, fact
from tests.fixtures.roles import PATIENCE, Role, Roles, listens, until
from tests.fixtures.valkey import free_port

GRACE = 60
"""Seconds; longer than a test waits for anything."""


def pid_of(roles: Roles, id: str) -> int:
    """The process that computes a message, once its handler has been entered."""
    return int(roles.gates.get(f"pid:{id}"))


async def progress(producer: Producer, id: str) -> str:
    """What a handler that runs has said."""
    async with asyncio.timeout(PATIENCE):
        while (known := await operations.get(producer.store, id)) is None or known.progress is None:
            await asyncio.sleep(0.02)
    return system_pb2.Progress.FromString(known.progress).note


def runs(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


async def told(port: int, name: str, **labels: str) -> float:
    """What `/metrics` says."""
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())


async def alive(port: int) -> str:
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        return (await client.get(f"http://127.0.0.1:{port}/livez")).text


def cpu_worker(roles: Roles, **settings: object) -> Role:
    return roles.start("cpu-worker", **{"grace_seconds": GRACE, **settings})


async def test_two_messages_compute_at_once_and_their_worker_answers(roles, producer, effects) -> None:
    port = free_port()
    cpu_worker(roles, cpu_slots=2, admin_port=port)
    await producer.start("m1", "m2", "m3", method="Crunch")
    first = await entered(roles, 2)
    assert pid_of(roles, first[0]) != pid_of(roles, first[1])
    assert await alive(port) == "ok\n"
    assert [await progress(producer, id) for id in first] == ["computing"] * 2
    assert await told(port, "laneway_worker_running") == await told(port, "laneway_worker_slots") == 2
    for done in first:
        roles.let_go(done)
    [last] = await entered(roles)
    roles.let_go(last)
    while await producer.settle():
        pass
    assert effects() == ["m1", "m2", "m3"]
    assert await told(port, "laneway_calls_total", lane="queue", code="OK", side="server") == 3
    assert await told(port, "laneway_queue_deliveries_total", queue="shelf.heavy", outcome="done") == 3
    assert await told(port, "laneway_process_info") == 1


async def test_a_process_that_is_killed_costs_its_attempt_and_nothing_else(roles, producer, effects) -> None:
    port = free_port()
    worker = cpu_worker(roles, cpu_slots=2, admin_port=port)
    await producer.start("m1", "m2", method="Crunch")
    await entered(roles, 2)
    os.kill(pid_of(roles, "m1"), signal.SIGKILL)
    assert sorted(await producer.settle()) == ["m1", "m2"]
    assert "ended during the run (signal 9)" in (await outbox.get(producer.store, "m1")).error
    await producer.after(producer.broker.copy_ttl)
    assert await entered(roles) == ["m1"]
    for id in ("m1", "m2"):
        roles.let_go(id)
    while await producer.settle():
        pass
    assert effects() == ["m1", "m2"]
    assert await told(port, "laneway_calls_total", side="server", code="UNAVAILABLE") == 1
    assert await told(port, "laneway_calls_total", side="server", code="OK") == 2
    assert worker.runs()


async def test_what_kills_its_process_each_time_is_parked_after_its_attempts(roles, producer) -> None:
    worker = cpu_worker(roles)
    await producer.start("m1", method="Crunch")
    for _ in range(roles.method("Crunch").work.max_attempts):
        assert await entered(roles) == ["m1"]
        os.kill(pid_of(roles, "m1"), signal.SIGSEGV)
        await producer.settle()
        await producer.after(producer.broker.copy_ttl)
    parked = await outbox.get(producer.store, "m1")
    assert (parked.attempts, "signal 11" in parked.error, parked.parked_at is not None) == (2, True, True)
    assert worker.runs()


async def test_what_computes_beyond_its_run_timeout_is_ended_with_its_process(roles, producer, effects) -> None:
    worker = cpu_worker(roles)
    await producer.start("m1", method="Spin")
    await producer.settle()
    parked = await outbox.get(producer.store, "m1")
    assert "did not end within its run_timeout" in parked.error
    await producer.start("m2", method="Crunch")
    assert await entered(roles) == ["m2"]
    roles.let_go("m2")
    await producer.settle()
    assert effects() == ["m2"]
    assert worker.runs()


@pytest.mark.parametrize("method", ["Crunch", "Ponder"])
async def test_what_runs_is_cancelled_whether_it_computes_or_waits(roles, producer, effects, method) -> None:
    roles.start("grpc")
    worker = cpu_worker(roles)
    transport = GrpcTransport(lambda _: f"127.0.0.1:{roles.ports['grpc']}")
    lanes = Lanes(transport, pipelines=Pipelines(), tracing=Tracing("c", "c", None), metrics=Metrics())
    await asyncio.to_thread(until, lambda: listens(roles.ports["grpc"]))
    called = roles.method(method)
    started = await lanes.start(called, called.input(request_id="m1", name="m1"))
    assert await entered(roles) == ["m1"]
    await started.cancel()
    with pytest.raises(Cancelled):
        await started.result(timeout=PATIENCE)
    if method == "Ponder":
        assert await asyncio.to_thread(roles.gates.blpop, ["cancelled"], PATIENCE) == ("cancelled", "m1")
    await fact(lambda: producer.held("shelf.heavy") == (0, 0), worker)
    after = await lanes.start(roles.method("Crunch"), called.input(request_id="m2", name="m2"))
    assert await entered(roles) == ["m2"]
    roles.let_go("m2")
    await after.result(timeout=PATIENCE)
    await transport.close()
    assert effects() == ["m2"]
    assert roles.all_ended() == ["m2"]


async def test_a_worker_that_is_told_to_stop_finishes_what_computes(roles, producer, effects) -> None:
    worker = cpu_worker(roles)
    await producer.start("m1", method="Crunch")
    assert await entered(roles) == ["m1"]
    pid = pid_of(roles, "m1")
    os.kill(pid, signal.SIGTERM)  # as a terminal, or a shell, may send it to all
    worker.terminate()
    await asyncio.to_thread(worker.says, "Warm shutdown")
    roles.let_go("m1")
    assert await asyncio.to_thread(worker.ended) == 0
    assert await producer.settle() == []
    assert effects() == ["m1"]
    assert not runs(pid)
    assert "Traceback" not in worker.log()


async def test_what_computes_longer_than_the_grace_is_handed_back_by_name(roles, producer, effects) -> None:
    worker = cpu_worker(roles, grace_seconds=0.1)
    await producer.start("m1", method="Crunch")
    assert await entered(roles) == ["m1"]
    pid = pid_of(roles, "m1")
    worker.terminate()
    assert await asyncio.to_thread(worker.ended) == 0
    assert "handed back [method=test.shelf.v1.Shelf.Crunch id=m1]" in worker.log()
    assert not runs(pid)

    cpu_worker(roles)
    await producer.after(producer.broker.copy_ttl)
    assert await entered(roles) == ["m1"]
    roles.let_go("m1")
    assert await producer.settle() == []
    assert effects() == ["m1"]


async def test_what_computes_ends_with_the_worker_that_is_killed(roles, producer) -> None:
    worker = cpu_worker(roles)
    await producer.start("m1", method="Crunch")
    assert await entered(roles) == ["m1"]
    pid = pid_of(roles, "m1")
    worker.kill()
    await asyncio.to_thread(until, lambda: not runs(pid))
