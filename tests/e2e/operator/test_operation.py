"""The operator among others: who decides, who else scales, and what happens when a part is away."""

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.operator.conftest import Installed, Say, forget, installed, upgrade
from tests.e2e.operator.kubectl import CHART, Namespace, pool, run, until
from tests.e2e.operator.plain_celery import broker, quick_pool, workers


@pytest.fixture
def there(celery_namespace: Namespace) -> Iterator[Namespace]:
    celery_namespace.apply(*workers(report=True), quick_pool(minReplicas=1))
    until(lambda: celery_namespace.replicas("worker") == 1, 40, "the floor holds")
    yield celery_namespace
    forget(celery_namespace)


def holder(operator: Installed) -> str:
    return str(operator.system.get("lease", "op")["spec"]["holderIdentity"])


def test_a_killed_leader_is_followed_within_twenty_seconds(operator: Installed, there: Namespace, figure: Say) -> None:
    first = holder(operator)
    operator.system.kubectl("delete", "pod", first, "--grace-period=0", "--force")
    took = until(lambda: holder(operator) not in ("", first), 25, "another takes over")
    assert took <= 20
    there.kubectl("patch", "wp", "worker", "--type=merge", "--patch", '{"spec": {"minReplicas": 2}}')
    until(lambda: there.replicas("worker") == 2, 10, "it decides")
    figure("seconds until a killed leader is followed", f"{took:.1f}")


def test_a_leader_that_stops_in_order_is_followed_at_once(operator: Installed, there: Namespace, figure: Say) -> None:
    operator.system.kubectl("rollout", "status", "deployment/op", "--timeout=60s")
    first = holder(operator)
    operator.system.kubectl("delete", "pod", first, "--wait=false")
    took = until(lambda: holder(operator) not in ("", first), 10, "another takes over")
    figure("seconds until a leader that stops is followed", f"{took:.1f}")


def test_an_autoscaler_on_the_same_deployment_is_refused(there: Namespace) -> None:
    there.kubectl("autoscale", "deployment", "worker", "--name=other", "--min=1", "--max=3", "--cpu-percent=80")
    until(lambda: there.condition("worker", "ScalingActive")["reason"] == "ConflictingAutoscaler", 10, "it is seen")
    there.kubectl("delete", "hpa/other")
    until(lambda: there.condition("worker", "ScalingActive")["status"] == "True", 10, "it goes on")


def test_a_second_pool_on_the_same_deployment_is_refused(there: Namespace) -> None:
    there.apply(pool("second", target={"name": "worker"}))
    until(lambda: there.condition("second", "ScalingActive")["reason"] == "ConflictingWorkerPool", 10, "it is seen")
    assert there.condition("worker", "ScalingActive")["status"] == "True"


def test_a_broker_that_goes_is_said_within_five_seconds_and_nothing_scales_in(there: Namespace, figure: Say) -> None:
    there.kubectl("patch", "wp", "worker", "--type=merge", "--patch", '{"spec": {"minReplicas": 2}}')
    until(lambda: there.replicas("worker") == 2, 20, "the floor holds")
    there.kubectl("patch", "wp", "worker", "--type=merge", "--patch", '{"spec": {"minReplicas": 0}}')
    there.kubectl("scale", "deployment/valkey", "--replicas=0")
    until(lambda: not there.list("pods", "--selector=app=valkey"), 30, "the broker is gone")
    said = until(lambda: there.condition("worker", "MetricsAvailable")["status"] == "False", 10, "it is said")
    before = there.replicas("worker")
    end = time.monotonic() + 12  # more than twice the look-back of this pool
    until(lambda: time.monotonic() > end or there.replicas("worker") < before, 20, "time passes")
    assert there.replicas("worker") >= before
    there.kubectl("scale", "deployment/valkey", "--replicas=1")
    there.kubectl("rollout", "status", "deployment/valkey", "--timeout=60s")
    back = until(lambda: there.condition("worker", "MetricsAvailable")["status"] == "True", 10, "it is back")
    figure("seconds until a broker that goes is said, and that it is back", f"{said:.1f}, {back:.1f}")
    assert said <= 5
    assert back <= 3


