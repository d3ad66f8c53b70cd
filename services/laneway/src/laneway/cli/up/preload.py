"""Imported by the fork server, once, for all processes that it forks: everything that a role may need.

Must make no thread, channel, connection or event loop. What cannot be imported says so in the process that needs it.
"""

import gc
import importlib
from contextlib import suppress
from importlib.metadata import entry_points

from laneway.cli.discovery import COMPANIONS
from laneway.runtime import SERVICES

MODULES = (
    "laneway.cli",
    "laneway.cli.commands",
    "laneway.cli.up.launch",
    "laneway.runtime.grpc",
    "laneway.runtime.rest",
    "laneway.runtime.worker",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "celery.app.amqp",
    "celery.app.control",
    "celery.apps.worker",
    "celery.concurrency.thread",
    "celery.loaders.app",
    "celery.worker.consumer",
    "celery.worker.strategy",
    "kombu.transport.redis",
    "uvicorn.lifespan.off",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "uvloop",
)

for _module in MODULES:
    with suppress(Exception):
        importlib.import_module(_module)
for _group in (SERVICES, COMPANIONS):
    for _entry in entry_points(group=_group):
        with suppress(Exception):
            _entry.load()
gc.collect()
gc.freeze()
