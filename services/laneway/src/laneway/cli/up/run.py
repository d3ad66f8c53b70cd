"""Composes `laneway up` and `laneway demo`: plan, embedded servers, supervisor."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from laneway.cli.embedded import valkey
from laneway.cli.embedded.collector import Collector, collector_app
from laneway.cli.embedded.smtp import MailSink
from laneway.cli.trace_tree import show as show_trace
from laneway.cli.up.plan import Ports, ProcessSpec, allot, plan
from laneway.cli.up.supervisor import Print, Supervisor, require_free
from laneway.errors import ConfigurationError, DeadlineExceeded, LanewayError
from laneway.runtime import SERVICES, describe
from laneway.service import Service
from laneway.settings import Settings

COMPANIONS = "laneway.companions"
DEMOS = "laneway.demos"
COLOURS = ("cyan", "green", "yellow", "blue", "magenta", "bright_cyan", "bright_green", "bright_yellow", "bright_blue")
TRACE_QUIET = 0.7
"""Seconds without a new span after which a trace is taken as complete."""

TRACE_WITHIN = 20.0


@dataclass(frozen=True, slots=True)
class Options:
    """Where a run puts its ports and data; port 0 is a free one."""

    port: int
    base_port: int
    data: Path


@dataclass(slots=True)
class Run:
    """A planned run."""

    options: Options
    services: list[Service]
    ports: Ports
    specs: list[ProcessSpec]
    collector: Collector = field(default_factory=Collector)
    sink: MailSink = field(default_factory=MailSink)

    @property
    def urls(self) -> dict[str, str]:
        """What a person may open."""
        local = "http://127.0.0.1"
        return {
            "gateway": f"{local}:{self.ports.gateway}",
            "mail": f"{local}:{self.ports.collector}/mail",
            "traces": f"{local}:{self.ports.collector}/traces",
            **{name: f"{local}:{port}" for name, port in self.ports.companions.items()},
        }


def planned(options: Options) -> Run:
    """Look at what is installed and plan its processes.

    Raises:
        ConfigurationError: nothing is installed, or a setting is wrong.
    """
    settings = Settings.load()
    services = [describe(name) for name in sorted(entry_points(group=SERVICES).names)]
    if not services:
        raise ConfigurationError(f"No service is installed; a distribution names them in the group `{SERVICES}`.")
    companions = sorted(entry_points(group=COMPANIONS).names)
    ports = allot(services, companions, port=options.port, base_port=options.base_port)
    command: Sequence[str] | None = None
    broker_url = f"redis://127.0.0.1:{ports.broker}/0"
    if "LANEWAY_BROKER_URL" in os.environ:
        broker_url = settings.broker_url
        valkey.check(broker_url)
    else:
        command = valkey.command(ports.broker, options.data / "valkey")
    specs = plan(services, ports, data=options.data, broker=command, broker_url=broker_url)
    return Run(options, services, ports, specs)


def migrate(run: Run) -> None:
    """Bring every service's database to its newest revision."""
    from laneway.store.migrations import migrate as migrate_one

    for service in run.services:
        if service.database:
            url = f"sqlite:///{run.options.data}/{service.name}.db"
            migrate_one(url, author=service.migrations, service=service.name)


async def up(run: Run, show: Print, started: Callable[[], None], stopped: asyncio.Event) -> None:
    """Run everything until `stopped`."""
    migrate(run)
    async with _embedded(run):
        state = run.options.data / "up.json"
        await Supervisor(run.specs, show, state, run.urls).run(started, stopped)


async def demo(run: Run, show: Print, console: Console) -> None:
    """Run everything, let the installed demos play, print their traces, stop.

    Raises:
        LanewayError: a demo did not end as it should.
    """
    ready, stopped = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(up(run, show, ready.set, stopped))
        await ready.wait()
        try:
            for entry in entry_points(group=DEMOS):
                begin = time.monotonic()
                trace_id = await entry.load()(run.urls["gateway"], run.urls["mail"])
                console.print(f"walked   in {time.monotonic() - begin:.2f} s\n")
                show_trace(await _complete(run.collector, trace_id))
        finally:
            stopped.set()


async def _complete(collector: Collector, trace_id: str) -> list[dict[str, object]]:
    """The spans of a trace when no more come."""
    deadline, count, since = time.monotonic() + TRACE_WITHIN, 0, time.monotonic()
    while time.monotonic() < deadline:
        spans = collector.spans(trace_id)
        if len(spans) != count:
            count, since = len(spans), time.monotonic()
        elif count and time.monotonic() - since > TRACE_QUIET:
            return spans
        await asyncio.sleep(0.05)
    raise DeadlineExceeded(f"The trace {trace_id} is not complete after {TRACE_WITHIN:g} s.")


@asynccontextmanager
async def _embedded(run: Run) -> AsyncIterator[None]:
    """The collector and the mail sink, on this process's own loop."""
    import uvicorn
    from aiosmtpd.smtp import SMTP

    require_free(run.ports.collector, "the collector", "--base-port")
    require_free(run.ports.smtp, "the mail sink", "--base-port")
    loop = asyncio.get_running_loop()
    smtp = await loop.create_server(lambda: SMTP(run.sink), "127.0.0.1", run.ports.smtp)
    config = uvicorn.Config(
        collector_app(run.collector, run.sink), host="127.0.0.1", port=run.ports.collector, log_config=None,
        access_log=False, lifespan="off",
    )  # fmt: skip
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    serving = asyncio.create_task(server.serve())
    try:
        yield
    finally:
        server.should_exit = True
        await serving
        smtp.close()


def until_signalled() -> asyncio.Event:
    """An event that Ctrl-C and SIGTERM set."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    return stopped


def prefixed(console: Console, specs: Sequence[ProcessSpec]) -> Print:
    """Shows each process's lines behind its name, in its colour."""
    width = max(len(spec.name) for spec in specs)
    colours = {spec.name: COLOURS[number % len(COLOURS)] for number, spec in enumerate(specs)}

    def show(name: str, line: str) -> None:
        console.print(f"[{colours[name]}]{name:<{width}}[/] │ ", end="", highlight=False)
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    return show


def table(run: Run) -> Table:
    """What runs where."""
    found = Table(title="Running; Ctrl-C stops all of it")
    for column in ("process", "role", "address"):
        found.add_column(column)
    for spec in run.specs:
        found.add_row(spec.name, spec.role, f"127.0.0.1:{spec.port}" if spec.port else "")
    found.add_row("mail sink", "smtp", f"127.0.0.1:{run.ports.smtp}")
    found.add_row("collector", "otlp/http", f"127.0.0.1:{run.ports.collector}")
    for name, url in run.urls.items():
        found.add_row(f"[bold]{name}[/]", "open", url)
    return found


async def up_command(options: Options) -> None:
    """`laneway up`."""
    console = Console(soft_wrap=True)
    run = planned(options)
    await up(run, prefixed(console, run.specs), lambda: console.print(table(run)), until_signalled())


async def demo_command(options: Options) -> None:
    """`laneway demo`: the logs are shown only when it fails."""
    console, lines = Console(soft_wrap=True), []
    run = planned(options)
    begin = time.monotonic()
    try:
        await demo(run, lambda name, line: lines.append(f"{name} │ {line}"), console)
    except* (LanewayError, httpx.HTTPError) as group:
        print("\n".join(lines[-60:]), file=sys.stderr)
        raise group.exceptions[0] from None
    console.print(f"\nall of it, from start to stop: {time.monotonic() - begin:.1f} s")
