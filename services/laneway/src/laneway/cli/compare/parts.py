"""The processes that are measured, as `laneway up` runs them: a broker, a caller, a callee with its worker, an edge."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from laneway.cli.discovery import Installed
from laneway.cli.embedded import valkey
from laneway.cli.migrate import migrate
from laneway.cli.up import ports, state
from laneway.cli.up.launch import Launch
from laneway.cli.up.output import Output
from laneway.cli.up.plan import FAULTS, LOCAL, Options, Plan, Process, make_plan
from laneway.cli.up.readiness import until_ready
from laneway.cli.up.supervisor import Patience, Supervisor
from laneway.compare import services
from laneway.lanes.faults import Fault, Kind, remove
from laneway.settings import Settings

CALLEE = "callee"

LOOK_AGAIN = 0.02
"""Seconds between looks at what runs."""

SILENT = frozenset({"LANEWAY_OTLP_ENDPOINT"})
"""Nobody collects spans here, so none are sent; they are made all the same."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What runs."""

    plan: Plan
    supervisor: Supervisor

    def port(self, name: str) -> int:
        """Where a process serves."""
        [process] = [each for each in self.plan.processes if each.name == name]
        return process.port or 0

    def database(self, service: str) -> Path:
        """The file of a service's database."""
        return self.plan.data / f"{service}.db"

    def slow(self, seconds: float) -> None:
        """Let each call of the callee take so much longer; none, if it is 0."""
        folder = self.plan.data / FAULTS
        if seconds:
            Fault(Kind.SLOW, seconds=seconds).write(folder, CALLEE)
        else:
            remove(folder, CALLEE)

    async def kill(self) -> None:
        """kill -9 of the callee's server and of its worker; return when they have ended. They stay down."""
        self.supervisor.hold(CALLEE, down=True)
        names = {process.name for process in self.plan.processes if process.service == CALLEE}
        while names & self.supervisor.pids.keys():  # noqa: ASYNC110 (the supervisor tells of changes, but not us)
            await asyncio.sleep(LOOK_AGAIN)

    async def revive(self) -> None:
        """Let the callee run again; return when it serves."""
        self.supervisor.hold(CALLEE, down=False)
        for process in self.plan.processes:
            if process.service == CALLEE:
                await until_ready(process)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Parts]:
    """Everything that is measured, ready, in a folder of its own; stopped and gone at exit."""
    with tempfile.TemporaryDirectory(prefix="laneway-compare-") as folder, closing(Launch()) as launcher:
        launcher.prepare()
        installed = _installed()
        plan = _plan(Path(folder), installed)
        for made in (plan.data / "valkey", plan.data / FAULTS):
            state.make_folder(made)
        output = Output(Console(stderr=True), held=True)
        supervisor = Supervisor(launcher, output, patience=Patience(stop=settings.grace_seconds))
        try:
            placed = settings.model_copy(update={"database_url": plan.database_url, "databases": {}})
            await asyncio.to_thread(migrate, installed, placed.database)
            await supervisor.start(plan.processes)
            yield Parts(plan, supervisor)
        except Exception:  # not a stop, which needs no explanation
            output.show_held()
            raise
        finally:
            await supervisor.stop()


def _installed() -> list[Installed]:
    from laneway.runtime.installed import looked_at

    return [Installed.of(name, looked_at(name, factory)) for name, factory in services.PARTS.items()]


def _plan(folder: Path, installed: Sequence[Installed]) -> Plan:
    options = Options(host=LOCAL, port=0, data=folder, log_level="WARNING")
    plan = make_plan(
        installed, (), options, ports=ports.from_base(0), edge_ports=ports.from_base(0), broker=valkey.find_server()
    )
    return replace(plan, processes=tuple(_of_ours(each, plan.edge_url or "") for each in plan.processes))


def _of_ours(process: Process, edge_url: str) -> Process:
    if process.program is not None:
        return process
    kept = {name: value for name, value in process.environment.items() if name not in SILENT}
    _, service, *role = process.command  # run SERVICE --role ROLE
    return replace(process, command=("compare-part", service, *role), environment={**kept, services.EDGE_URL: edge_url})
