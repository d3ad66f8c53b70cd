"""`laneway migrate`: databases to the revisions of this code. Needs nothing of what `laneway up` embeds."""

from collections.abc import Callable, Sequence
from time import monotonic, sleep

from laneway.cli.discovery import Installed
from laneway.errors import ConfigurationError

PAUSE = 1.0
"""Seconds between attempts to reach a database."""


def migrate(services: Sequence[Installed], database_of: Callable[[str], str], *, wait: float = 0.0) -> None:
    """Bring the databases of services to the revisions of this code; safe to run again, and beside itself.

    Args:
        database_of: gives the URL of a service's database.
        wait: seconds to go on trying while a database cannot be reached.

    Raises:
        ConfigurationError: one cannot be.
    """
    patience = monotonic() + wait
    for each in services:
        if each.database:
            _migrate(each, database_of(each.name), patience)


def _migrate(service: Installed, url: str, patience: float) -> None:
    from laneway.store.migrations import migrate

    while True:
        try:
            return migrate(url, author=service.migrations, service=service.name)
        except ConfigurationError as error:
            if monotonic() > patience:
                raise
            print(f"{service.name}: {error.message}", flush=True)
        sleep(PAUSE)
