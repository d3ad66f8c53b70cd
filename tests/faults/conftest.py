"""The figures of the fault suite, told at its end."""

from collections.abc import Callable

import pytest

Figure = Callable[[str, str, str], None]
"""Keeps what was measured, how much it was, and the goal."""

_KEPT = pytest.StashKey[list[tuple[str, str, str]]]()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    kept = request.config.stash.setdefault(_KEPT, [])
    return lambda work, measured, goal: kept.append((work, measured, goal))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash.get(_KEPT, [])
    if rows:
        terminalreporter.section("figures")
    for work, measured, goal in rows:
        terminalreporter.write_line(f"{work:<64} {measured:>24}  {goal}")
