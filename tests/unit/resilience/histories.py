"""How long the machines are run, and that they are: hypothesis ends a history when it likes, so that steps are counted."""

import os

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, run_state_machine_as_test

PARTS, STEPS = (10, 50_000) if os.environ.get("CI") else (1, 10_000)
"""Parts of a machine's run, each a test of its own and with other histories than the rest; steps of each. Two machines
make a million steps in CI."""

_LENGTH = 40

in_parts = pytest.mark.parametrize("part", range(PARTS))


class Machine(RuleBasedStateMachine):
    """One that counts its steps."""

    steps = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).steps -= 1  # it is looked at before the first, too

    @invariant()
    def a_step_was_made(self) -> None:
        type(self).steps += 1


def run(machine: type[Machine], part: int) -> None:
    """Run it through many short histories, that shrink to the point; and through no fewer steps than it should."""
    counted = seed(part)(type(f"{machine.__name__}{part}", (machine,), {}))
    run_state_machine_as_test(
        counted,
        settings=settings(
            max_examples=5 * STEPS // (4 * _LENGTH),
            stateful_step_count=_LENGTH,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
    assert counted.steps >= STEPS
