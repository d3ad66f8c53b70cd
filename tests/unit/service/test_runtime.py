"""What a process hands on of its service's declaration."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from laneway.call import Call, Lane
from laneway.contract.tuning import Tuning
from laneway.errors import Internal, PermissionDenied, Unavailable
from laneway.lanes.dispatch import Arrival
from laneway.lanes.faults import Fault, Kind
from laneway.lanes.outgoing import Lanes
from laneway.resilience.pipeline import Pipelines
from laneway.runtime.backend import backend
from laneway.runtime.installed import Nowhere
from laneway.runtime.process import Process, process
from laneway.service import Service
from laneway.settings import Settings
from laneway.telemetry.admin import Health
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from tests.fixtures.protos import service_of
from tests.fixtures.valkey import free_port

BODY = "service Shelf { rpc Put(Request) returns (Reply); }"


@pytest.fixture
def build(tmp_path: Path) -> Any:
    def built(settings: Settings, **declared: Any) -> Process:
        async def put(request: Any, call: Call) -> Any:
            return call.method.output(text="done")

        service = Service("shelf", database=False, **declared).bind(service_of(tmp_path, BODY), {"Put": put})
        tracing, metrics, pipelines = Tracing("shelf", "1", None), Metrics(), Pipelines()
        lanes = Lanes(Nowhere(), pipelines=pipelines, tracing=tracing, metrics=metrics)
        health = Health(asyncio.get_running_loop())
        return Process(service, settings, tracing, metrics, Tuning(), health, lanes, pipelines)

    return built


async def put(back: Any) -> Any:
    (method,) = back.dispatcher.contract
    return await back.dispatcher.unary(method, method.input(), Arrival(lane=Lane.GRPC))


async def test_a_process_asks_the_services_authorisation(build: Any) -> None:
    async def nobody(request: Any, call: Call) -> None:
        raise PermissionDenied("nobody may")

    async with backend(build(Settings())) as back:
        assert (await put(back)).message.text == "done"
    async with backend(build(Settings(), authorize=nobody)) as back:
        with pytest.raises(PermissionDenied):
            await put(back)


async def test_a_process_obeys_the_faults_of_its_service_if_it_has_a_folder_of_them(
    build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("laneway.lanes.faults.LOOK_AGAIN", 0.001)
    folder = tmp_path / "faults"
    folder.mkdir()
    Fault(Kind.ERROR).write(folder, "shelf")
    async with backend(build(Settings(fault_folder=folder))) as back, asyncio.timeout(10):
        with pytest.raises(Internal, match="as it was told to"):
            while True:
                await put(back)
                await asyncio.sleep(0)


async def test_a_process_tells_of_its_breakers_budgets_and_refusals(tmp_path: Path) -> None:
    descriptor = service_of(tmp_path, BODY)

    async def never(request: Any, call: Call) -> Any:
        raise AssertionError("its server does not run")

    def factory(lanes: Lanes) -> Service:
        return Service("shelf", database=False).bind(descriptor, {"Put": never})

    async with process("shelf", "grpc", factory, Settings(targets={"shelf": f"127.0.0.1:{free_port()}"})) as own:
        (method,) = own.service.contract
        for _ in range(method.policy.breaker.consecutive_failures + 1):
            with pytest.raises(Unavailable):
                await own.lanes.call(method, method.input())
        told = {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(own.metrics.render()[0].decode())
            for sample in family.samples
        }
    target = f"shelf/{method.full_name}"
    assert told["laneway_breaker_state", target] == 2
    assert told["laneway_breaker_transitions_total", "open", target] == 1
    assert told["laneway_refusals_total", "BREAKER_OPEN", target] == 1
    assert told["laneway_retry_budget_tokens", "shelf"] > 0
