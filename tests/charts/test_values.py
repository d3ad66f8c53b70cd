"""A wrong value is refused, and the message names it. Messages are those of helm 3.18 and later."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.charts import tuning_schema
from tests.charts.rendering import Charts, RenderingFailed

TWO_EDGES: dict[str, Any] = {"a": {"rest": {}}, "b": {"rest": {}}}
REFUSED: list[tuple[dict[str, Any], str]] = [
    # Something that does not exist
    ({"postgres": {}}, "at '': additional properties 'postgres' not allowed"),
    ({"image": {"name": "x"}}, "at '/image': additional properties 'name' not allowed"),
    ({"services": {"orders": {"gprc": {}, "worker": {}}}}, "at '/services/orders': additional properties 'gprc'"),
    ({"services": {"orders": {"grpc": {"slots": 3}}}}, "at '/services/orders/grpc': additional properties 'slots'"),
    ({"services": {"orders": {"worker": {"autoscaling": {}}}}}, "orders/worker': additional properties 'autoscaling'"),
    ({"roles": {"workers": {}}}, "at '/roles': additional properties 'workers' not allowed"),
    ({"stop": {"grace_seconds": 3}}, "at '/stop': additional properties 'grace_seconds' not allowed"),
    ({"policy": {"method": {}}}, "at '/policy': additional properties 'method' not allowed"),
    ({"database": {"uri": "x"}}, "at '/database': additional properties 'uri' not allowed"),
    ({"broker": {"password": "x"}}, "at '/broker': additional properties 'password' not allowed"),
    ({"edge": {"ingress": {"hosts": []}}}, "at '/edge/ingress': additional properties 'hosts' not allowed"),
    ({"development": {"debug": True}}, "at '/development': additional properties 'debug' not allowed"),
    # Names
    ({"services": {"Orders": {"grpc": {}}}}, "at '/services': additional properties 'Orders' not allowed"),
    ({"services": {"valkey": {"grpc": {}}}}, "services.valkey: a part of the chart has that name"),
    ({"services": {"a": {"grpc": {}, "calls": ["b"]}}}, 'services.a.calls: "b" is none of the services with the role'),
    (
        {"services": {"a": {"grpc": {}, "calls": ["b"]}, "b": {"worker": {}}}},
        'services.a.calls: "b" is none of the services with the role grpc',
    ),
    ({"env": {"1ST": "x"}}, "at '/env': additional properties '1ST' not allowed"),
    # Kinds of values
    ({"services": {"orders": {"grpc": {"replicas": "two"}}}}, "orders/grpc/replicas': got string, want integer"),
    ({"services": ["orders"]}, "at '/services': got array, want object"),
    ({"env": {"LIST": ["a"]}}, "at '/env/LIST': got array, want"),
    ({"env": {"SECRET": {"secretKeyRef": {}}}}, "at '/env/SECRET': missing property 'valueFrom'"),
    ({"podLabels": {"team": 3}}, "at '/podLabels/team': got number, want string"),
    ({"databasePool": "4"}, "at '/databasePool': got string, want integer"),
    # Values out of range
    ({"stop": {"drain": -1}}, "at '/stop/drain': minimum: got -1, want 0"),
    ({"stop": {"grace": 0}}, "at '/stop/grace': minimum: got 0, want 1"),
    ({"edge": {"port": 70000}}, "at '/edge/port': maximum: got 70,000, want 65,535"),
    ({"edge": {"type": "NodePort", "nodePort": 80}}, "at '/edge/nodePort': minimum: got 80, want 30,000"),
    ({"logs": {"format": "xml"}}, "at '/logs/format': value must be one of 'json', 'text'"),
    ({"logs": {"level": "info"}}, "at '/logs/level': value must be one of 'DEBUG', 'INFO', 'WARNING', 'ERROR'"),
    ({"image": {"pullPolicy": "Sometimes"}}, "at '/image/pullPolicy': value must be one of"),
    ({"image": {"digest": "0123"}}, "at '/image/digest': '0123' does not match pattern"),
    ({"postgresql": {"image": "postgres"}}, "at '/postgresql/image': 'postgres' does not match pattern"),
    ({"postgresql": {"storage": "1 GB"}}, "at '/postgresql/storage': '1 GB' does not match pattern"),
    ({"valkey": {"resources": {"limits": {"memory": "lots"}}}}, "/valkey/resources/limits/memory': 'lots' does not"),
    ({"jaeger": {"spansFor": "2d"}}, "at '/jaeger/spansFor': '2d' does not match pattern"),
    ({"prometheus": {"keepFor": "48"}}, "at '/prometheus/keepFor': '48' does not match pattern"),
    ({"monitoring": {"interval": "15"}}, "at '/monitoring/interval': '15' does not match pattern"),
    ({"database": {"url": "mysql://host/{service}"}}, "at '/database/url': 'mysql://host/{service}' does not match"),
    ({"database": {"url": "postgresql://host/shop"}}, "at '/database/url': 'postgresql://host/shop' does not match"),
    ({"broker": {"url": "amqp://host"}}, "at '/broker/url': 'amqp://host' does not match pattern"),
    ({"logs": {"queryUrl": "loki:3100"}}, "at '/logs/queryUrl': 'loki:3100' does not match pattern"),
    ({"traces": {"url": "collector:4318"}}, "at '/traces/url': 'collector:4318' does not match pattern"),
    # Things that exclude or need each other
    (
        {"database": {"url": "postgresql://h/{service}", "existingSecret": "mine"}},
        "at '/database/existingSecret': value must be ''",
    ),
    ({"broker": {"url": "redis://h", "existingSecret": "mine"}}, "at '/broker/existingSecret': value must be ''"),
    ({"services": {"orders": {"calls": []}}}, "at '/services/orders': missing property 'grpc'"),
    ({"services": {"orders": {"grpc": None}}}, "at '/services/orders/grpc': got null, want object"),
    ({"edge": {"nodePort": 30080}}, "at '/edge/type': value must be one of 'NodePort', 'LoadBalancer'"),
    ({"edge": {"ingress": {"tlsSecret": "mine"}}}, "at '/edge/ingress/host': minLength"),
    (
        {"services": {"edge": {"rest": {"scale": True, "autoscaling": {"enabled": True}}}}},
        "services.edge.rest: scale and autoscaling.enabled exclude each other",
    ),
    (
        {"services": {"edge": {"rest": {"autoscaling": {"enabled": True, "minReplicas": 12}}}}},
        "services.edge.rest.autoscaling: minReplicas is above maxReplicas",
    ),
    # Amounts of the other kind
    ({"valkey": {"resources": {"limits": {"cpu": "64Mi"}}}}, "/valkey/resources/limits/cpu': '64Mi' does not match"),
    ({"valkey": {"resources": {"limits": {"memory": "500m"}}}}, "/valkey/resources/limits/memory': '500m' does not"),
    ({"roles": {"rest": {"autoscaling": {"cpu": "64Mi"}}}}, "at '/roles/rest/autoscaling/cpu': '64Mi' does not match"),
    # What is no name of an object, a host or an image's repository
    ({"database": {"existingSecret": "My Secret"}}, "at '/database/existingSecret': 'My Secret' does not match"),
    ({"postgresql": {"existingSecret": "a/b"}}, "at '/postgresql/existingSecret': 'a/b' does not match"),
    ({"priorityClassName": "High!"}, "at '/priorityClassName': 'High!' does not match"),
    ({"image": {"pullSecrets": [""]}}, "at '/image/pullSecrets/0': minLength"),
    ({"image": {"repository": "example.org/shop:1"}}, "at '/image/repository': 'example.org/shop:1' does not match"),
    ({"edge": {"ingress": {"host": "https://a.org"}}}, "at '/edge/ingress/host': 'https://a.org' does not match"),
    ({"edge": {"ingress": {"host": "a.org/shop"}}}, "at '/edge/ingress/host': 'a.org/shop' does not match"),
    # Rules that would allow everything, or say nothing
    ({"networkPolicy": {"egress": [{}]}}, "at '/networkPolicy/egress/0': minProperties"),
    ({"networkPolicy": {"egress": [{"too": []}]}}, "at '/networkPolicy/egress/0': additional properties 'too'"),
    ({"networkPolicy": {"egress": [{"to": [], "ports": [{"port": 1}]}]}}, "'/networkPolicy/egress/0/to': minItems"),
    ({"services": {"a": {"grpc": {}, "egress": [{}]}}}, "at '/services/a/egress/0': minProperties"),
    # What is the chart's own
    ({"podLabels": {"app.kubernetes.io/name": "x"}}, "invalid propertyName 'app.kubernetes.io/name'"),
    ({"services": {"operator": {"grpc": {}}}}, "services.operator: a part of the chart has that name"),
    ({"services": {"default": {"grpc": {}}}}, "services.default: a user or database of that name is the backend's"),
    ({"services": {"postgres": {"grpc": {}}}}, "services.postgres: a user or database of that name is the backend's"),
    (
        {"services": {"a": {"grpc": {}, "worker": {}}, "a-worker": {"grpc": {}}}},
        "services.a-worker: the role worker of the service a has that name",
    ),
    (
        {"services": {"a": {"grpc": {}, "cpu-worker": {}}, "a-cpu": {"worker": {}}}},
        "services.a-cpu: its role worker is called as the role cpu-worker of the service a",
    ),
    ({"services": {"a": {"cpu-worker": {"slots": 257}}}}, "cpu-worker/slots': maximum: got 257, want 256"),
    # A policy that no process would start with
    ({"policy": {"defaults": {"dedline": "1s"}}}, "at '/policy/defaults': additional properties 'dedline' not allowed"),
    ({"policy": {"defaults": {"deadline": 3}}}, "at '/policy/defaults/deadline': got number, want string"),
    ({"policy": {"defaults": {"deadline": "3"}}}, "at '/policy/defaults/deadline': '3' does not match pattern"),
    ({"policy": {"defaults": {"deadline": "0s"}}}, "at '/policy/defaults/deadline': 'not' failed"),
    ({"policy": {"defaults": {"retry": {"max_attempts": 0}}}}, "/retry/max_attempts': minimum: got 0, want 1"),
    ({"policy": {"defaults": {"breaker": {"failure_rate": 2}}}}, "/breaker/failure_rate': maximum: got 2, want 1"),
    ({"policy": {"defaults": {"breaker": {"mode": "OFF"}}}}, "/breaker/mode': value must be one of 'AUTOMATIC', "),
    ({"policy": {"defaults": {"idempotency": {"keep": "1s"}}}}, "additional properties 'idempotency' not allowed"),
    ({"policy": {"services": {"orders": {}}}}, "at '/policy/services': additional properties 'orders' not allowed"),
    (
        {"policy": {"methods": {"shop.orders.v1.Orders": {}}}},
        "at '/policy/methods': additional properties 'shop.orders",
    ),
    # Two edges, and one door
    ({"services": TWO_EDGES, "edge": {"type": "NodePort", "nodePort": 30080}}, "edge.nodePort: one port cannot lead"),
    (
        {"services": TWO_EDGES, "edge": {"ingress": {"enabled": True, "host": "a.org"}}},
        "edge.ingress: one host and path cannot lead to several edges (a, b)",
    ),
]


@pytest.mark.parametrize(("values", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_wrong_value_is_named(charts: Charts, values: dict[str, Any], message: str) -> None:
    with pytest.raises(RenderingFailed) as refusal:
        charts.render(values=values, chart="laneway")
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mailboxes": {}}, "at '': additional properties 'mailboxes' not allowed"),
        ({"services": {}}, "at '': additional properties 'services' not allowed"),
        ({"provider": {"enabled": "no"}}, "at '/provider/enabled': got string, want boolean"),
        ({"mailbox": {"port": 25}}, "at '/mailbox': additional properties 'port' not allowed"),
        ({"mailbox": {"resources": {"limits": {"cpu": "one"}}}}, "at '/mailbox/resources/limits/cpu': 'one' does not"),
        (
            {"provider": {"enabled": False}},
            "provider.enabled is false, and payments would call it still: say where yours",
        ),
        ({"mailbox": {"enabled": False}}, "in laneway.services.notifications.env.SMTP_URL, and let it through in"),
        ({"laneway": {"logs": {"format": "xml"}}}, "laneway:\n- at '/logs/format': value must be one of"),
    ],
)
def test_a_wrong_value_of_the_shop_is_named(charts: Charts, values: dict[str, Any], message: str) -> None:
    with pytest.raises(RenderingFailed) as refusal:
        charts.render(values=values)
    assert message in str(refusal.value)


OPEN = {"global", "laneway", "laneway-operator"}
"""Values of other charts, which have schemas of their own, and helm's `global`."""

