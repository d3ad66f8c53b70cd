"""What every role of a service has, and how a process looks after its duties."""

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from laneway.contract.tuning import Tuning
from laneway.lanes.grpc.channel import GrpcTransport
from laneway.lanes.grpc.connections import Connections
from laneway.lanes.outgoing import Lanes
from laneway.resilience.breaker import State
from laneway.resilience.pipeline import Pipelines
from laneway.runtime.installed import Factory
from laneway.service import Service
from laneway.settings import Settings
from laneway.telemetry import logs
from laneway.telemetry.admin import Health, serve_admin
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing


@dataclass(frozen=True, slots=True)
class Process:
    """What every role of a service has."""

    service: Service
    settings: Settings
    tracing: Tracing
    metrics: Metrics
    tuning: Tuning
    health: Health
    lanes: Lanes
    pipelines: Pipelines


@asynccontextmanager
async def process(name: str, role: str, factory: Factory, settings: Settings) -> AsyncIterator[Process]:
    """Open what every role of a service needs; closes it at exit."""
    async with AsyncExitStack() as stack:
        tracing = Tracing.for_settings(name, settings)
        stack.callback(tracing.shutdown)
        metrics, health = Metrics(), Health(asyncio.get_running_loop())
        tuning = Tuning(settings.policy_folder, refused=metrics.policy_file, levels=logs.Levels().set)
        if settings.admin_port is not None:
            stack.enter_context(serve_admin(health, metrics.render, host=settings.host, port=settings.admin_port))
        transport = GrpcTransport(settings.target)
        stack.push_async_callback(transport.close)
        pipelines = Pipelines(listeners=[metrics.breaker_changed], refused=metrics.refused)
        lanes = Lanes(transport, pipelines=pipelines, tracing=tracing, metrics=metrics, tuning=tuning)
        metrics.registry.register(Connections())
        metrics.follow("laneway_process_info", lambda: [((name, role), 1.0)])
        follow_pipelines(metrics, pipelines)
        await stack.enter_async_context(running(tuning.keep()))
        service = factory(lanes)
        for method in (*service.contract, *service.exposed):
            tuning.of(method)  # a policy file that does not suit one of them ends the start
        transport.options = service.grpc
        yield Process(service, settings, tracing, metrics, tuning, health, lanes, pipelines)


def follow_pipelines(metrics: Metrics, pipelines: Pipelines) -> None:
    """Tell of breakers and budgets as they are when somebody asks."""
    levels = {State.CLOSED: 0.0, State.HALF_OPEN: 1.0, State.OPEN: 2.0}
    metrics.follow_by("laneway_breaker_state", lambda: {of: levels[it] for of, it in pipelines.states().items()})
    metrics.follow_by("laneway_retry_budget_tokens", lambda: {of: it.tokens for of, it in pipelines.budgets().items()})
    metrics.follow_by(
        "laneway_retry_budget_exhausted_total", lambda: {of: it.refusals for of, it in pipelines.budgets().items()}
    )


@asynccontextmanager
async def running(*duties: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Background duties of a process: cancelled at exit; one that fails ends the process.

    An error of the block or of a duty is raised as it is, not in the group that the tasks make of it.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(duty) for duty in duties]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def stop_signal() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    return stopped
