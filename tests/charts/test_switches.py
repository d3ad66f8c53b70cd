"""What a value changes, and what it leaves alone."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from importlib.metadata import entry_points
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from laneway.client import Client, Lanes
from laneway.contract.model import owner_of
from laneway.service import Service
from tests.charts.rendering import PRESENT, RELEASE, Charts, Object, Pod, Rendered
from tests.charts.test_policies import matches, services

ELSEWHERE = {
    "database": {"url": "postgresql://{service}:secret@db.example.org:6432/{service}"},
    "broker": {"url": "rediss://{service}:secret@valkey.example.org/0"},
}
"""Values with which nothing is random."""


def pods(rendered: Rendered) -> dict[str, Pod]:
    return {pod.name: pod for pod in rendered.pods}


def templates(rendered: Rendered) -> dict[str, Object]:
    """What a change of makes pods start again."""
    return {
        each["metadata"]["name"]: each["spec"]["template"] for each in rendered.of("Deployment", "StatefulSet", "Job")
    }


def changed(one: Rendered, other: Rendered) -> set[str]:
    before, after = templates(one), templates(other)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def with_(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"laneway": {**ELSEWHERE, **values}}


# What starts again


def test_a_changed_policy_starts_nothing_again(charts: Charts) -> None:
    before = charts.render(values=with_({}))
    after = charts.render(values=with_({"policy": {"defaults": {"deadline": "1s"}}}))
    assert yaml.safe_load(after.named("ConfigMap", "shop-policy")["data"]["policy.yaml"]) == {
        "defaults": {"deadline": "1s"}
    }
    assert not changed(before, after)


def test_a_changed_secret_starts_those_again_that_read_it(charts: Charts) -> None:
    before = charts.render(values=with_({}))
    other = {"broker": {"url": "rediss://{service}:other@valkey.example.org/0"}}
    again = changed(before, charts.render(values=with_(other)))
    assert again == {pod.owner["metadata"]["name"] for pod in services(before)}


@pytest.mark.parametrize(
    ("values", "again"),
    [
        ({"jaeger": {"spansFor": "24h"}}, {"shop-jaeger"}),
        ({"grafana": {"enabled": True}, "prometheus": {"enabled": False}}, {"shop-grafana", "shop-prometheus"}),
        ({"services": {"payments": {"env": {"LIMIT": 3}}}}, {"shop-payments", "shop-payments-worker"}),
        ({"services": {"payments": {"worker": {"slots": 3}}}}, {"shop-payments-worker"}),
    ],
)
def test_a_changed_setting_starts_only_its_own_again(charts: Charts, values: dict[str, Any], again: set[str]) -> None:
    grafana = {key: value for key, value in values.items() if key == "grafana"}
    before, after = charts.render(values=with_(grafana)), charts.render(values=with_(values))
    assert changed(before, after) == again


def test_only_who_has_a_generated_password_starts_again_with_another(charts: Charts) -> None:
    """Without a cluster each rendering makes new ones, as an upgrade would whose password no secret keeps."""
    one, other = charts.configured("default"), Charts(charts.folder.parent / "again").configured("default")
    with_database = {pod.owner["metadata"]["name"] for pod in services(one)} - {"shop-gateway-rest"}
    jobs = {job["metadata"]["name"] for each in (one, other) for job in each.of("Job")}
    assert len(jobs) == 2, "the migration sets the passwords, so another one is another job"
    assert changed(one, other) == {"shop-valkey", *with_database, *jobs}


def migration(rendered: Rendered) -> str:
    [job] = rendered.of("Job")
    name: str = job["metadata"]["name"]
    return name


@pytest.mark.parametrize(
    "other",
    [
        {"image": {"tag": "2"}},
        {"database": {"url": "postgresql://{service}:secret@new.example.org:6432/{service}"}},
        {"database": {"url": "postgresql://{service}:other@db.example.org:6432/{service}"}},
    ],
    ids=["image", "database", "password"],
)
def test_what_migrations_do_is_in_their_jobs_name(charts: Charts, other: dict[str, Any]) -> None:
    before = charts.render(values=with_({"image": {"tag": "1"}}))
    assert migration(charts.render(values=with_({"image": {"tag": "1"}, "logs": {"level": "DEBUG"}}))) == migration(
        before
    )
    assert migration(charts.render(values=with_({"image": {"tag": "1"}} | other))) != migration(before)


def test_every_revision_migrates_anew(charts: Charts) -> None:
    """The upgrade after one whose migration failed does not find the failed job under the name of its own."""
    rendered = charts.render(values=with_({}))
    assert migration(rendered).startswith("shop-migrate-1-")
    [job] = rendered.of("Job")
    assert job["spec"]["ttlSecondsAfterFinished"] >= 3600, "helm forgets the jobs of revisions that failed"


def test_a_digest_of_digits_is_a_string_still(charts: Charts) -> None:
    """These values were found: the digest of them has no letter in it."""
    values = {
        "services": {"catalog": {"grpc": {}}},
        "database": {"url": "postgresql://u:p1097@db/{service}"},
        "broker": {"url": "redis://h"},
    }
    rendered = charts.render(values=values, chart="laneway")
    digests = [
        pod.owner["spec"]["template"]["metadata"]["annotations"]["laneway.dev/config"] for pod in services(rendered)
    ]
    assert digests == ["2848479721948208"]


# Images


def test_a_digest_wins_over_a_tag(charts: Charts) -> None:
    digest = "sha256:" + "ab" * 32
    rendered = charts.render(values=with_({"image": {"digest": digest, "tag": "dev"}}))
    ours = {
        each["image"]
        for pod in rendered.pods
        for each in pod.containers
        if each["image"].startswith("docker.io/laneway")
    }
    assert ours == {f"docker.io/laneway/laneway@{digest}"}


def test_every_pod_pulls_with_the_secrets_and_goes_where_it_may(charts: Charts) -> None:
    placed = {
        "image": {"pullSecrets": ["registry"]},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "nodeSelector": {"kubernetes.io/arch": "arm64"},
        "priorityClassName": "important",
    }
    for pod in charts.render(values=with_(placed)).pods:
        assert pod.spec["imagePullSecrets"] == [{"name": "registry"}], pod.name
        assert pod.spec["tolerations"] == placed["tolerations"], pod.name
        assert pod.spec["nodeSelector"] == placed["nodeSelector"], pod.name
        assert pod.spec["priorityClassName"] == "important", pod.name


# Secrets and volumes


def test_nothing_is_generated_where_secrets_exist(charts: Charts) -> None:
    rendered = charts.configured("by-secret")
    assert not rendered.of("Secret")
    for pod in services(rendered):
        refs = {
            each["name"]: each["valueFrom"]["secretKeyRef"]
            for each in pod.containers[0]["env"]
            if "secretKeyRef" in each.get("valueFrom", {})
        }
        service = pod.labels["app.kubernetes.io/name"]
        assert refs == (
            {}
            if service == "gateway"
            else {
                "LANEWAY_DATABASE_URL": {"name": "shop-databases", "key": service},
                "LANEWAY_BROKER_URL": {"name": "shop-brokers", "key": service},
            }
        )


def test_a_service_reads_its_own_secret_only(charts: Charts) -> None:
    for pod in services(charts.configured("default")):
        names = {
            each["valueFrom"]["secretKeyRef"]["name"]
            for each in pod.containers[0]["env"]
            if "secretKeyRef" in each.get("valueFrom", {})
        }
        service = pod.labels["app.kubernetes.io/name"]
        assert names == (set() if service == "gateway" else {f"{RELEASE}-{service}"})


def test_a_superusers_secret_of_yours_is_used(charts: Charts) -> None:
    rendered = charts.configured("existing-superuser")
    assert "shop-postgresql" not in {each["metadata"]["name"] for each in rendered.of("Secret")}
    for name in ("StatefulSet/shop-postgresql", next(name for name in pods(rendered) if name.startswith("Job/"))):
        assert "'name': 'superuser', 'key': 'password'" in str(pods(rendered)[name].spec)


def test_keep_keeps_volumes_with_their_passwords(charts: Charts) -> None:
    rendered = charts.configured("existing-superuser")
    kept = [each["metadata"] for each in rendered.objects if "helm.sh/resource-policy" in str(each["metadata"])]
    assert all(each["annotations"] == {"helm.sh/resource-policy": "keep"} for each in kept)
    volumes = {f"shop-{name}" for name in ("jaeger", "postgresql", "prometheus", "valkey")}
    passwords = {pod.owner["metadata"]["name"].removesuffix("-worker") for pod in services(rendered)}
    assert {each["name"] for each in kept} == volumes | passwords - {"shop-gateway-rest"}
    default = charts.configured("default")
    assert not [each for each in default.objects if "helm.sh/resource-policy" in str(each["metadata"])]


def test_each_service_has_its_own_user_of_the_broker(charts: Charts) -> None:
    users = charts.configured("default").named("Secret", "shop-valkey")["stringData"]["users.acl"].strip().splitlines()
    assert users[0] == "user default on nopass resetkeys resetchannels -@all +ping"
    names = [line.split()[1] for line in users[1:]]
    shop = yaml.safe_load((charts.folder / "shop/values.yaml").read_text())["laneway"]["services"]
    assert names == sorted(shop.keys() - {"gateway"}), "the gateway needs no broker"
    for name, line in zip(names, users[1:], strict=True):
        assert line.split()[3].startswith("#"), "a password's digest, never the password"
        assert "nopass" not in line
        assert f"~{name}.*" in line


# The network


@pytest.mark.parametrize(
    ("values", "ports"),
    [
        ({"database": {"url": "postgresql://{service}:a%40b@db:6432/{service}?sslmode=require"}}, {6432}),
        ({"database": {"url": "postgresql://db/{service}"}}, {5432}),
        ({"database": {"existingSecret": "mine"}}, {5432}),
        ({"database": {"url": "postgresql://a:6432,b:6433,c/{service}"}}, {6432, 6433, 5432}),
        ({"database": {"url": "postgresql:///{service}?host=db&port=6432"}}, {6432}),
        ({"broker": {"url": "redis://:pass:word@10.0.0.1:7000/0"}}, {7000}),
        ({"broker": {"url": "redis://valkey"}}, {6379}),
        ({"broker": {"existingSecret": "mine"}}, {6379}),
        ({"traces": {"url": "http://collector.observability:4318"}}, {4318}),
        ({"traces": {"url": "http://collector"}}, {80}),
        ({"traces": {"url": "https://traces.example.org/otlp"}}, {443}),
    ],
)
def test_what_is_replaced_by_a_url_can_be_reached(charts: Charts, values: dict[str, Any], ports: set[int]) -> None:
    policy = charts.render(values={"laneway": values}).named("NetworkPolicy", "shop-orders")
    anywhere = [rule for rule in policy["spec"]["egress"] if "to" not in rule]
    assert {port["port"] for rule in anywhere for port in rule["ports"]} == {53} | ports


def test_migrations_reach_a_database_elsewhere_and_nothing_more(charts: Charts) -> None:
    policy = charts.configured("by-url").named("NetworkPolicy", "shop-migrate")
    assert [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]] == [53, 53, 6432]


def test_each_service_may_call_whom_its_code_calls(charts: Charts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its clients' services, and those at which it registers for events."""
    shop = yaml.safe_load((charts.folder / "shop/values.yaml").read_text())["laneway"]["services"]
    allowed = {name: set(spec.get("calls", ())) for name, spec in shop.items()}
    assert allowed == dict(calls(monkeypatch))


