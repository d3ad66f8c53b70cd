"""WorkerPools as people see them."""

import json
import subprocess
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from laneway.cli.pools import fetch_pools, show_pools
from laneway.errors import ConfigurationError, Unavailable


def pool(name: str = "mail", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"queues": [{"name": "mail"}, {"name": "bulk"}], "objective": {"waiting": "10s"}, "mode": "Active"},
        "status": status,
    }


def printed(*pools: dict[str, Any]) -> list[str]:
    file = StringIO()
    show_pools(lambda: pools, Console(file=file))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_a_row_says_what_waits_what_runs_and_why() -> None:
    lines = printed(
        pool(waiting=400, oldestSeconds=75, running=8, parked=1, readyReplicas=2, replicas=2, desiredReplicas=10,
             objectiveMet="False", reason="ScaleOut")
    )  # fmt: skip
    assert lines[0].split() == [
        "namespace", "pool", "queue", "waiting", "oldest", "running", "parked", "pods", "objective", "met", "mode", "why",
    ]  # fmt: skip
    assert lines[1].split() == [
        "shop", "mail", "mail,bulk", "400", "1m15s", "8", "1", "2/2", "→", "10", "10s", "no", "Active", "ScaleOut",
    ]  # fmt: skip


def test_a_pool_that_nobody_has_looked_at_says_so() -> None:
    assert "not looked at yet" in printed(pool())[1]


def test_a_condition_that_does_not_hold_is_said_in_full_below() -> None:
    sentence = "The broker does not answer. " + "x" * 90
    bad = {"type": "MetricsAvailable", "status": "False", "reason": "BrokerAway", "message": sentence}
    dry = {"type": "ScalingActive", "status": "False", "reason": "DryRun", "message": "spec.mode is DryRun."}
    lines = printed(pool(conditions=[bad, dry]))
    assert lines[2:] == ["", f"shop/mail: {sentence}"]


def test_on_a_terminal_the_table_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("laneway.cli.pools.EACH", 0)
    answers = iter([[pool(waiting=1)], [pool(waiting=2)], [pool(waiting=3)]])
    file = StringIO()
    show_pools(lambda: next(answers), Console(file=file, force_terminal=True, width=200), looks=3)
    rows = [line.split() for line in file.getvalue().splitlines() if "mail,bulk" in line]
    assert [row[3] for row in rows if row[3].isdigit()][:3] == ["1", "2", "3"]


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubectl that says what the test writes into it."""
    program = tmp_path / "kubectl"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return program


def write(program: Path, text: str) -> None:
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


def test_the_cluster_is_asked_by_kubectl(kubectl: Path, tmp_path: Path) -> None:
    (tmp_path / "answer").write_text(json.dumps({"items": [pool("b"), pool("a")]}))
    write(kubectl, f'echo "$@" > {tmp_path}/asked; cat {tmp_path}/answer')
    assert [each["metadata"]["name"] for each in fetch_pools("shop", None)] == ["a", "b"]
    assert (tmp_path / "asked").read_text() == "get workerpools.laneway.dev --namespace shop --output json\n"


def test_a_cluster_without_the_kind_is_told_what_to_install(kubectl: Path) -> None:
    write(kubectl, "echo 'error: the server doesn'\"'\"'t have a resource type \"workerpools\"' >&2; exit 1")
    with pytest.raises(Unavailable, match="Install the chart laneway-operator"):
        fetch_pools(None, None)


def test_without_kubectl_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", missing)
    with pytest.raises(ConfigurationError, match="kubectl is not installed"):
        fetch_pools(None, None)
