"""A cluster with the kind WorkerPool, and namespaces of a test's own. KUBECONFIG names the cluster."""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.operator.kubectl import CHART, Namespace, Refused, custom_resource, run
from tests.e2e.operator.plain_celery import Producer, broker, producer_for

Say = Callable[[str, object], None]

RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"


@pytest.fixture(scope="session")
def _cluster() -> None:
    if not (shutil.which("kubectl") and shutil.which("helm")) or "KUBECONFIG" not in os.environ:
        pytest.fail("there is no cluster: KUBECONFIG, kubectl and helm are needed; `make e2e` brings them")
    run("kubectl", "apply", "--server-side", "--force-conflicts", "--filename", "-", given=custom_resource())
    run("kubectl", "wait", "--for=condition=Established", "crd/workerpools.laneway.dev", "--timeout=30s")


@pytest.fixture(scope="session")
def new_namespace(_cluster: None) -> Iterator[Callable[[], Namespace]]:
    """Namespaces that enforce restricted pods, and are gone when the tests are."""
    made: list[str] = []

    def make() -> Namespace:
        name = f"op-{secrets.token_hex(4)}"
        made.append(name)
        run("kubectl", "create", "namespace", name)
        run("kubectl", "label", "namespace", name, RESTRICTED)
        return Namespace(name)

    yield make
    for name in made:
        try:
            run("kubectl", "delete", "namespace", name, "--wait=false")
        except Refused as error:
            print(error)


@pytest.fixture(scope="module")
def namespace(new_namespace: Callable[[], Namespace]) -> Namespace:
    return new_namespace()


@dataclass(frozen=True)
class Installed:
    """An operator that serves one namespace."""

    system: Namespace
    served: Namespace


@contextmanager
def installed(system: Namespace, served: Namespace, *, replicas: int, chart: Path = CHART) -> Iterator[Installed]:
    """The chart as it is installed, with the rights that it asks for and no others."""
    upgrade(system, served, replicas=replicas, chart=chart)
    try:
        yield Installed(system, served)
    finally:
        run("helm", "--namespace", system.name, "uninstall", "op", "--wait")


def upgrade(system: Namespace, served: Namespace, *, replicas: int, chart: Path = CHART) -> None:
    """Install the chart, or another revision of it."""
    image = os.environ.get("LANEWAY_E2E_OPERATOR_IMAGE", "docker.io/laneway/laneway-operator:dev")
    repository, _, tag = image.rpartition(":")
    values = {
        "image.repository": repository,
        "image.tag": tag,
        "crds.enabled": "false",
        "namespaces": f"{{{served.name}}}",
        "replicas": str(replicas),
        "logs.format": "text",
    }
    options = [option for name, value in values.items() for option in ("--set", f"{name}={value}")]
    helm = ["helm", "--namespace", system.name, "upgrade", "--install", "op", str(chart)]
    run(*helm, *options, "--wait", "--timeout", "120s")


@pytest.fixture(scope="session")
def operator(new_namespace: Callable[[], Namespace]) -> Iterator[Installed]:
    """Two of which one decides."""
    with installed(new_namespace(), new_namespace(), replicas=2) as operator:
        yield operator


@pytest.fixture(scope="session")
def celery_namespace(operator: Installed) -> Namespace:
    """The served namespace, with a broker."""
    operator.served.apply(*broker())
    operator.served.kubectl("rollout", "status", "deployment/valkey", "--timeout=60s")
    return operator.served


@pytest.fixture
def producer(celery_namespace: Namespace) -> Iterator[Producer]:
    """A producer for an empty broker; what its test has made there is gone afterwards."""
    with producer_for(celery_namespace) as producer:
        producer.client.flushall()
        yield producer
    forget(celery_namespace)


def forget(there: Namespace) -> None:
    """Remove pool and workers, and let no worker live on that could take what the next test sends."""
    there.kubectl("delete", "workerpools", "--all")
    there.kubectl("delete", "deployment/worker", "hpa/other", "--ignore-not-found")
    there.kubectl("delete", "pods", "--selector=app=worker", "--grace-period=1", "--wait")


@pytest.fixture(autouse=True)
def _told_on_failure(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a person would look at first when a test on the cluster fails."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed == failed or "operator" not in request.fixturenames:
        return
    operator: Installed = request.getfixturevalue("operator")
    for each in operator.system.list("pods"):
        name = each["metadata"]["name"]
        print(f"--- {name}", operator.system.kubectl("logs", name, "--tail=40"), sep="\n")
    print(operator.served.kubectl("get", "pods,workerpools,events", "--output=wide"))
