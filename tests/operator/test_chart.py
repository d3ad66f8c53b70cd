"""The chart of the operator: what it renders, and how it answers a mistake. Needs helm."""

import shutil
import subprocess
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")

CHART = "charts/laneway-operator"


def template(*options: str) -> subprocess.CompletedProcess[str]:
    command = ["helm", "template", "op", CHART, "--namespace", "system", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def objects(*options: str) -> dict[tuple[str, str], dict[str, Any]]:
    done = template(*options)
    assert done.returncode == 0, done.stderr
    return {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(done.stdout) if each}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("replica=2", "additional properties 'replica' not allowed"),
        ("replicas=0", "at '/replicas': minimum: got 0, want 1"),
        ("crds.keep=maybe", "at '/crds/keep': got string, want boolean"),
        ("image.digest=latest", "at '/image/digest': 'latest' does not match pattern"),
        ("interval=often", "at '/interval': 'often' does not match pattern"),
        ("interval=0", "at '/interval': minimum: got 0, want 0.2"),
        ("logs.level=LOUD", "at '/logs/level': value must be one of"),
        ("namespaces={Shop}", "at '/namespaces/0': 'Shop' does not match pattern"),
        ("resources.limits.cpu=much", "at '/resources/limits/cpu': 'much' does not match pattern"),
        ("image.pullPolicy=Sometimes", "at '/image/pullPolicy': value must be one of"),
        ("resources.limits.cpu=64Mi", "at '/resources/limits/cpu': '64Mi' does not match pattern"),
        ("networkPolicy.egress[0].too=x", "at '/networkPolicy/egress/0': additional properties 'too' not allowed"),
        ("networkPolicy.brokerPorts={0}", "at '/networkPolicy/brokerPorts/0'"),
    ],
)
def test_a_wrong_value_is_named(option: str, message: str) -> None:
    done = template("--set", option)
    assert done.returncode != 0
    assert message in done.stderr


def test_the_kind_is_kept_when_the_release_goes_unless_it_is_not_to_be() -> None:
    name = "CustomResourceDefinition", "workerpools.laneway.dev"
    assert objects()[name]["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert "annotations" not in objects("--set", "crds.keep=false")[name]["metadata"]
    assert name not in objects("--set", "crds.enabled=false")


def test_it_serves_the_cluster_or_some_namespaces_and_has_no_more_rights_than_that() -> None:
    wide = objects()
    assert ("ClusterRole", "system-op") in wide
    narrow = objects("--set", "namespaces={a,b}")
    assert ("ClusterRole", "system-op") not in narrow
    assert not any(kind == "ClusterRoleBinding" for kind, _ in narrow)
    done = template("--set", "namespaces={a,b}")
    roles = [each for each in yaml.safe_load_all(done.stdout) if each and each["kind"] == "Role"]
    assert {each["metadata"].get("namespace") for each in roles} == {"a", "b", None}


def test_the_secrets_that_it_may_read_can_be_named() -> None:
    rules = objects("--set", "rbac.secrets={broker}")["ClusterRole", "system-op"]["rules"]
    assert [each["resourceNames"] for each in rules if each["resources"] == ["secrets"]] == [["broker"]]


def test_the_pod_is_restricted() -> None:
    pod = objects()["Deployment", "op"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    [container] = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()


def test_an_environment_variable_is_named_once() -> None:
    deployment = objects("--set", "env.LANEWAY_OPERATOR_LOG_LEVEL=DEBUG")["Deployment", "op"]
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    names = [each["name"] for each in env]
    assert names == sorted(set(names))
    assert {"name": "LANEWAY_OPERATOR_LOG_LEVEL", "value": "DEBUG"} in env


def test_monitors_are_rendered_only_where_their_kinds_are_known() -> None:
    assert not any(kind in ("PodMonitor", "PrometheusRule") for kind, _ in objects())
    known = (
        "--api-versions",
        "monitoring.coreos.com/v1/PodMonitor",
        "--api-versions",
        "monitoring.coreos.com/v1/PrometheusRule",
    )
    assert {("PodMonitor", "op"), ("PrometheusRule", "op")} <= objects(*known).keys()
    assert ("PodMonitor", "op") not in objects(*known, "--set", "monitoring.enabled=false")


def test_a_budget_for_disruptions_is_there_only_where_it_cannot_block_a_drain() -> None:
    assert ("PodDisruptionBudget", "op") not in objects()
    assert ("PodDisruptionBudget", "op") in objects("--set", "replicas=2")


def test_a_constraint_of_ones_own_gets_the_selector() -> None:
    own = "topologySpreadConstraints[0].topologyKey=rack", "topologySpreadConstraints[0].maxSkew=1"
    deployment = objects("--set", ",".join((*own, "topologySpreadConstraints[0].whenUnsatisfiable=DoNotSchedule")))[
        "Deployment", "op"
    ]
    [constraint] = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert constraint["labelSelector"]["matchLabels"]["app.kubernetes.io/name"] == "laneway-operator"
