"""The composition of a process: what each role of a service is made of, started in order and stopped in reverse.

One event loop per process. Each role is a module that is imported when it runs, so that a worker loads no web framework
and an edge no Celery.
"""

from typing import TYPE_CHECKING

from laneway.errors import ConfigurationError

if TYPE_CHECKING:
    from laneway.runtime.installed import Factory
    from laneway.settings import Settings

SERVICES = "laneway.services"
"""The entry-point group in which distributions name their services' factories."""


def run(name: str, role: str, settings: "Settings", factory: "Factory | None" = None) -> None:
    """Run one role of a service until SIGTERM or SIGINT: of an installed one, if no factory is given.

    Raises:
        ConfigurationError: the service, the role or its surroundings are not as they must be.
    """
    from laneway.runtime.installed import factory_of

    configure(name, settings)
    factory = factory or factory_of(name)
    match role:
        case "rest":
            from laneway.runtime import rest

            rest.run(name, factory, settings)
        case "grpc":
            from laneway.runtime import grpc

            grpc.run(name, factory, settings)
        case "worker" | "cpu-worker":
            from laneway.runtime import worker

            worker.run(name, role, factory, settings)
        case _:
            raise ConfigurationError(f"There is no role `{role}`; the roles are rest, grpc, worker and cpu-worker.")


def configure(name: str, settings: "Settings") -> None:
    """What a process has once: where its logs go, and what its metrics leave out."""
    from prometheus_client import disable_created_metrics

    from laneway.telemetry import logs

    logs.configure(name, settings.log_format, settings.log_level)
    disable_created_metrics()  # type: ignore[no-untyped-call] # a second series for each counter, which nobody asks for
