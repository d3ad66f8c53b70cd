"""kubectl and helm, for tests on the cluster that KUBECONFIG names."""

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "laneway-operator"
APP = ROOT / "tests" / "e2e" / "plain_celery" / "app.py"


class Refused(Exception):
    """The cluster said no; the text is what it said."""


def run(*command: str, given: str | None = None) -> str:
    """A command's output.

    Raises:
        Refused: it failed.
    """
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise Refused(done.stderr.strip() or done.stdout.strip())
    return done.stdout


class Namespace:
    """One namespace of the cluster."""

    def __init__(self, name: str) -> None:
        self.name = name

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        return run("kubectl", "--namespace", self.name, *arguments, given=given)

    def apply(self, *objects: Mapping[str, Any], dry: bool = False) -> None:
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        options = ["--dry-run=server"] if dry else []
        self.kubectl("apply", "--filename", "-", *options, given=listed)

    def get(self, kind: str, name: str) -> Any:
        return json.loads(self.kubectl("get", kind, name, "--output", "json"))

    def list(self, kind: str, *options: str) -> Any:
        return json.loads(self.kubectl("get", kind, "--output", "json", *options))["items"]

    def delete(self, kind: str, name: str) -> None:
        self.kubectl("delete", kind, name, "--wait=false")

    def condition(self, pool: str, type: str) -> Mapping[str, Any]:
        conditions = self.get("workerpool", pool).get("status", {}).get("conditions", [])
        return next((each for each in conditions if each["type"] == type), {"status": None, "reason": None})

    def replicas(self, deployment: str) -> int:
        return int(self.get("deployment", deployment)["spec"]["replicas"])


def until(fact: Callable[[], bool], within: float, what: str) -> float:
    """Wait until something is so; how long that took."""
    begin = time.monotonic()
    while not fact():
        if time.monotonic() - begin > within:
            raise AssertionError(f"not within {within:g} s: {what}")
        time.sleep(0.2)
    return time.monotonic() - begin


def custom_resource() -> str:
    return run("helm", "template", "op", str(CHART), "--show-only", "templates/crd.yaml")


def pool(name: str = "worker", **spec: Any) -> dict[str, Any]:
    """A WorkerPool that is right; `spec` replaces parts of it, None leaves them out."""
    whole = {
        "target": {"name": "worker"},
        "broker": {"secretRef": {"name": "broker"}},
        "queues": [{"name": "celery"}],
        "objective": {"waiting": "10s"},
        "maxReplicas": 10,
        **spec,
    }
    return {
        "apiVersion": "laneway.dev/v1alpha1",
        "kind": "WorkerPool",
        "metadata": {"name": name},
        "spec": {key: value for key, value in whole.items() if value is not None},
    }
