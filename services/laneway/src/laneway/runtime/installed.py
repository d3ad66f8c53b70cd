"""The installed services: found by entry point, and described without being run."""

from collections.abc import AsyncIterator, Callable
from importlib.metadata import EntryPoint, entry_points
from traceback import extract_tb

from google.protobuf.message import Message

from laneway.contract.model import Method
from laneway.errors import ConfigurationError, FailedPrecondition, LanewayError
from laneway.lanes.outgoing import Lanes
from laneway.lanes.transport import Answer
from laneway.resilience.pipeline import Pipelines
from laneway.runtime import SERVICES
from laneway.service import Service
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing

Factory = Callable[[Lanes], Service]


def factory_of(name: str) -> Factory:
    """The factory of an installed service.

    Raises:
        ConfigurationError: no such service is installed, or its module cannot be imported.
    """
    for entry in entry_points(group=SERVICES, name=name):
        try:
            factory: Factory = entry.load()
        except LanewayError:
            raise
        except Exception as error:
            raise _not_importable(name, entry, error) from error
        return factory
    known = ", ".join(sorted(entry_points(group=SERVICES).names)) or "none"
    raise ConfigurationError(
        f"There is no service `{name}`; installed are: {known}. "
        f"A distribution names its services in the entry-point group `{SERVICES}`."
    )


def _not_importable(name: str, entry: EntryPoint, error: Exception) -> ConfigurationError:
    frames = [each for each in extract_tb(error.__traceback__) if not each.filename.startswith("<frozen ")]
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 else ""
    cause = f"{type(error).__name__}: {error}".rstrip(".")
    return ConfigurationError(
        f"The service `{name}` cannot be loaded: importing `{entry.value}` fails with {cause}{place}; "
        "mend the module, or install what it needs."
    )


def describe(name: str) -> Service:
    """An installed service as its author declared it, for reading only: its lanes lead nowhere."""
    return looked_at(name, factory_of(name))


def looked_at(name: str, factory: Factory) -> Service:
    """What a factory makes, for reading only."""
    return factory(Lanes(Nowhere(), pipelines=Pipelines(), tracing=Tracing(name, name, None), metrics=Metrics()))


class Nowhere:
    """The transport of a service that is only looked at."""

    async def unary(self, method: Method, *_: object) -> Answer:
        raise FailedPrecondition(f"{method.full_name} was called in a service that does not run.")

    def stream(self, method: Method, *_: object) -> AsyncIterator[Message]:
        raise FailedPrecondition(f"{method.full_name} was called in a service that does not run.")

    async def close(self) -> None:
        """Nothing to close."""
