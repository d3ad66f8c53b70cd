"""`laneway fault` writes what the processes read."""

import os
from pathlib import Path

import pytest

from laneway.cli.fault import set_fault
from laneway.cli.up.plan import FAULTS
from laneway.cli.up.state import Place, State
from laneway.errors import ConfigurationError
from laneway.lanes.faults import Fault, Kind


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of a `laneway up` that runs."""
    (tmp_path / FAULTS).mkdir()
    processes = {
        "orders": Place(1, 1, "grpc", "orders"),
        "gateway-rest": Place(2, 2, "rest", "gateway"),
        "valkey": Place(3, 3, "broker", "valkey"),
    }
    State(os.getpid(), {}, processes).write(tmp_path)
    return tmp_path


def test_a_fault_is_given_and_taken_away(data: Path) -> None:
    said = set_fault(data, "orders", "flaky", seconds=2.0, share=0.2)
    assert said == "orders is failing in 20% of its calls; `laneway fault orders none` ends it."
    assert Fault.read(data / FAULTS, "orders") == Fault(Kind.FLAKY, seconds=2.0, share=0.2)
    assert set_fault(data, "orders", "none", seconds=2.0, share=0.2) == "orders is well again."
    assert Fault.read(data / FAULTS, "orders") is None


@pytest.mark.parametrize(
    ("service", "kind", "sentence"),
    [
        ("nobody", "slow", "There is no service `nobody`; there are: gateway, orders."),
        ("valkey", "down", "There is no service `valkey`; there are: gateway, orders."),
        ("orders", "sick", "There is no fault `sick`; there are: down, error, flaky, hang, none, slow."),
        ("gateway", "slow", "gateway has no handlers that could fail; it can be `down`."),
    ],
)
def test_a_mistake_says_what_there_is(data: Path, service: str, kind: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        set_fault(data, service, kind, seconds=2.0, share=0.5)
    assert refused.value.message == sentence
