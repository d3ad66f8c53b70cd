"""`up.json` tells what runs."""

import itertools
import json
import os
from pathlib import Path

import pytest

from laneway.cli.discovery import Installed
from laneway.cli.up import state
from laneway.cli.up.plan import Options, make_plan
from laneway.cli.up.state import Place, State
from laneway.errors import ConfigurationError


def state_in(data: Path) -> State:
    options = Options(host="127.0.0.1", port=8080, data=data)
    services = [Installed("orders", ("grpc", "worker"))]
    ports = itertools.count(50051)
    plan = make_plan(services, [], options, ports=ports, edge_ports=ports, broker=None)
    return State.of(plan, plan.processes, {"orders": 7})


def test_what_was_written_is_read(tmp_path: Path) -> None:
    written = state_in(tmp_path)

    written.write(tmp_path)

    assert State.read(tmp_path) == written
    assert written.processes == {
        "orders": Place(7, 50051, "grpc", "orders", "http://127.0.0.1:50055"),
        "orders-worker": Place(None, None, "worker", "orders", "http://127.0.0.1:50056"),
    }


def test_a_second_one_in_a_folder_is_refused(tmp_path: Path) -> None:
    state_in(tmp_path).write(tmp_path)

    with pytest.raises(ConfigurationError, match=f"runs in {tmp_path} already \\(process {os.getpid()}\\)"):
        state.refuse_second(tmp_path)


def test_what_a_dead_supervisor_left_is_nothing(tmp_path: Path) -> None:
    state_in(tmp_path).write(tmp_path)
    file = tmp_path / "up.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"pid": 2**22 + 1}))

    assert State.read(tmp_path) is None
    state.refuse_second(tmp_path)


def test_after_the_end_there_is_no_state(tmp_path: Path) -> None:
    state_in(tmp_path).write(tmp_path)

    state.remove(tmp_path)

    assert State.read(tmp_path) is None
