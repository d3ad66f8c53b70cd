"""The database of an installed service, for commands that look at it: under `laneway up`, or where its URL says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from laneway.errors import ConfigurationError
from laneway.settings import Settings

if TYPE_CHECKING:
    from laneway.service import Service
    from laneway.store import Store


@dataclass(frozen=True, slots=True)
class OpenService:
    """A service as its author declared it, and its database."""

    service: "Service"
    store: "Store"


def database_url(settings: Settings, service: str, data: Path) -> str:
    """Where a service's database is: as the settings say, or else in the folder of `laneway up`."""
    if service in settings.databases or "database_url" in settings.model_fields_set:
        return settings.database(service)
    return f"sqlite:///{data.resolve()}/{service}.db"


@asynccontextmanager
async def opened(settings: Settings, name: str, data: Path) -> AsyncIterator[OpenService]:
    """A service's database, whose schema must be of this code's version or the next.

    Raises:
        ConfigurationError: there is no such service, it has no database, or the database cannot be used.
    """
    from laneway.runtime.installed import describe
    from laneway.store import Store
    from laneway.store.migrations import check

    service = describe(name)
    if not service.database:
        raise ConfigurationError(f"{name} has no database, and so no events.")
    url = database_url(settings, name, data)
    _require_file(url, name)
    await asyncio.to_thread(check, url, author=service.migrations, service=name)
    store = await Store.open(url, pool=2)
    try:
        yield OpenService(service, store)
    finally:
        await store.close()


def _require_file(url: str, service: str) -> None:
    """A command that looks must not be told of revisions where there is nothing to look at."""
    from laneway.store import location

    place = location.parsed(url)
    file = location.sqlite_file(place)
    if place.get_backend_name() == "sqlite" and file is not None and not file.exists():
        raise ConfigurationError(
            f"There is no database of {service} at {file}; name the folder of `laneway up` with --data, or set "
            f"{location.SETTINGS}."
        )
