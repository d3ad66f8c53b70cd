"""The shop of a run: as `laneway up` has it, on SQLite or on a PostgreSQL of its own, with `trouble` in fulfilment."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from laneway.cli.embedded.mail import Mailbox
from laneway.cli.up.plan import FAULTS
from laneway.cli.up.ports import listener
from laneway.lanes.faults import Fault, Kind, remove
from laneway.store import Store
from tests.chaos import sabotage, trouble
from tests.fixtures.postgres import RestartedServer
from tests.fixtures.shop import RunningShop

ROOT = Path(__file__).parents[2]

SERVICES = ("catalog", "orders", "inventory", "payments", "fulfilment", "notifications")
"""Those that have a database."""

MAILS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TroubledShop:
    """What a run does things to, and looks at afterwards."""

    running: RunningShop
    environment: Mapping[str, str]
    stores: Mapping[str, Store]
    mailbox: Mailbox
    postgres: RestartedServer | None

    @property
    def broker_url(self) -> str:
        return f"redis://127.0.0.1:{self.running.state['processes']['valkey']['port']}"

    def pid(self, name: str) -> int | None:
        """The process's id; none while it is being started."""
        pid = self.running.state["processes"][name]["pid"]
        return None if pid is None else int(pid)

    def service(self, name: str) -> str:
        """The service that a process is of."""
        return str(self.running.state["processes"][name]["service"]) if name else ""

    def names(self, *roles: str) -> list[str]:
        """The processes of some roles, or all."""
        processes = self.running.state["processes"].items()
        return sorted(name for name, process in processes if not roles or process["role"] in roles)

    def take_down(self, service: str) -> None:
        """Nothing of a service runs, until it is brought back."""
        Fault(Kind.DOWN).write(self.running.data / FAULTS, service)

    def bring_back(self, service: str) -> None:
        remove(self.running.data / FAULTS, service)


@asynccontextmanager
async def troubled_shop(folder: Path, *, postgres: bool, without: str | None = None) -> AsyncIterator[TroubledShop]:
    """A shop that runs; `without` names the guarantee that is taken out of it."""
    async with AsyncExitStack() as stack:
        server = RestartedServer() if postgres else None
        if server is not None:
            stack.callback(server.stop)  # also if it does not start to its end
            await asyncio.to_thread(server.start, SERVICES)
        mailbox = Mailbox(kept=MAILS)
        environment = {
            "PYTHONPATH": os.pathsep.join((str(_installed(folder / "installed", without)), str(ROOT))),
            "SMTP_URL": await _mail_server(stack, mailbox),
            **({} if server is None else {"LANEWAY_DATABASE_URL": server.pattern, "LANEWAY_DATABASE_POOL": "4"}),
            **({} if without is None else {sabotage.VARIABLE: without}),
        }
        data = folder / "data"
        data.mkdir()
        running = await asyncio.to_thread(lambda: RunningShop(data, **environment))
        stack.push_async_callback(asyncio.to_thread, running.stop)
        pattern = f"sqlite:///{data}/{{service}}.db" if server is None else server.pattern
        stores = {}
        for name in SERVICES:
            stores[name] = await Store.open(pattern.replace("{service}", name), pool=1)
            stack.push_async_callback(stores[name].close)
        await asyncio.to_thread(_make_tables, pattern.replace("{service}", trouble.OWNER))
        yield TroubledShop(
            running=running, environment=environment, stores=stores, mailbox=mailbox, postgres=server
        )  # fmt: skip


async def _mail_server(stack: AsyncExitStack, mailbox: Mailbox) -> str:
    """The embedded one, with a longer memory."""
    socket = listener("127.0.0.1", 0)
    server = await asyncio.get_running_loop().create_server(mailbox.protocol, sock=socket)
    stack.callback(server.close)
    return f"smtp://127.0.0.1:{socket.getsockname()[1]}"


def _installed(folder: Path, without: str | None) -> Path:
    """A folder that installs the troubled fulfilment before the shop's, for processes that have it in their path."""
    package = folder / "trouble-1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: trouble\nVersion: 1\n")
    (package / "entry_points.txt").write_text(f"[laneway.services]\n{trouble.OWNER} = tests.chaos.trouble:service\n")
    if without is not None:  # Python imports it at the start of every process
        taken_out = f"from tests.chaos.sabotage import KINDS\nKINDS[{without!r}]()\n"
        (folder / "sitecustomize.py").write_text(taken_out)
    return folder


def _make_tables(url: str) -> None:
    place = make_url(url)
    if place.get_backend_name() == "postgresql":
        place = place.set(drivername="postgresql+psycopg")
    engine = create_engine(place)
    try:
        trouble.metadata.create_all(engine)
    finally:
        engine.dispose()
