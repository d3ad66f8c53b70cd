"""What dashboards and alerts ask for is told: each metric, label and value of theirs is held to the catalogue.

A renamed metric breaks these tests, not a panel.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts import dashboards
from laneway.errors import Code
from laneway.telemetry.catalogue import METRICS, Kind
from tests.charts.queries import RULES, RULES_OF_THE_OPERATOR, Query, grouped, queries, rules, selected, variables
from tests.charts.rendering import ROOT, Charts

RUNBOOKS = ROOT / "docs/runbooks"
SERIES = {series: it for it in METRICS.values() for series in it.series}
EVERYWHERE = {"instance", "job"}
"""Labels that Prometheus gives."""

VALUES = {
    "side": {"client", "server"},
    "lane": {"rest", "grpc", "queue", "event"},
    "code": {code.name for code in Code},
    "outcome": {"done", "retry", "park"},
}
STATES = {"laneway_outbox_messages": {"due", "waiting", "parked"}, "laneway_sagas_open": {"forward", "compensating"}}


@pytest.mark.parametrize("query", [*queries(), *variables()], ids=str)
def test_each_metric_and_label_that_is_asked_for_is_told(query: Query) -> None:
    found = list(selected(query.text))
    assert found, "a query asks for something"
    told: set[str] = set(EVERYWHERE)
    for name, only in found:
        assert name in SERIES or name == "up", f"{name} is not in the catalogue"
        own = {*SERIES[name].labels, *(["le"] if name.endswith("_bucket") else [])} if name in SERIES else set()
        assert only.keys() <= own | EVERYWHERE
        told |= own
        for label, value in only.items():
            known = STATES.get(name) if label == "state" else VALUES.get(label)
            asked = {each for each in value.split("|") if not each.startswith("$")}
            assert known is None or asked <= known, f"{label} is never {asked - known}"
    assert grouped(query.text) <= told
    assert set(query.legend) <= (grouped(query.text) or told)


@pytest.mark.parametrize("query", list(queries()), ids=str)
def test_rates_are_taken_of_what_only_grows_and_of_nothing_else(query: Query) -> None:
    growing = set(re.findall(r"(?:rate|increase)\((\w+)", query.text))
    for name, _ in selected(query.text):
        if name in SERIES and name in query.text:
            assert (name in growing) == (SERIES[name].kind is not Kind.GAUGE)


def test_a_query_for_what_nobody_tells_is_found() -> None:
    """The tests above can fail."""
    wrong = ("sum(rate(laneway_call_total[5m]))", 'sum by (queue) (rate(laneway_calls_total{side="server"}[5m]))',
             'max(laneway_outbox_messages{state="stuck"})', 'rate(laneway_calls_total{code=~"OK|TEAPOT"}[5m])')  # fmt: skip
    for text in wrong:
        with pytest.raises(AssertionError):
            test_each_metric_and_label_that_is_asked_for_is_told(Query("wrong", text))
    with pytest.raises(AssertionError):
        test_rates_are_taken_of_what_only_grows_and_of_nothing_else(Query("wrong", "rate(laneway_breaker_state[5m])"))


def test_every_metric_of_services_is_shown_somewhere() -> None:
    shown = {SERIES[name].name for query in queries() for name, _ in selected(query.text) if name in SERIES}
    assert {name for name in METRICS if not name.startswith(("laneway_operator_", "laneway_grpc_"))} <= shown


def test_each_alert_has_its_page_and_each_page_its_alert() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    assert {each["annotations"]["runbook"] for each in alerts} == {
        str(page.relative_to(ROOT)) for page in RUNBOOKS.glob("*.md")
    }
    for each in alerts:
        assert each["annotations"]["runbook"] == f"docs/runbooks/{each['alert']}.md"
        page = (RUNBOOKS / f"{each['alert']}.md").read_text()
        assert page.startswith(f"# {each['alert']}\n")
        assert "## Look" in page
        assert "## Do" in page
        assert each["labels"]["severity"] in ("warning", "critical")


def test_pages_name_only_commands_and_pages_that_there_are() -> None:
    from typer.main import get_command

    from laneway.cli.commands import app

    root: Any = get_command(app)
    for page in RUNBOOKS.glob("*.md"):
        for words in re.findall(r"`laneway ([a-z][a-z -]*)", page.read_text()):
            first, *others = words.split()
            command = root.commands[first]
            if hasattr(command, "commands") and others:
                assert others[0] in command.commands, f"{page.name}: laneway {words}"
        for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            assert (page.parent / link).exists()


def test_the_dashboards_of_the_chart_are_these() -> None:
    there = {path: path.read_text() for path in dashboards.FOLDER.glob("*.json")}
    assert there == dict(dashboards.files()), "run: python -m charts.dashboards"


def test_the_charts_own_prometheus_has_the_rules_and_grafana_the_dashboards(charts: Charts) -> None:
    rendered = charts.configured("profile-full")
    data = rendered.named("ConfigMap", "shop-prometheus")["data"]
    assert yaml.safe_load(data["rules.yaml"]) == yaml.safe_load(RULES.read_text())
    assert yaml.safe_load(data["prometheus.yml"])["rule_files"] == ["/etc/prometheus/rules.yaml"]
    boards = rendered.named("ConfigMap", "shop-grafana-dashboards")["data"]
    assert {name for name in boards if name.endswith(".json")} == {path.name for path, _ in dashboards.files()}
    for path, text in dashboards.files():
        assert yaml.safe_load(boards[path.name]) == yaml.safe_load(text)
    [pod] = [each for each in rendered.pods if each.name == "Deployment/shop-grafana"]
    mounted = {each["name"]: each["mountPath"] for each in pod.containers[0]["volumeMounts"]}
    [provider] = yaml.safe_load(boards["provider.yaml"])["providers"]
    assert provider["options"]["path"] == mounted["dashboards"]


def test_the_rules_reach_an_operators_prometheus(charts: Charts) -> None:
    [rule] = charts.configured("monitored").of("PrometheusRule")
    assert rule["spec"] == yaml.safe_load(RULES.read_text())


def test_the_operators_rules_reach_an_operators_prometheus(charts: Charts) -> None:
    found = charts.configured("operator-monitored").of("PrometheusRule")
    [rule] = [each for each in found if each["metadata"]["name"].endswith("operator")]
    assert rule["spec"] == yaml.safe_load(RULES_OF_THE_OPERATOR.read_text())


def test_every_alert_is_run_by_a_case() -> None:
    cases = yaml.safe_load((Path(__file__).parent / "rules_test.yaml").read_text())["tests"]
    fired = {each["alertname"] for case in cases for each in case.get("alert_rule_test", ()) if each["exp_alerts"]}
    assert {rule["alert"] for rule in rules() if "alert" in rule} == fired


def test_dashboards_can_be_found_by_a_grafana_of_yours(charts: Charts) -> None:
    assert not [
        each for each in charts.configured("default").of("ConfigMap") if "dashboards" in each["metadata"]["name"]
    ]
    values = {"laneway": {"monitoring": {"dashboards": True}}}
    found = charts.render(values=values).named("ConfigMap", "shop-grafana-dashboards")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"


@pytest.fixture
def promtool() -> Callable[..., None]:
    """Prometheus' own tool; what it refuses fails the test."""
    program = shutil.which("promtool", path=f"{os.environ['PATH']}{os.pathsep}{ROOT / 'build/bin'}")
    if program is None:
        pytest.skip(
            "there is no promtool: `make promtool`; queries are held to the catalogue, but not run by Prometheus"
        )

    def run(*arguments: str | Path) -> None:
        ended = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr

    return run


def test_alerts_fire_when_they_should_and_not_before(promtool: Callable[..., None], tmp_path: Path) -> None:
    cases = tmp_path / "rules_test.yaml"
    told = yaml.safe_load((Path(__file__).parent / "rules_test.yaml").read_text())
    cases.write_text(yaml.safe_dump({**told, "rule_files": [str(RULES), str(RULES_OF_THE_OPERATOR)]}))

    promtool("check", "rules", RULES, RULES_OF_THE_OPERATOR)
    promtool("test", "rules", cases)


def test_prometheus_can_parse_what_every_panel_asks(promtool: Callable[..., None], tmp_path: Path) -> None:
    texts = [re.sub(r"\$\w+", "x", each.text.replace("$__rate_interval", "5m")) for each in (*queries(), *variables())]
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(texts)]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))

    promtool("check", "rules", file)
