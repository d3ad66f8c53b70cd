"""`laneway run --reload`: the role in a process of its own, started again when a source file changes."""

from collections.abc import Iterator
from importlib.metadata import entry_points
from importlib.util import find_spec

from watchfiles import PythonFilter, run_process

from laneway.runtime import SERVICES, run
from laneway.settings import Settings


def run_reloading(service: str, role: str) -> None:
    """Run until SIGTERM or SIGINT; a role that fails waits for the next change."""
    run_process(*_sources(), target=_run, args=(service, role), watch_filter=PythonFilter(), debounce=50, step=20)


def _run(service: str, role: str) -> None:
    run(service, role, Settings.load())


def _sources() -> Iterator[str]:
    """The folders of the library and of every package that declares a service."""
    declared = {entry.module.partition(".")[0] for entry in entry_points(group=SERVICES)}
    for package in sorted({"laneway", "shop", *declared}):
        spec = find_spec(package)
        yield from (spec.submodule_search_locations or ()) if spec is not None else ()
