"""What is rendered, as a real API server sees it: every field known, every value valid, no warning. Nothing of it
is created. Where `KUBECONFIG` names no cluster that answers these are skipped; `make e2e` always has one."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.charts.rendering import NAMESPACE, RELEASE, Charts, configurations
from tests.charts.test_policies import services

FOREIGN = "monitoring.coreos.com/"
OWNED = {
    "labels": {"app.kubernetes.io/managed-by": "Helm"},
    "annotations": {"meta.helm.sh/release-name": RELEASE, "meta.helm.sh/release-namespace": NAMESPACE},
}
"""Marks of what a release of ours has made."""


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
    kubectl("delete", "namespace", NAMESPACE, "--wait", "--timeout=100s")


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


@pytest.fixture
def secrets(namespace: str) -> Iterator[Callable[..., None]]:
    """Writes secrets, and removes them."""
    written = set()

    def write(name: str, **values: str) -> None:
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, **OWNED}, "stringData": values}
        said = kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(secret))
        assert said.returncode == 0, said.stderr
        written.add(name)

    yield write
    kubectl("delete", "secret", "-n", namespace, *written)


def test_a_password_that_is_there_is_kept(charts: Charts, secrets: Callable[..., None]) -> None:
    kept = [
        ("shop-postgresql", "password"), ("shop-grafana", "password"),
        ("shop-orders", "database-password"), ("shop-orders", "broker-password"),
    ]  # fmt: skip
    for name in {name for name, _ in kept}:
        secrets(name, **{key: f"kept-{key}-{name}" for owner, key in kept if owner == name})
    rendered = charts.render("--dry-run=server", values={"laneway": {"grafana": {"enabled": True}}})
    for name, key in kept:
        assert rendered.named("Secret", name)["stringData"][key] == f"kept-{key}-{name}"
    orders = rendered.named("Secret", "shop-orders")["stringData"]
    assert ":kept-database-password-shop-orders@" in orders["database-url"]
    assert ":kept-broker-password-shop-orders@" in orders["broker-url"]
    users = rendered.named("Secret", "shop-valkey")["stringData"]["users.acl"]
    assert f"user orders on #{sha256(b'kept-broker-password-shop-orders').hexdigest()} " in users
    other = rendered.named("Secret", "shop-payments")["stringData"]["database-password"]
    assert len(other) == 32


def test_a_change_of_your_secret_starts_its_service_again(charts: Charts, secrets: Callable[..., None]) -> None:
    def digests(orders: str) -> dict[str, str]:
        secrets("mine", orders=orders, payments="same")
        values = {"laneway": {"database": {"existingSecret": "mine"}, "broker": {"url": "redis://valkey"}}}
        # The last option makes it another rendering: equal ones are made once.
        rendered = charts.render("--dry-run=server", "--set", f"laneway.env.NUMBER={orders}", values=values)
        return {
            pod.name: pod.owner["spec"]["template"]["metadata"]["annotations"]["laneway.dev/config"]
            for pod in services(rendered)
        }

    one, other = digests("1"), digests("2")
    assert {name for name in one if one[name] != other[name]} == {
        "Deployment/shop-orders", "Deployment/shop-orders-worker",
    }  # fmt: skip


@pytest.fixture
def edge(namespace: str) -> Iterator[Callable[..., None]]:
    """Applies the edge's Deployment, under a manager's name."""

    def apply(replicas: int | None, *options: str, manager: str = "helm") -> None:
        labels = {"app": "edge"}
        pod = {"containers": [{"name": "edge", "image": "none", **RESTRICTED}], **RUNS_AS}
        spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
        scale = {} if replicas is None else {"replicas": replicas}
        made = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop-gateway-rest", **OWNED}}
        said = kubectl(
            "apply", "-n", namespace, "--field-manager", manager, *options, "-f", "-",
            stdin=json.dumps(made | {"spec": spec | scale}),
        )  # fmt: skip
        assert said.returncode == 0, said.stderr

    yield apply
    kubectl("delete", "deployment", "-n", namespace, "shop-gateway-rest", "--wait")


RESTRICTED = {"securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
RUNS_AS = {"securityContext": {"runAsNonRoot": True, "runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}}}
SCALED = {"laneway": {"services": {"gateway": {"rest": {"scale": True}}}}}


def live(charts: Charts, attempt: str) -> object:
    rendered = charts.render("--dry-run=server", "--set", f"laneway.env.ATTEMPT={attempt}", values=SCALED)
    return rendered.named("Deployment", "shop-gateway-rest")["spec"].get("replicas")


def test_what_is_left_to_another_keeps_the_replicas_that_helm_gave_it(
    charts: Charts, edge: Callable[..., None]
) -> None:
    edge(3, "--server-side")
    assert live(charts, "helm-set-it") == 3
    edge(5, "--server-side", "--force-conflicts", manager="scaler")
    assert live(charts, "another-set-it") is None, "it is helm's no more, and leaving it out removes nothing"


def test_where_helm_compares_manifests_it_is_always_told_the_replicas_that_run(
    charts: Charts, edge: Callable[..., None]
) -> None:
    edge(3)
    assert live(charts, "compares") == 3