KUBERNETES = {
    "podSelector",
    "namespaceSelector",
    "ipBlock",
    "valueFrom",
    "affinity",
    "tolerations",
    "topologySpreadConstraints",
}
"""What is the API server's to judge."""


def described(schema: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object that a schema describes, by the name of its property or definition."""
    if isinstance(schema, list):
        for each in schema:
            yield from described(each, name)
    elif isinstance(schema, dict):
        kinds = schema.get("type", ())
        if "object" in ([kinds] if isinstance(kinds, str) else kinds):
            yield name, schema
        for key, part in schema.items():
            if key in ("properties", "patternProperties", "$defs"):
                for inner, value in part.items():
                    yield from described(value, inner)
            elif key not in ("if", "then", "anyOf", "propertyNames"):
                yield from described(part, name)


def test_a_policy_may_hold_what_a_process_takes(charts: Charts) -> None:
    text = tuning_schema.FILE.read_text()
    assert tuning_schema.written(text) == text, "run `make golden`"


def test_every_object_of_a_schema_says_what_may_be_in_it(charts: Charts) -> None:
    """A value that is written wrong would be one that is ignored."""
    for chart in charts.names:
        schema = json.loads((charts.folder / chart / "values.schema.json").read_text())
        found = list(described(schema))
        assert len(found) > 5
        loose = {name for name, each in found if "additionalProperties" not in each and "$ref" not in each}
        assert loose <= OPEN | KUBERNETES, chart


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.b", 'the release\'s name "a.b" has a dot in it'),
        ("a" * 41, "the release's name has 41 characters; 40 are the most"),
    ],
)
def test_a_release_whose_parts_could_have_no_names_is_refused(charts: Charts, name: str, message: str) -> None:
    with pytest.raises(RenderingFailed) as refusal:
        charts.render("--name-template", name)
    assert message in str(refusal.value)


def test_the_longest_name_of_a_release_leaves_room_for_every_part(charts: Charts) -> None:
    for each in charts.render("--name-template", "a" * 40).of("Service", "Job", "StatefulSet"):
        assert len(each["metadata"]["name"]) <= 63, each["metadata"]["name"]


def test_several_edges_each_have_a_service(charts: Charts) -> None:
    rendered = charts.render(values={"services": TWO_EDGES}, chart="laneway")
    assert {"shop-a-rest", "shop-b-rest"} <= {each["metadata"]["name"] for each in rendered.of("Service")}


def test_every_chart_passes_lint(charts: Charts) -> None:
    said = charts.helm("lint", "--strict", *(charts.folder / name for name in charts.names))
    assert f"{len(charts.names)} chart(s) linted, 0 chart(s) failed" in said


def test_a_service_is_at_most_ten_lines_of_values_and_all_it_needs_comes_of_them(charts: Charts) -> None:
    text = (charts.folder / "shop/values.yaml").read_text().partition("\n\n")[0]
    blocks = re.split(r"^    (?=\w)", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(yaml.safe_load(text)["laneway"]["services"])
    assert max(len(block.splitlines()) for block in blocks) <= 10

    lone = charts.render(values={"services": {"a": {"grpc": {}, "worker": {}}}}, chart="laneway")
    of_it = sorted(each["kind"] for each in lone.objects if each["metadata"]["name"].startswith("shop-a"))
    assert of_it == ["Deployment", "Deployment", "NetworkPolicy", "Secret", "Service", "ServiceAccount"]


def test_a_role_that_an_edge_never_had_can_be_null(charts: Charts) -> None:
    users = charts.render(values={"laneway": {"services": {"gateway": {"grpc": None}}}}).named("Secret", "shop-valkey")
    assert "user gateway" not in users["stringData"]["users.acl"]


def test_null_takes_a_service_or_role_away(charts: Charts) -> None:
    values: dict[str, Any] = {
        "laneway": {"services": {"notifications": None, "inventory": {"worker": None, "calls": []}}}
    }
    left = {each["metadata"]["name"] for each in charts.render(values=values).objects}
    assert "shop-inventory" in left
    assert not {name for name in left if "notifications" in name or name == "shop-inventory-worker"}


def test_the_nearest_value_of_a_variable_wins_and_null_takes_it_away(charts: Charts) -> None:
    values = {
        "env": {"A": "chart", "B": "chart", "C": "chart", "GONE": "chart", "WHERE": "{{ .Release.Namespace }}"},
        "services": {"a": {"grpc": {"env": {"C": "role"}}, "env": {"B": "service", "C": "service", "GONE": None}}},
    }
    [pod] = [pod for pod in charts.render(values=values, chart="laneway").pods if pod.name == "Deployment/shop-a"]
    env = {each["name"]: each.get("value") for each in pod.containers[0]["env"]}
    assert {"A": "chart", "B": "service", "C": "role", "WHERE": "ct-shop"}.items() <= env.items()
    assert "GONE" not in env


@pytest.mark.parametrize(("value", "text"), [(10_000_000, "10000000"), (0.5, "0.5"), (True, "true"), ("1e7", "1e7")])
def test_a_variable_is_written_as_it_was_given(charts: Charts, value: object, text: str) -> None:
    values = {"env": {"LIMIT": value}, "services": {"a": {"grpc": {}}}}
    [pod] = [pod for pod in charts.render(values=values, chart="laneway").pods if pod.name == "Deployment/shop-a"]
    assert {"name": "LIMIT", "value": text} in pod.containers[0]["env"]
