"""What is installed: services, their companions and demos, by entry point. Loads a thing only when it is asked for."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from laneway.errors import ConfigurationError
from laneway.runtime import SERVICES

if TYPE_CHECKING:
    from laneway.contract.model import Method
    from laneway.service import Service

COMPANIONS = "laneway.companions"
"""Programs beside services on a laptop: `def main() -> None` that serves on `PORT` and keeps files in `DATA`."""
DEMOS = "laneway.demos"
"""Scenarios: `async def demo(http_url: str, mail_url: str) -> str`, the id of the trace to show."""

LOADS = "laneway.loads"
"""What `laneway load` calls: `def load(http_url: str)`, an asynchronous context manager that gives a `Caller`."""


Caller = Callable[[], Awaitable[str]]
"""Makes one call; `ok`, `degraded` or `failed`."""

MakeCaller = Callable[[str], AbstractAsyncContextManager[Caller]]
Demo = Callable[[str, str], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Installed:
    """An installed service, as far as running it is concerned.

    `queues` are those of its `worker`, `cpu_queues` those of its `cpu-worker`.
    """

    name: str
    roles: tuple[str, ...]
    queues: tuple[str, ...] = ()
    migrations: Path | None = None
    database: bool = True
    cpu_queues: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, service: "Service") -> "Installed":
        """A service as it describes itself."""
        queues, cpu_queues = (tuple(sorted(service.consumed(role))) for role in ("worker", "cpu-worker"))
        return cls(name, service.roles, queues, service.migrations, service.database, cpu_queues)


def service_names() -> Sequence[str]:
    """The names of all installed services."""
    return sorted(entry_points(group=SERVICES).names)


def installed(names: Sequence[str] = ()) -> Sequence[Installed]:
    """The named services; without names, all.

    Raises:
        ConfigurationError: there is none, or one of them is not as it must be.
    """
    chosen = names or service_names()
    if not chosen:
        raise _nothing_installed()
    from laneway.runtime.installed import describe

    return [_seen(name, describe(name)) for name in chosen]


def methods() -> list["Method"]:
    """The methods of all installed services.

    Raises:
        ConfigurationError: there is none, or a service is not as it must be.
    """
    names = service_names()
    if not names:
        raise _nothing_installed()
    from laneway.runtime.installed import describe

    return [method for name in names for method in describe(name).contract]


def companion_names() -> Sequence[str]:
    """The names of all installed companions."""
    return sorted(entry_points(group=COMPANIONS).names)


def companion(name: str) -> Callable[[], None]:
    """The program of a companion.

    Raises:
        ConfigurationError: it is not installed.
    """
    run: Callable[[], None] = _entry(COMPANIONS, name, "companion").load()
    return run


def the_demo() -> Demo:
    """The scenario of this installation.

    Raises:
        ConfigurationError: there is none.
    """
    for name in sorted(entry_points(group=DEMOS).names):
        demo: Demo = _entry(DEMOS, name, "demo").load()
        return demo
    raise ConfigurationError(f"No demo is installed; a distribution names one in the entry-point group `{DEMOS}`.")


def the_load() -> MakeCaller:
    """What this installation is driven by.

    Raises:
        ConfigurationError: there is nothing.
    """
    for name in sorted(entry_points(group=LOADS).names):
        load: MakeCaller = _entry(LOADS, name, "load").load()
        return load
    raise ConfigurationError(f"No load is installed; a distribution names one in the entry-point group `{LOADS}`.")


def _nothing_installed() -> ConfigurationError:
    return ConfigurationError(
        f"No service is installed; a distribution names its services in the entry-point group `{SERVICES}`."
    )


def _entry(group: str, name: str, kind: str) -> EntryPoint:
    for entry in entry_points(group=group, name=name):
        return entry
    known = ", ".join(sorted(entry_points(group=group).names)) or "none"
    raise ConfigurationError(f"There is no {kind} `{name}`; installed are: {known}.")


def _seen(name: str, service: "Service") -> Installed:
    if service.exposed:
        from laneway.lanes.rest.codec import JsonCodec
        from laneway.lanes.rest.router import Router

        Router(service.exposed, JsonCodec())  # a route that is none is found here, and not by the edge that starts last
    return Installed.of(name, service)
