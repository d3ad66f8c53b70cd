"""What is rendered, as a real API server sees it: every field known, every value valid, no warning. Nothing is created but
a namespace. Where `KUBECONFIG` names no cluster that answers these are skipped; `make e2e` always has one."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.charts.rendering import NAMESPACE, Charts, configurations

FOREIGN = "monitoring.coreos.com/"


def kubectl(*arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["kubectl", *arguments], input=stdin, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """One that enforces the restricted standard, and warns of what would break it."""
    if shutil.which("kubectl") is None or kubectl("get", "--raw", "/readyz", "--request-timeout=3s").returncode:
        pytest.skip("no cluster answers")
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    said = kubectl("apply", "-f", "-", stdin=json.dumps(made))
    assert said.returncode == 0, said.stderr
    yield NAMESPACE
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.mark.parametrize("configuration", configurations())
def test_the_server_takes_every_object_without_a_warning(charts: Charts, namespace: str, configuration: str) -> None:
    objects = [each for each in charts.configured(configuration).objects if FOREIGN not in each["apiVersion"]]
    whole = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    said = kubectl(
        "apply", "--namespace", namespace, "--dry-run=server", "--server-side", "--validate=strict", "-f", "-",
        stdin=whole,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert "Warning" not in said.stderr
    assert len(said.stdout.splitlines()) == len(objects)


def test_the_server_would_say_what_is_wrong(charts: Charts, namespace: str) -> None:
    """The check itself: an unknown field, and a pod that may do too much."""
    deployment = next(each for each in charts.configured("default").of("Deployment"))
    wrong = json.loads(json.dumps(deployment))
    wrong["spec"]["template"]["spec"]["securityContext"] = {}
    said = kubectl("apply", "-n", namespace, "--dry-run=server", "--server-side", "-f", "-", stdin=json.dumps(wrong))
    assert "would violate PodSecurity" in said.stderr
    wrong["spec"]["replica"] = 1
    said = kubectl("apply", "-n", namespace, "--dry-run=server", "--server-side", "-f", "-", stdin=json.dumps(wrong))
    assert "field not declared in schema" in said.stderr