def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, set[str]]]:
    made: list[Client] = []
    initialise = Client.__init__

    def remember(client: Client, lanes: Lanes) -> None:
        made.append(client)
        initialise(client, lanes)

    monkeypatch.setattr(Client, "__init__", remember)
    for entry in entry_points(group="laneway.services"):
        made.clear()
        service: Service = entry.load()(cast(Lanes, SimpleNamespace(expect=lambda method: None)))
        clients = {owner_of(client.DESCRIPTOR.file.package) for client in made}
        producers = {method.event_producer for method in service.contract if method.policy.subscription is not None}
        yield service.name, (clients | producers) - {service.name}


def test_no_policy_is_rendered_where_they_are_not_wanted(charts: Charts) -> None:
    assert not charts.render(values={"laneway": {"networkPolicy": {"enabled": False}}}).of("NetworkPolicy")


def test_only_who_needs_it_reaches_what_is_behind_and_viewers_can_be_let_in(charts: Charts) -> None:
    mine = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}
    for viewers in ([], [mine]):
        values = with_({"networkPolicy": {"viewers": viewers}, "grafana": {"enabled": True}})
        policies = {each["metadata"]["name"]: each["spec"] for each in charts.render(values=values).of("NetworkPolicy")}
        for name in ("shop-jaeger", "shop-prometheus", "shop-mailbox"):
            [rule] = [each for each in policies[name]["ingress"] if each["ports"] == [{"port": "http"}]]
            assert [peer for peer in rule["from"] if "namespaceSelector" in peer] == viewers, name
        for name, caller in (("shop-provider", "payments"), ("shop-mailbox", "notifications")):
            named = [
                peer["podSelector"]["matchLabels"].get("app.kubernetes.io/name")
                for peer in policies[name]["ingress"][-1]["from"]
            ]
            assert caller in named, name


