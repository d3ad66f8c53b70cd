"""`laneway fault`: let a service of the running `laneway up` fail, or be well again."""

from collections.abc import Iterable
from pathlib import Path

from laneway.cli.up.plan import FAULTS
from laneway.cli.up.state import State
from laneway.errors import ConfigurationError
from laneway.lanes.faults import Fault, Kind, remove

WELL = "none"


def set_fault(data: Path, service: str, kind: str, *, seconds: float, share: float) -> str:
    """Give a service a fault, or take it away; the sentence that says so.

    Raises:
        ConfigurationError: nothing runs there, or there is no such service or fault.
    """
    state = State.read(data)
    if state is None:
        raise ConfigurationError(f"Nothing runs in {data}; start `laneway up`, or name its folder with --data.")
    running = [place for place in state.processes.values() if place.role in ("grpc", "worker", "cpu-worker", "rest")]
    _known("service", service, {place.service for place in running})
    of_service = [place for place in running if place.service == service]
    _known("fault", kind, [*Kind, WELL])
    if kind not in (WELL, Kind.DOWN) and not any(each.role == "grpc" for each in of_service):
        raise ConfigurationError(f"{service} has no handlers that could fail; it can be `{Kind.DOWN}`.")
    folder = data / FAULTS
    if kind == WELL:
        remove(folder, service)
        return f"{service} is well again."
    Fault(Kind(kind), seconds=seconds, share=share).write(folder, service)
    return f"{service} is {_described(kind, seconds, share)}; `laneway fault {service} none` ends it."


def _known(what: str, given: str, known: Iterable[str]) -> None:
    if given not in (names := sorted(known)):
        raise ConfigurationError(f"There is no {what} `{given}`; there are: {', '.join(names)}.")


def _described(kind: str, seconds: float, share: float) -> str:
    return {
        Kind.SLOW: f"{seconds:g} s slower",
        Kind.ERROR: "failing",
        Kind.HANG: "hanging",
        Kind.FLAKY: f"failing in {share:.0%} of its calls",
        Kind.DOWN: "down",
    }[Kind(kind)]