def test_a_pool_can_be_deleted_and_leaves_its_deployment(there: Namespace) -> None:
    before = there.replicas("worker")
    assert "finalizers" not in there.get("wp", "worker")["metadata"]
    there.kubectl("delete", "wp/worker", "--timeout=10s")
    assert there.replicas("worker") == before


def test_metrics_tell_of_the_pool(operator: Installed, there: Namespace) -> None:
    there.kubectl("rollout", "status", "deployment/worker", "--timeout=60s")
    path = f"/api/v1/namespaces/{operator.system.name}/pods/{holder(operator)}:9090/proxy/metrics"
    until(lambda: "laneway_operator_pool_workers" in run("kubectl", "get", "--raw", path), 20, "metrics are there")
    text = run("kubectl", "get", "--raw", path)
    assert re.search(rf'laneway_operator_pool_replicas{{namespace="{there.name}",pool="worker"}} \d', text)
    assert "laneway_operator_leader 1.0" in text


def test_the_operator_may_do_what_its_chart_says_and_nothing_else(operator: Installed, there: Namespace) -> None:
    """What the API server grants it, beyond what it grants any account."""
    account = f"system:serviceaccount:{operator.system.name}:op"
    assert granted(account, there) == {
        ("list", "laneway.dev", "workerpools"), ("watch", "laneway.dev", "workerpools"),
        ("patch", "laneway.dev", "workerpools/status"),
        ("list", "apps", "deployments"), ("watch", "apps", "deployments"), ("patch", "apps", "deployments/scale"),
        ("list", "", "pods"), ("watch", "", "pods"), ("patch", "", "pods"),
        ("list", "autoscaling", "horizontalpodautoscalers"), ("watch", "autoscaling", "horizontalpodautoscalers"),
        ("create", "", "events"), ("get", "", "secrets"),
    }  # fmt: skip
    lease = {("create", LEASES, "leases"), ("get", LEASES, "leases/op"), ("patch", LEASES, "leases/op")}
    assert granted(account, operator.system) == lease
    assert granted(account, Namespace("default")) == set()


LEASES = "coordination.k8s.io"


def granted(account: str, there: Namespace) -> set[tuple[str, str, str]]:
    """Verb, group and resource (with its name, where only that one is meant) of an account's own rights."""
    nobody = f"system:serviceaccount:{there.name}:nobody-in-particular"
    return _rules(account, there) - _rules(nobody, there)


def _rules(account: str, there: Namespace) -> set[tuple[str, str, str]]:
    asked = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": there.name},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    answer = json.loads(run("kubectl", "create", "--raw", path, "--as", account, "-f", "-", given=json.dumps(asked)))
    return {
        (verb, group, f"{resource}/{name}" if name else resource)
        for rule in answer["status"]["resourceRules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
    }


def test_uninstalling_the_operator_leaves_everything_as_it_is(new_namespace: Callable[[], Namespace]) -> None:
    system, served = new_namespace(), new_namespace()
    with installed(system, served, replicas=1):
        served.apply(*broker(), *workers(report=True), quick_pool(minReplicas=1))
        until(lambda: served.replicas("worker") == 1, 60, "the floor holds")
        assert system.list("leases")
    assert served.replicas("worker") == 1
    served.kubectl("delete", "wp/worker", "--timeout=10s")
    assert served.replicas("worker") == 1


def test_an_upgrade_leaves_a_lease_that_an_operator_has_made(
    new_namespace: Callable[[], Namespace], tmp_path: Path
) -> None:
    older = shutil.copytree(CHART, tmp_path / "laneway-operator", ignore=shutil.ignore_patterns("lease.yaml"))
    system, served = new_namespace(), new_namespace()

    def led() -> bool:
        return any(lease.get("spec", {}).get("holderIdentity") for lease in system.list("leases"))

    with installed(system, served, replicas=1, chart=older):
        until(led, 20, "it makes the Lease, and leads")
        for _ in range(2):
            upgrade(system, served, replicas=1)
            until(led, 20, "it leads")
