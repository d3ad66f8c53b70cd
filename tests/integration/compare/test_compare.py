"""`laneway compare` on this machine, a fifth as long: real processes, a real Valkey, and what the docs say of the lanes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LANES = ("REST", "gRPC", "queue", "event")
LATER = ("queue", "event")
"""Lanes on which the caller does not wait for the work."""


@pytest.fixture(scope="module")
def compared() -> dict[str, Any]:
    command = [sys.executable, "-m", "laneway.cli", "compare", "--scale", "0.2", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def lanes(compared: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(each["scenario"], each["lane"]): each for each in compared["lanes"]}


def test_every_lane_is_measured_in_every_scenario(lanes: dict[tuple[str, str], dict[str, Any]]) -> None:
    scenarios = ("healthy", "callee slow", "10x burst", "callee down")
    assert set(lanes) == {(scenario, lane) for scenario in scenarios for lane in LANES} | {("healthy", "(none)")}


def test_a_healthy_callee_answers_by_every_lane(lanes: dict[tuple[str, str], dict[str, Any]]) -> None:
    for lane in LANES:
        healthy = lanes["healthy", lane]
        assert healthy["ok"] == healthy["done"] == healthy["asked"] > 0
        assert healthy["per_second"] > 0
        assert healthy["bytes"] > 512, "each carries at least the request"
    assert lanes["healthy", "REST"]["bytes"] > lanes["healthy", "gRPC"]["bytes"], "the edge has a call behind it"
    assert lanes["healthy", "(none)"]["done"] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="CPU time is read from /proc")
def test_cpu_time_is_that_of_all_who_take_part(lanes: dict[tuple[str, str], dict[str, Any]]) -> None:
    alone = lanes["healthy", "(none)"]["cpu"]
    assert all(lanes["healthy", lane]["cpu"] > alone > 0 for lane in LANES)


def test_a_slow_callee_is_waited_for_only_by_those_who_want_its_answer(
    lanes: dict[tuple[str, str], dict[str, Any]],
) -> None:
    assert all(lanes["callee slow", lane]["answer_p50"] > 500 for lane in LANES if lane not in LATER)
    assert all(lanes["callee slow", lane]["answer_p50"] < 500 for lane in LATER)
    assert all(lanes["callee slow", lane]["done_p50"] > 500 for lane in LANES)


def test_whom_a_dead_callee_fails_and_whom_it_only_delays(lanes: dict[tuple[str, str], dict[str, Any]]) -> None:
    for lane in LANES:
        down = lanes["callee down", lane]
        if lane in LATER:
            assert down["ok"] == down["done"] == down["asked"] > 0
            assert down["done_p50"] > 400, "they ask for 0.8 s, and nobody works before all have asked"
        else:
            assert down["ok"] == 0
            assert down["noticed"].keys() <= {"UNAVAILABLE", "DEADLINE_EXCEEDED"}


def test_nothing_that_was_accepted_in_a_burst_is_lost(lanes: dict[tuple[str, str], dict[str, Any]]) -> None:
    for lane in LATER:
        burst = lanes["10x burst", lane]
        assert burst["ok"] == burst["done"] == burst["asked"] > 0
        assert max(burst["waiting"]) > 0


def test_what_state_costs_is_told_of_a_row_and_of_logs(compared: dict[str, Any]) -> None:
    kept = {each["how"]: each for each in compared["kept"]}
    assert next(iter(kept)) == "a row"
    assert sum(how.startswith("events, ") for how in kept) == len(kept) - 1 == 3
    assert all(each["answer_p50"] > 0 for each in kept.values())
    assert all(each["stored"] > 0 for each in kept.values()), "nobody frees anything of that database meanwhile"


def test_a_comparison_that_is_stopped_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "laneway.cli", "compare"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    ) as it:
        assert it.stderr is not None
        said = ""
        while "a row" not in said:
            said = it.stderr.readline()
            assert said, "it has ended"
        [folder] = tmp_path.glob("laneway-compare-*")
        it.send_signal(signal.SIGINT)
        rest = it.stderr.read()
        assert it.wait(60) == 1
    assert rest.endswith("The comparison was stopped.\n")
    assert not folder.exists()
