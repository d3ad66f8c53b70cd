"""Services that a person has told to be down are not kept running, until they are told otherwise."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from laneway.cli.up.supervisor import Supervisor
from laneway.lanes.faults import LOOK_AGAIN, Fault, Kind


@asynccontextmanager
async def outages(folder: Path, supervisor: Supervisor) -> AsyncIterator[None]:
    """Obey the faults in a folder while the block runs."""
    watching = asyncio.create_task(_watch(folder, supervisor))
    watching.add_done_callback(supervisor.watch)
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _watch(folder: Path, supervisor: Supervisor) -> None:
    while True:
        for service in {process.service for process in supervisor.processes}:
            fault = Fault.read(folder, service)
            supervisor.hold(service, down=fault is not None and fault.kind is Kind.DOWN)
        await asyncio.sleep(LOOK_AGAIN)
