"""The process of a slot: what every role of a service has, and a pipe to the worker whose messages it runs."""

import multiprocessing
import signal
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import uvloop

from laneway.lanes.queue.slot import serve
from laneway.runtime import configure
from laneway.runtime.backend import backend
from laneway.runtime.installed import Factory
from laneway.runtime.process import process
from laneway.service import CPU_WORKER
from laneway.settings import Settings

DATABASE_POOL = 2
"""Connections of one slot to its database: it runs one message."""


def begin(name: str, factory: Factory, settings: Settings) -> tuple[BaseProcess, Connection]:
    """Start a process for a service's `cpu_bound` queues: itself, and our end of the pipe to it.

    It is a fresh interpreter: forked from a worker, with its threads and its gRPC channels, it would hang.
    """
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    begun = spawning.Process(target=_main, args=(name, factory, settings, theirs), name=f"{name}-slot")
    begun.start()
    theirs.close()
    return begun, ours


def _main(name: str, factory: Factory, settings: Settings, connection: Connection) -> None:
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, signal.SIG_IGN)  # the worker says when: what it runs has its grace
    configure(name, settings)
    own = {"admin_port": None, "database_pool": min(DATABASE_POOL, settings.database_pool)}
    uvloop.run(_serve(name, factory, settings.model_copy(update=own), connection))


async def _serve(name: str, factory: Factory, settings: Settings, connection: Connection) -> None:
    async with process(name, CPU_WORKER, factory, settings) as own, backend(own) as back:
        methods = own.service.contract.methods
        await serve(connection, back.dispatcher, methods, lambda: list(own.metrics.registry.collect()))
