"""What holds of every object that the charts render, in each of the main configurations."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.charts.rendering import Object, Pod, Rendered

PODS = {"Deployment", "StatefulSet", "Job", "Pod"}
ROLES = {"rest", "grpc", "worker", "cpu-worker"}
COMMON = {f"app.kubernetes.io/{name}" for name in ("instance", "part-of", "managed-by")} | {"helm.sh/chart"}


def services(rendered: Rendered) -> list[Pod]:
    """The pods of our services."""
    return [pod for pod in rendered.pods if pod.labels.get("app.kubernetes.io/component") in ROLES]


def containers(rendered: Rendered) -> Iterator[tuple[str, Object]]:
    return ((f"{pod.name}: {each['name']}", each) for pod in rendered.pods for each in pod.containers)


def failing(checks: Iterator[tuple[str, bool]]) -> list[str]:
    return [name for name, holds in checks if not holds]


def matches(selector: Object, labels: dict[str, str] | Any) -> bool:
    """Whether a label selector means something with these labels."""
    exact = (selector.get("matchLabels") or {}).items() <= dict(labels).items()
    return exact and all(
        expression["operator"] == "In" and labels.get(expression["key"]) in expression["values"]
        for expression in selector.get("matchExpressions", ())
    )


def test_every_object_carries_the_common_labels(rendered: Rendered) -> None:
    assert not failing(
        (f"{each['kind']}/{each['metadata']['name']}", each["metadata"].get("labels", {}).keys() >= COMMON)
        for each in rendered.objects
    )


def test_every_pod_says_what_it_is(rendered: Rendered) -> None:
    asked = {f"app.kubernetes.io/{name}" for name in ("instance", "name", "component")}
    assert not failing((pod.name, pod.labels.keys() >= asked) for pod in rendered.pods)
    assert not failing(
        (pod.name, asked <= pod.owner["metadata"]["labels"].keys())
        for pod in rendered.pods
        if pod.owner["kind"] in PODS
    )


def test_no_object_is_there_twice(rendered: Rendered) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in rendered.objects]
    assert len(names) == len(set(names))


def test_a_selector_means_its_own_pods_only(rendered: Rendered) -> None:
    for owner in rendered.of("Deployment", "StatefulSet"):
        meant = [pod for pod in rendered.pods if matches(owner["spec"]["selector"], pod.labels)]
        assert [pod.owner for pod in meant] == [owner]


def test_a_service_leads_to_pods_that_have_its_ports(rendered: Rendered) -> None:
    for service in rendered.of("Service"):
        meant = [pod for pod in rendered.pods if matches({"matchLabels": service["spec"]["selector"]}, pod.labels)]
        assert meant, service["metadata"]["name"]
        for pod in meant:
            ports = {port["name"] for each in pod.spec["containers"] for port in each.get("ports", ())}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports, pod.name


def test_every_pod_meets_the_restricted_standard(rendered: Rendered) -> None:
    for pod in rendered.pods:
        security = pod.spec["securityContext"]
        assert security["runAsNonRoot"] is True, pod.name
        assert security["runAsUser"] > 0, pod.name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, pod.name
        assert not pod.spec.keys() & {"hostNetwork", "hostPID", "hostIPC", "hostUsers"}, pod.name
        assert {kind for volume in pod.spec.get("volumes", ()) for kind in volume} <= {
            "name", "configMap", "secret", "emptyDir", "persistentVolumeClaim",
        }, pod.name  # fmt: skip
    for name, container in containers(rendered):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False, name
        assert security["capabilities"] == {"drop": ["ALL"]}, name
        assert "privileged" not in security, name
        assert not any("hostPort" in port for port in container.get("ports", ())), name


def test_only_what_sources_are_copied_into_writes_where_it_starts_from(
    rendered: Rendered, request: pytest.FixtureRequest
) -> None:
    """Skaffold copies a changed file into every running container of the image, and is stopped by one that takes none."""
    reloads = "profile-dev" in request.node.name
    image = services(rendered)[0].containers[0]["image"] if services(rendered) else None
    taking = {
        f"{pod.name}: {each['name']}"
        for pod in rendered.pods
        for each in pod.spec["containers"]
        if each["image"] == image and pod.owner["kind"] == "Deployment"
    }
    writable = failing((name, each["securityContext"]["readOnlyRootFilesystem"]) for name, each in containers(rendered))
    assert set(writable) == (taking if reloads else set())


def test_every_label_and_annotation_is_a_string(rendered: Rendered) -> None:
    """A digest of nothing but digits would be a number, which the server refuses."""
    assert not [where for each in rendered.objects for where in unquoted(each)]


def unquoted(part: Any, where: str = "") -> Iterator[str]:
    """Where a label or an annotation is no string."""
    if isinstance(part, list):
        for at, each in enumerate(part):
            yield from unquoted(each, f"{where}/{at}")
    elif isinstance(part, dict):
        for key, value in part.items():
            if key in ("labels", "annotations", "matchLabels") and isinstance(value, dict):
                yield from (f"{where}/{key}/{name}" for name, text in value.items() if not isinstance(text, str))
            yield from unquoted(value, f"{where}/{key}")


def test_every_container_states_what_it_needs_and_may_take(rendered: Rendered) -> None:
    for name, container in containers(rendered):
        for bound in ("requests", "limits"):
            assert container["resources"][bound].keys() == {"cpu", "memory"}, name


def test_only_the_operator_has_a_token_for_the_cluster(rendered: Rendered) -> None:
    assert not failing(
        (
            pod.name,
            pod.spec["automountServiceAccountToken"] is (pod.labels["app.kubernetes.io/component"] == "operator"),
        )
        for pod in rendered.pods
    )
    assert not failing((pod.name, pod.spec["enableServiceLinks"] is False) for pod in rendered.pods)
    assert all(account["automountServiceAccountToken"] is False for account in rendered.of("ServiceAccount"))


def test_a_variable_is_named_once_and_in_order(rendered: Rendered) -> None:
    for pod in services(rendered):
        names = [each["name"] for each in pod.containers[0]["env"]]
        assert names == sorted(set(names)), pod.name
    for name, container in containers(rendered):
        names = [each["name"] for each in container.get("env", ())]
        assert len(names) == len(set(names)), name


def test_no_password_is_in_a_variable_or_an_argument(rendered: Rendered) -> None:
    secrets = {
        value
        for secret in rendered.of("Secret")
        for key, value in (secret.get("stringData") or {}).items()
        if "password" in key or key.endswith("-url")
    }
    written = [each for each in rendered.objects if each["kind"] != "Secret"]
    assert not [value for value in secrets if value in str(written)]


def test_images_are_pinned(rendered: Rendered) -> None:
    for name, container in containers(rendered):
        tag = container["image"].rpartition("/")[2].partition("@" if "@" in container["image"] else ":")[2]
        assert tag not in ("", "latest"), name


def test_what_a_pod_mounts_or_reads_is_there(rendered: Rendered, request: pytest.FixtureRequest) -> None:
    there = {(each["kind"], each["metadata"]["name"]) for each in rendered.objects}
    theirs = {"shop-databases", "shop-brokers", "shop-grafana", "superuser", "shop-tls"}
    for pod in rendered.pods:
        for kind, name in references(pod):
            assert (kind, name) in there or (kind == "Secret" and name in theirs), f"{pod.name}: {kind}/{name}"


def references(pod: Pod) -> Iterator[tuple[str, str]]:
    if "serviceAccountName" in pod.spec:
        yield "ServiceAccount", pod.spec["serviceAccountName"]
    for volume in pod.spec.get("volumes", ()):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
    for container in pod.containers:
        for variable in container.get("env", ()):
            if "secretKeyRef" in variable.get("valueFrom", {}):
                yield "Secret", variable["valueFrom"]["secretKeyRef"]["name"]


def test_no_file_is_mounted_out_of_its_folder(rendered: Rendered) -> None:
    """A file mounted with subPath never changes."""
    assert not failing(
        (f"{name} {mount['mountPath']}", not mount.keys() & {"subPath", "subPathExpr"})
        for name, container in containers(rendered)
        for mount in container.get("volumeMounts", ())
    )


def test_the_policy_is_a_folder_of_every_service(rendered: Rendered) -> None:
    for pod in services(rendered):
        assert {"name": "policy", "configMap": {"name": "shop-policy"}} in pod.spec["volumes"], pod.name
        mounts = pod.containers[0]["volumeMounts"]
        assert {"name": "policy", "mountPath": "/etc/laneway", "readOnly": True} in mounts, pod.name


def test_probes_mean_different_things(rendered: Rendered, request: pytest.FixtureRequest) -> None:
    debugs = "profile-debug" in request.node.name
    for pod in services(rendered):
        [container] = pod.spec["containers"]
        startup, readiness = container["startupProbe"], container["readinessProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] > 140, "longer than the wait for a database"
        assert ("livenessProbe" in container) is not debugs, "a breakpoint is no reason to be killed"
        if pod.labels["app.kubernetes.io/component"] == "grpc":
            assert startup["grpc"] == {"port": 50051, "service": "liveness"}, "what it waits for restarts nothing"
            assert readiness["grpc"] == {"port": 50051}
            assert debugs or container["livenessProbe"]["grpc"] == {"port": 50051, "service": "liveness"}
        else:
            assert startup["httpGet"]["path"] == "/livez", "what it waits for restarts nothing"
            assert readiness["httpGet"]["path"] == "/readyz"
            assert debugs or container["livenessProbe"]["httpGet"]["path"] == "/livez"
    for pod in rendered.pods:
        if pod.owner["kind"] in ("Deployment", "StatefulSet"):
            [container] = pod.spec["containers"]
            assert {"startupProbe", "readinessProbe"} <= container.keys(), pod.name


def test_a_pod_is_given_the_time_to_end(rendered: Rendered) -> None:
    for pod in services(rendered):
        env = {each["name"]: each.get("value") for each in pod.containers[0]["env"]}
        stop = int(env["LANEWAY_DRAIN_SECONDS"]) + int(env["LANEWAY_GRACE_SECONDS"])
        assert pod.spec["terminationGracePeriodSeconds"] >= stop + 5, pod.name


def test_a_rollout_takes_no_pod_away_before_its_successor_is_there(rendered: Rendered) -> None:
    for pod in services(rendered):
        assert pod.owner["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}, pod.name


def test_replicas_are_spread_and_versions_apart(rendered: Rendered) -> None:
    for pod in services(rendered):
        keys = {each["topologyKey"]: each for each in pod.spec["topologySpreadConstraints"]}
        assert keys.keys() == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}, pod.name
        for each in keys.values():
            assert matches(each["labelSelector"], pod.labels), pod.name
            assert each["matchLabelKeys"] == ["pod-template-hash"], pod.name


def test_only_one_sets_the_replicas(rendered: Rendered, request: pytest.FixtureRequest) -> None:
    scaled = {each["spec"]["scaleTargetRef"]["name"] for each in rendered.of("HorizontalPodAutoscaler")}
    for pod in services(rendered):
        elsewhere = "scaled-workers" in request.node.name and pod.labels["app.kubernetes.io/component"] == "worker"
        given = "replicas" in pod.owner["spec"]
        assert given is not (elsewhere or pod.owner["metadata"]["name"] in scaled), pod.name


def test_no_disruption_budget_blocks_a_drain(rendered: Rendered) -> None:
    scaled = {
        each["spec"]["scaleTargetRef"]["name"]: each["spec"]["minReplicas"]
        for each in rendered.of("HorizontalPodAutoscaler")
    }
    for budget in rendered.of("PodDisruptionBudget"):
        [pod] = [pod for pod in rendered.pods if matches(budget["spec"]["selector"], pod.labels)]
        certain = scaled.get(pod.owner["metadata"]["name"]) or pod.owner["spec"]["replicas"]
        assert certain >= 2
        assert budget["spec"]["maxUnavailable"] == 1
        assert "minAvailable" not in budget["spec"]
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_every_pod_has_one_network_policy_that_lists_both_ways(rendered: Rendered) -> None:
    for pod in rendered.pods:
        [policy] = [
            each for each in rendered.of("NetworkPolicy") if matches(each["spec"]["podSelector"], pod.labels)
        ]  # fmt: skip
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"], pod.name
        assert all(rule.get("ports") for rule in policy["spec"]["ingress"]), pod.name
        assert all(rule.get("ports") for rule in policy["spec"]["egress"]), pod.name


def test_every_network_policy_means_a_pod(rendered: Rendered) -> None:
    for policy in rendered.of("NetworkPolicy"):
        assert any(matches(policy["spec"]["podSelector"], pod.labels) for pod in rendered.pods), policy["metadata"]


def test_what_may_be_called_may_also_be_answered(rendered: Rendered) -> None:
    """Each way out to a pod of the release has a way in there."""
    policies = rendered.of("NetworkPolicy")
    for source in rendered.pods:
        for target, port in reachable(rendered, source):
            [policy] = [each for each in policies if matches(each["spec"]["podSelector"], target.labels)]
            assert any(admits(rule, source, target, port) for rule in policy["spec"]["ingress"]), (
                f"{source.name} → {target.name}:{port}"
            )


def reachable(rendered: Rendered, source: Pod) -> Iterator[tuple[Pod, int]]:
    """The pods of the release, and their ports, that a pod's policy lets it call by name."""
    [policy] = [each for each in rendered.of("NetworkPolicy") if matches(each["spec"]["podSelector"], source.labels)]
    for rule in policy["spec"]["egress"]:
        for peer in rule.get("to", ()):
            for target in rendered.pods:
                if target is not source and matches(peer["podSelector"], target.labels):
                    ports = {port["containerPort"] for port in ports_of(target)}
                    yield from ((target, port["port"]) for port in rule["ports"] if port["port"] in ports)


