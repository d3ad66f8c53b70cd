"""What the chart's Grafana is told of: sources, links between them, and where the network lets it go."""

import logging
import re
from collections.abc import Iterator

import pytest
import yaml
from opentelemetry.trace import Span

from laneway.telemetry import logs
from laneway.telemetry.tracing import Tracing
from tests.charts.rendering import Charts

OBSERVED = {
    "grafana": {"enabled": True},
    "prometheus": {"url": "http://prometheus.monitoring:9091"},
    "jaeger": {"enabled": False},
    "traces": {"queryUrl": "https://traces.example.org"},
    "logs": {"queryUrl": "http://loki.monitoring:3100"},
}


@pytest.fixture
def line_of_a_trace(capsys: pytest.CaptureFixture[str]) -> Iterator[tuple[str, Span]]:
    """What a service logs in a span."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.configure("orders", "json", "INFO")
    with Tracing("orders", "orders-1", None).span("call") as span:
        logging.getLogger("shop").info("placing")
    yield capsys.readouterr().err, span
    root.handlers[:], root.level = handlers, level


def test_grafana_leads_from_traces_to_logs_and_back(charts: Charts, line_of_a_trace: tuple[str, Span]) -> None:
    line, span = line_of_a_trace
    rendered = charts.render(values={"laneway": OBSERVED})
    text = rendered.named("ConfigMap", "shop-grafana")["data"]["sources.yaml"]
    sources = {each["uid"]: each for each in yaml.safe_load(text)["datasources"]}
    assert sources.keys() == {"prometheus", "jaeger", "loki"}
    assert sources["loki"]["url"] == "http://loki.monitoring:3100"

    to_logs = sources["jaeger"]["jsonData"]["tracesToLogsV2"]
    assert to_logs["datasourceUid"] == "loki"
    assert to_logs["query"] == '{namespace="ct-shop"} |= `$${__trace.traceId}`'
    assert sources["jaeger"]["jsonData"]["tracesToMetrics"]["datasourceUid"] == "prometheus"
    [field] = sources["loki"]["jsonData"]["derivedFields"]
    found = re.search(field["matcherRegex"], line)
    assert found is not None
    assert found[1] == f"{span.get_span_context().trace_id:032x}"
    assert (field["url"], field["datasourceUid"]) == ("$${__value.raw}", "jaeger")


def test_grafana_asks_for_no_variable_of_its_environment(charts: Charts) -> None:
    """A single dollar is one: what is behind it is gone before anybody asks."""
    for values in (OBSERVED, {"grafana": {"enabled": True}}):
        text = charts.render(values={"laneway": values}).named("ConfigMap", "shop-grafana")["data"]["sources.yaml"]
        assert "$$" in text
        assert not re.search(r"(?<!\$)\$(?!\$)", text)


def test_grafana_reaches_its_sources_elsewhere_and_nothing_more(charts: Charts) -> None:
    policy = charts.render(values={"laneway": OBSERVED}).named("NetworkPolicy", "shop-grafana")
    anywhere = [rule for rule in policy["spec"]["egress"] if "to" not in rule]
    assert {port["port"] for rule in anywhere for port in rule["ports"]} == {53, 9091, 443, 3100}
    here = charts.configured("profile-full").named("NetworkPolicy", "shop-grafana")
    anywhere = [rule for rule in here["spec"]["egress"] if "to" not in rule]
    assert {port["port"] for rule in anywhere for port in rule["ports"]} <= {53}


@pytest.mark.parametrize("configuration", ["edge", "profile-full", "by-secret"])
def test_grafanas_sources_are_services_of_the_release(charts: Charts, configuration: str) -> None:
    rendered = charts.configured(configuration)
    provisioning = yaml.safe_load(rendered.named("ConfigMap", "shop-grafana")["data"]["sources.yaml"])
    assert provisioning["apiVersion"] == 1
    assert {each["type"] for each in provisioning["datasources"]} == {"jaeger", "prometheus"}
    assert [each["name"] for each in provisioning["datasources"] if each.get("isDefault")] == ["Prometheus"]
    for source in provisioning["datasources"]:
        name, _, port = source["url"].removeprefix("http://").partition(":")
        assert int(port) in [each["port"] for each in rendered.named("Service", name)["spec"]["ports"]]
        assert source["access"] == "proxy"
    [pod] = [each for each in rendered.pods if each.name == "Deployment/shop-grafana"]
    mounts = pod.containers[0]["volumeMounts"]
    assert "/etc/grafana/provisioning/datasources" in [each["mountPath"] for each in mounts]


def test_grafana_alone_has_no_sources(charts: Charts) -> None:
    off = {"enabled": False}
    values = {"laneway": {"grafana": {"enabled": True}, "jaeger": off, "prometheus": off}}
    [config] = [each for each in charts.render(values=values).of("ConfigMap") if "sources.yaml" in each["data"]]
    assert yaml.safe_load(config["data"]["sources.yaml"])["datasources"] == []
