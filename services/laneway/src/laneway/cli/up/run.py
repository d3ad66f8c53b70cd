"""The composition of `laneway up`: plan, embedded servers, databases, supervisor."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from laneway.cli import discovery
from laneway.cli.discovery import Installed
from laneway.cli.embedded import valkey
from laneway.cli.embedded.mail import Mailbox
from laneway.cli.embedded.spans import Spans
from laneway.cli.migrate import migrate
from laneway.cli.up import ports, state
from laneway.cli.up.launch import Launch
from laneway.cli.up.outages import outages
from laneway.cli.up.output import Output, print_table
from laneway.cli.up.plan import FAULTS, Options, Plan, make_plan
from laneway.cli.up.scale import scaling
from laneway.cli.up.supervisor import Patience, Supervisor
from laneway.errors import Cancelled
from laneway.settings import Settings

MARGIN = 5.0
"""Seconds that a process has beyond its own grace before it is killed."""


@dataclass(frozen=True, slots=True)
class Up:
    """What runs."""

    plan: Plan
    spans: Spans
    supervisor: Supervisor


async def run_up(settings: Settings, *, port: int, base_port: int, data: Path, most_workers: int) -> None:
    """Run all installed services until SIGINT or SIGTERM, each with up to `most_workers` worker processes.

    Raises:
        ConfigurationError: something is not as it must be; nothing is left running.
    """
    options = options_of(settings, port=port, data=data, most_workers=most_workers)
    console = Console()
    console.print("starting", style="dim")
    with stop_signals() as stopped:
        async with up(options, settings, base_port=base_port, stopped=stopped) as running:
            print_table(console, running.plan, running.supervisor.pids)
            console.print("Ctrl-C stops all of it.", style="dim")
            await unless(stopped, running.supervisor.keep())
            console.print("stopping", style="dim")


def options_of(settings: Settings, *, port: int, data: Path, most_workers: int = 1) -> Options:
    """What the operator chose; what was not chosen is embedded."""
    chosen = settings.model_fields_set
    return Options(
        host=settings.host,
        port=port,
        data=data.resolve(),
        broker_url=settings.broker_url if "broker_url" in chosen else None,
        database_url=settings.database_url if "database_url" in chosen else None,
        otlp_endpoint=settings.otlp_endpoint,
        smtp_url=os.environ.get("SMTP_URL"),
        log_format=settings.log_format,
        log_level=settings.log_level,
        most_workers=most_workers,
    )


@asynccontextmanager
async def up(
    options: Options, settings: Settings, *, base_port: int, stopped: asyncio.Event, held: bool = False
) -> AsyncIterator[Up]:
    """All installed services, ready; stopped at exit. A stop that comes while they start raises Cancelled.

    With `held`, what the processes say is printed only when something fails.
    """
    state.refuse_second(options.data)
    with closing(Launch()) as launcher:
        launcher.prepare()
        plan, services = _planned(options, base_port)
        placed = settings.model_copy(update={"database_url": plan.database_url})
        placed.refuse_shared_database(each.name for each in services if each.database)
        ports.check_free(plan.wanted())
        state.make_folder(plan.data / "valkey")
        _forget_faults(plan.data / FAULTS)
        output = Output(Console(stderr=True), width=max(len(each.name) for each in plan.processes), held=held)
        async with _embedded(plan) as spans:
            supervisor = Supervisor(
                launcher,
                output,
                patience=Patience(stop=settings.grace_seconds + MARGIN),
                changed=lambda pids: state.State.of(plan, supervisor.processes, pids).write(plan.data),
            )
            try:
                if not await unless(stopped, _start(plan, services, placed, supervisor)):
                    raise Cancelled("Stopped before everything had started.")
                slots = {"worker": settings.worker_slots, "cpu-worker": settings.cpu_slots}
                async with (
                    outages(plan.data / FAULTS, supervisor),
                    scaling(plan, supervisor, at_most=options.most_workers, slots=slots),
                ):
                    yield Up(plan, spans, supervisor)
            except BaseException as error:
                if not isinstance(error, Cancelled):
                    output.show_held()
                raise
            finally:
                await supervisor.stop()
                state.remove(plan.data)


def _forget_faults(folder: Path) -> None:
    state.make_folder(folder)
    for file in folder.glob("*.json"):
        file.unlink()


def _planned(options: Options, base_port: int) -> tuple[Plan, Sequence[Installed]]:
    if options.broker_url is not None:
        valkey.check(options.broker_url)
    broker = None if options.broker_url else valkey.find_server()
    services = discovery.installed()
    plan = make_plan(
        services,
        discovery.companion_names(),
        options,
        ports=ports.from_base(base_port),
        edge_ports=ports.from_base(options.port),
        broker=broker,
    )
    return plan, services


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set, while the block runs."""
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    try:
        yield stopped
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _start(plan: Plan, services: Sequence[Installed], placed: Settings, supervisor: Supervisor) -> None:
    await asyncio.to_thread(migrate, services, placed.database)
    await supervisor.start(plan.processes)


@asynccontextmanager
async def _embedded(plan: Plan) -> AsyncIterator[Spans]:
    from laneway.cli.embedded.server import serving

    spans = Spans()
    http, smtp = ports.listener("127.0.0.1", plan.http_port), ports.listener("127.0.0.1", plan.smtp_port)
    async with serving(spans, Mailbox(), http=http, smtp=smtp):
        yield spans


async def unless(stopped: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Await some work unless a stop comes first; whether the work came to its end."""
    stop, working = asyncio.ensure_future(stopped.wait()), asyncio.ensure_future(work)
    try:
        await asyncio.wait({stop, working}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        return working.done()
    finally:
        stop.cancel()
        working.cancel()
        await asyncio.wait({stop, working})