def ports_of(pod: Pod) -> list[Object]:
    return [port for each in pod.spec["containers"] for port in each.get("ports", ())]


def admits(rule: Object, source: Pod, target: Pod, port: int) -> bool:
    names = {each["name"] for each in ports_of(target) if each["containerPort"] == port}
    heard = any(each["port"] in {port, *names} for each in rule["ports"])
    return heard and (
        "from" not in rule or any(matches(peer.get("podSelector", {}), source.labels) for peer in rule["from"])
    )


def test_no_right_is_a_wildcard(rendered: Rendered) -> None:
    for role in rendered.of("Role", "ClusterRole"):
        for rule in role["rules"]:
            assert not [each for key in ("apiGroups", "resources", "verbs") for each in rule[key] if "*" in each], role


def test_the_lease_of_an_operator_goes_with_the_release(rendered: Rendered) -> None:
    """One that it made itself would be left behind."""
    for pod in rendered.pods:
        if pod.labels["app.kubernetes.io/component"] == "operator":
            env = {each["name"]: each.get("value") for each in pod.containers[0]["env"]}
            lease = rendered.named("Lease", env["LANEWAY_OPERATOR_LEASE"])
            rights = rendered.named("Role", f"{lease['metadata']['name']}-lease")["rules"]
            assert [lease["metadata"]["name"]] in [rule.get("resourceNames") for rule in rights]
            assert "spec" not in lease, "who holds it is not helm's to say"


def test_a_test_that_failed_stays_to_be_read_and_others_go(rendered: Rendered) -> None:
    for pod in rendered.of("Pod"):
        policies = pod["metadata"]["annotations"]["helm.sh/hook-delete-policy"].split(",")
        assert set(policies) == {"before-hook-creation", "hook-succeeded"}
