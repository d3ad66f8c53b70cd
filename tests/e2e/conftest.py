"""A shop on the cluster that `KUBECONFIG` names, and a table of what was checked."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.kube import ROOT, Namespace, run

IMAGE = os.environ.get("LANEWAY_IMAGE", "docker.io/laneway/laneway:dev")
LOGS = ROOT / "build/e2e"
RELEASE = "shop"
EDGE = os.environ.get("LANEWAY_EDGE_URL", "http://127.0.0.1:30080")
"""Where `values.yaml` puts the edge, on a node whose ports are this machine's."""


@dataclass(frozen=True)
class Shop:
    """A release of the chart `shop`."""

    namespace: Namespace
    url: str
    seconds_to_ready: float

    def upgrade(self, *options: str) -> None:
        """`helm upgrade`, on the values of the last one."""
        self.namespace.helm(
            "upgrade", RELEASE, ROOT / "charts/shop", "--reuse-values", "--wait", "--timeout", "180s", *options
        )


def image_values(image: str) -> list[str]:
    """The options that name an image."""
    repository, _, tag = image.rpartition(":")
    return ["--set", f"laneway.image.repository={repository}", "--set", f"laneway.image.tag={tag}"]


def operator_values() -> list[str]:
    """The options that make the operator a part of the release; the kind WorkerPool is there."""
    image = os.environ.get("LANEWAY_E2E_OPERATOR_IMAGE", "docker.io/laneway/laneway-operator:dev")
    repository, _, tag = image.rpartition(":")
    values = {"image.repository": repository, "image.tag": tag, "image.pullPolicy": "Never", "crds.enabled": "false"}
    return [
        "--set=operator.enabled=true",
        *(f"--set=laneway-operator.{name}={value}" for name, value in values.items()),
    ]


def install(namespace: Namespace, *options: str | Path, fresh: bool = True) -> float:
    """Install the release, in a namespace that is made anew if it is to be fresh; the seconds until all was ready."""
    if fresh:
        namespace.delete()  # what an interrupted run has left
        namespace.create()
    begin = time.monotonic()
    namespace.helm(
        "install", RELEASE, ROOT / "charts/shop", "--wait", "--timeout", "180s", *image_values(IMAGE), *options
    )
    return time.monotonic() - begin


@pytest.fixture(scope="session")
def cluster() -> None:
    """Fails, and does not skip, where there is no cluster."""
    for program in ("kubectl", "helm"):
        if shutil.which(program) is None:
            pytest.fail(f"{program} is not on the PATH; `make e2e` brings a cluster and its programs")
    run("kubectl", "get", "--raw", "/readyz")
    run("helm", "dependency", "update", ROOT / "charts/shop")
    shutil.rmtree(LOGS, ignore_errors=True)


@pytest.fixture(scope="session")
def shop(cluster: None) -> Iterator[Shop]:
    namespace = Namespace("laneway-e2e")
    try:
        seconds = install(namespace, "--values", ROOT / "tests/e2e/values.yaml")
        yield Shop(namespace, EDGE, seconds)
    except AssertionError:
        namespace.logs(LOGS)
        raise
    finally:
        if "LANEWAY_E2E_KEEP" not in os.environ:
            namespace.delete()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for value in item.funcargs.values():
            namespace = value.namespace if isinstance(value, Shop) else value
            if isinstance(namespace, Namespace):
                namespace.logs(LOGS / item.name)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table: check → seconds → result, and the figures."""
    terminalreporter.section("end to end")
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.getreports(outcome):
            if report.when == "call" or outcome != "passed":
                check = report.nodeid.rpartition("::test_")[2].replace("_", " ")
                terminalreporter.line(f"{check:<100} {report.duration:6.1f} s  {report.outcome}")
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties if report.when == "call" else ():
            terminalreporter.line(f"{name}: {value}")


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str, object], None]:
    """Says a measured figure in the table."""

    def say(name: str, value: object) -> None:
        request.node.user_properties.append((name, str(value)))

    return say