def test_more_destinations_are_for_every_service_and_its_own_for_one(charts: Charts) -> None:
    everybody = {"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}], "ports": [{"port": 443}]}
    one = {"to": [{"ipBlock": {"cidr": "10.2.0.0/16"}}], "ports": [{"port": 443}]}
    values = {"networkPolicy": {"egress": [everybody]}, "services": {"payments": {"egress": [one]}}}
    rendered = charts.render(values=with_(values))
    allowed = {each["metadata"]["name"]: each["spec"]["egress"] for each in rendered.of("NetworkPolicy")}
    names = {f"shop-{pod.labels['app.kubernetes.io/name']}" for pod in services(rendered)}
    assert {name for name, rules in allowed.items() if everybody in rules} == names | {"shop-migrate"}
    assert {name for name, rules in allowed.items() if one in rules} == {"shop-payments"}


# Doors, volumes and budgets


def test_the_edges_door_is_where_it_is_told_to_be(charts: Charts) -> None:
    door = {"edge": {"type": "NodePort", "port": 8443, "nodePort": 30080}}
    service = charts.render(values=with_(door)).named("Service", "shop-gateway-rest")["spec"]
    assert service["type"] == "NodePort"
    assert [(each["port"], each["nodePort"]) for each in service["ports"]] == [(8443, 30080)]


@pytest.mark.parametrize("backend", ["postgresql", "valkey", "jaeger", "prometheus"])
def test_a_volume_is_of_the_class_and_size_that_it_is_told(charts: Charts, backend: str) -> None:
    wanted = {"storageClass": f"class-of-{backend}", "storage": "7Gi"}
    claim = charts.render(values={"laneway": {backend: wanted}}).named("PersistentVolumeClaim", f"shop-{backend}")
    assert claim["spec"]["storageClassName"] == wanted["storageClass"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "7Gi"
    default = charts.configured("default").named("PersistentVolumeClaim", f"shop-{backend}")
    assert "storageClassName" not in default["spec"], "the cluster's own default"


@pytest.mark.parametrize("wanted", [True, False])
def test_budgets_are_rendered_where_they_are_wanted(charts: Charts, wanted: bool) -> None:
    values = {"services": {"orders": {"grpc": {"replicas": 2}}}, "podDisruptionBudget": {"enabled": wanted}}
    budgets = charts.render(values=with_(values)).of("PodDisruptionBudget")
    assert [each["metadata"]["name"] for each in budgets] == (["shop-orders"] if wanted else [])


# What a cluster has or has not


def test_monitors_are_rendered_only_where_their_kinds_are_known(charts: Charts) -> None:
    assert not charts.configured("default").of("PodMonitor", "ServiceMonitor", "PrometheusRule")
    only_pods = charts.render("--api-versions", f"{PRESENT}/PodMonitor")
    assert [each["kind"] for each in only_pods.of("PodMonitor", "PrometheusRule")] == ["PodMonitor"]
    both = charts.configured("monitored").of("PodMonitor", "PrometheusRule")
    assert [each["kind"] for each in both] == ["PodMonitor", "PrometheusRule"]
    assert all(each["metadata"]["labels"]["release"] == "monitoring" for each in both)


@pytest.mark.parametrize("configuration", ["monitored", "operator-monitored"])
def test_every_process_of_ours_is_gathered_by_one_monitor(charts: Charts, configuration: str) -> None:
    rendered = charts.configured(configuration)
    monitors = rendered.of("PodMonitor")
    for pod in rendered.pods:
        by = [each for each in monitors if matches(each["spec"]["selector"], pod.labels)]
        ours = pod.labels["app.kubernetes.io/component"] in {"rest", "grpc", "worker", "cpu-worker", "operator"}
        assert len(by) == int(ours), pod.name


def test_the_edge_scales_by_cpu_and_has_a_name(charts: Charts) -> None:
    rendered = charts.configured("edge")
    [scaler] = rendered.of("HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == "shop-gateway-rest"
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 6)
    [metric] = scaler["spec"]["metrics"]
    [container] = pods(rendered)["Deployment/shop-gateway-rest"].containers
    wanted, bounds = amount(metric["resource"]["target"]["averageValue"]), container["resources"]
    assert metric["resource"]["target"]["type"] == "AverageValue", "a share of the request is met by a few calls"
    assert 5 * amount(bounds["requests"]["cpu"]) < wanted < amount(bounds["limits"]["cpu"])
    [ingress] = rendered.of("Ingress")
    [rule] = ingress["spec"]["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert rule["host"] == "shop.example.org"
    assert rendered.named("Service", backend["name"])["spec"]["ports"][0]["name"] == backend["port"]["name"]
    assert ingress["spec"]["tls"] == [{"secretName": "shop-tls", "hosts": ["shop.example.org"]}]


@pytest.mark.parametrize("configuration", ["default", "edge", "by-url", "profile-full"])
def test_the_notes_name_services_and_ports_that_are_there(charts: Charts, configuration: str) -> None:
    rendered = charts.configured(configuration)
    notes = charts.notes(configuration)
    commands = re.findall(r"-n (\S+) port-forward svc/(\S+) (\d+):(\d+)", notes)
    assert commands
    for namespace, service, local, port in commands:
        assert namespace == "ct-shop"
        assert int(port) in [each["port"] for each in rendered.named("Service", service)["spec"]["ports"]]
        assert f"http://127.0.0.1:{local}" in notes


# A laptop


def test_the_default_fits_a_laptop(charts: Charts) -> None:
    rendered = charts.configured("default")
    running = [pod for pod in rendered.pods if pod.owner["kind"] != "Pod"]
    requests = [
        (kind, amount(each["resources"]["requests"][kind]) * pod.owner["spec"].get("replicas", 1))
        for pod in running
        for each in pod.spec["containers"]
        for kind in ("cpu", "memory")
    ]
    assert sum(value for kind, value in requests if kind == "cpu") <= 1
    assert sum(value for kind, value in requests if kind == "memory") <= Decimal("1.5") * 2**30


def amount(quantity: str) -> Decimal:
    digits = quantity.rstrip("KMGim")
    return Decimal(digits) * {"": 1, "m": Decimal("0.001"), "Mi": 2**20, "Gi": 2**30}[quantity[len(digits) :]]
