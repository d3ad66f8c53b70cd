"""The dashboards of Grafana, as tables of queries. `python -m charts.dashboards` writes them into charts/laneway/files.

Every metric and label here is held to the catalogue (docs/metrics.md) by tests/charts/test_observability.py.
"""
# ruff: noqa: E501  a row of the table is a line

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "laneway/files/dashboards"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
FAULTS = "UNKNOWN|DEADLINE_EXCEEDED|INTERNAL|UNAVAILABLE|DATA_LOSS"
COLUMNS, WIDTH, HEIGHT = 2, 12, 8
RATE = "[$__rate_interval]"


@dataclass(frozen=True)
class Panel:
    """A panel: its title, unit, and queries by their legends. `traces` shows exemplars that lead to traces."""

    title: str
    unit: str
    queries: Mapping[str, str]
    traces: bool = False


@dataclass(frozen=True)
class Dashboard:
    """A dashboard. `variables` are labels to choose by, each from a metric that has it."""

    uid: str
    title: str
    panels: Sequence[Panel]
    variables: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """As Grafana reads it."""
        return {
            "uid": f"laneway-{self.uid}",
            "title": f"Laneway / {self.title}",
            "tags": ["laneway"],
            "schemaVersion": 39,
            "refresh": "10s",
            "time": {"from": "now-30m", "to": "now"},
            "links": [{"type": "dashboards", "tags": ["laneway"], "asDropdown": True, "title": "Laneway"}],
            "templating": {"list": [_variable(name, metric) for name, metric in self.variables.items()]},
            "panels": [_panel(place, panel) for place, panel in enumerate(self.panels)],
        }


def _variable(name: str, metric: str) -> dict[str, Any]:
    query = f"label_values({metric}, {name})"
    return {
        "name": name, "type": "query", "datasource": SOURCE, "query": {"query": query, "refId": name}, "definition": query,
        "refresh": 2, "multi": True, "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"},
    }  # fmt: skip


def _panel(place: int, panel: Panel) -> dict[str, Any]:
    targets = [
        {"refId": chr(65 + at), "datasource": SOURCE, "expr": query, "legendFormat": legend, "exemplar": panel.traces}
        for at, (legend, query) in enumerate(panel.queries.items())
    ]
    return {
        "id": place + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": {"x": place % COLUMNS * WIDTH, "y": place // COLUMNS * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "table", "placement": "right", "calcs": ["lastNotNull"]}},
        "targets": targets,
    }


def _quantiles(metric: str, only: str, by: str) -> dict[str, str]:
    each = f"sum by ({by}, le) (rate({metric}_bucket{{{only}}}{RATE}))"
    return {f"p{share} {{{{{by}}}}}": f"histogram_quantile(0.{share}, {each})" for share in (50, 95, 99)}


def _called(only: str, by: str) -> list[Panel]:
    """Rate, errors and duration of calls."""
    rate, faults = (
        f"sum by ({by}) (rate(laneway_calls_total{{{each}}}{RATE}))" for each in (only, f'{only}, code=~"{FAULTS}"')
    )
    return [
        Panel("Calls", "reqps", {f"{{{{{by}}}}}": rate}),
        Panel(
            "Share that fails by the service's fault",
            "percentunit",
            {f"{{{{{by}}}}}": f"({faults} or 0 * {rate}) / {rate}"},
        ),
        Panel("Duration", "s", _quantiles("laneway_call_seconds", only, by), traces=True),
    ]


def _sum(metric: str, only: str, by: str) -> dict[str, str]:
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return {legend: f"sum by ({by}) (rate({metric}{{{only}}}{RATE}))"}


def _most(metric: str, only: str, by: str) -> dict[str, str]:
    """Of what several replicas tell of one thing."""
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return {legend: f"max by ({by}) ({metric}{{{only}}})"}


def dashboards() -> Iterator[Dashboard]:
    """All of them."""
    own = 'method=~".+[.]($service)[.]v[0-9]+[.].+"'
    queue = 'queue=~"($service)[.].+"'
    services = {"service": "laneway_process_info"}
    yield Dashboard("overview", "Overview", [
        *_called('side="server"', "lane"),
        Panel("Processes", "short", {"{{service}} {{role}}": "sum by (service, role) (laneway_process_info)"}),
        Panel("Breakers that are not closed", "short", {"{{target}}": "max by (target) (laneway_breaker_state) > 0"}),
        Panel("Messages due", "short", _most("laneway_outbox_messages", 'state="due"', "queue")),
        Panel("Dead letters", "short", _most("laneway_outbox_messages", 'state="parked"', "queue")),
        Panel("Views behind the log", "s", _most("laneway_projection_lag_seconds", "", "view")),
        Panel("Memory", "bytes", {"{{instance}}": "process_resident_memory_bytes"}),
        Panel("Processor", "short", {"{{instance}}": f"rate(process_cpu_seconds_total{RATE})"}),
    ], {})  # fmt: skip
    yield Dashboard("service", "Service", [
        *_called(f'side="server", {own}', "method"),
        Panel("Codes", "reqps", _sum("laneway_calls_total", f'side="server", {own}', "code")),
        Panel("Left of the caller's deadline at entry", "s", _quantiles("laneway_deadline_left_seconds", own, "method")),
        Panel("Replies by key, without running", "reqps", _sum("laneway_idempotent_replays_total", own, "method")),
        Panel("What its callers see", "s", _quantiles("laneway_call_seconds", f'side="client", {own}', "method"), traces=True),
        Panel("Lesser answers", "reqps", _sum("laneway_fallbacks_total", own, "method, kind")),
    ], services)  # fmt: skip
    lane = 'side=~"$side", lane=~"$lane"'
    yield Dashboard("lanes", "Lanes", [
        *_called(lane, "lane"),
        Panel("Methods", "reqps", _sum("laneway_calls_total", lane, "method, lane")),
        Panel("Connections", "short", {"{{side}} {{instance}}": "sum by (side, instance) (laneway_grpc_connections_open)"}),
        Panel("Messages on a connection", "short",
              {"{{peer}}": 'sum by (peer) (laneway_grpc_connections_messages_sent{side="client"})'}),
    ], {"side": "laneway_calls_total", "lane": "laneway_calls_total"})  # fmt: skip
    yield Dashboard("queues", "Queues and pools", [
        Panel("Messages by state", "short", _most("laneway_outbox_messages", queue, "queue, state")),
        Panel("Age of the oldest that is due", "s", _most("laneway_outbox_oldest_seconds", queue, "queue")),
        Panel("Deliveries", "reqps", _sum("laneway_queue_deliveries_total", queue, "queue, outcome")),
        Panel("From publishing to start", "s", _quantiles("laneway_queue_wait_seconds", queue, "queue")),
        Panel("Copies dropped by the inbox", "reqps", _sum("laneway_queue_duplicates_total", queue, "queue")),
        Panel("Queues that take nothing more", "short", _most("laneway_outbox_full", queue, "queue")),
        Panel("Workers", "short", {"running {{instance}}": "laneway_worker_running", "slots {{instance}}": "laneway_worker_slots"}),
        Panel("Pools: pods", "short", {
            "desired {{pool}}": "max by (pool) (laneway_operator_pool_desired)",
            "ready {{pool}}": "max by (pool) (laneway_operator_pool_ready)",
        }),
        Panel("Pools: waiting", "short", _most("laneway_operator_pool_waiting", "", "namespace, pool")),
        Panel("Pools: objective met", "short", _most("laneway_operator_pool_objective_met", "", "namespace, pool")),
        Panel("Decisions", "reqps", _sum("laneway_operator_decisions_total", "", "reason")),
        Panel("Scales", "reqps", _sum("laneway_operator_scales_total", "", "direction")),
    ], services)  # fmt: skip
    yield Dashboard("breakers", "Breakers and retries", [
        Panel("State: 0 closed, 1 half-open, 2 open", "short", _most("laneway_breaker_state", 'target=~"$target"', "target")),
        Panel("Changes", "reqps", _sum("laneway_breaker_transitions_total", 'target=~"$target"', "target, state")),
        Panel("Refused on this side", "reqps", _sum("laneway_refusals_total", 'target=~"$target"', "target, reason")),
        Panel("Retries", "reqps", _sum("laneway_retries_total", "", "method")),
        Panel("Retries that may be made at once", "short",
              {"{{service}}": "min by (service) (laneway_retry_budget_tokens)"}),
        Panel("Retries not made: the budget was empty", "reqps", _sum("laneway_retry_budget_exhausted_total", "", "service")),
        Panel("Lesser answers", "reqps", _sum("laneway_fallbacks_total", "", "method, kind")),
        Panel("Policy file refused", "short", {"": "max(laneway_policy_file_refused)"}),
    ], {"target": "laneway_breaker_state"})  # fmt: skip
    yield Dashboard("log", "Event log", [
        Panel("Views behind the log", "s", _most("laneway_projection_lag_seconds", "", "view")),
        Panel("Events seen", "reqps", _sum("laneway_projection_events_total", "", "view")),
        Panel("Streams held back", "short", _most("laneway_projection_held_streams", "", "view")),
        Panel("Withheld by a transaction", "s", _most("laneway_events_withheld_seconds", "", "service")),
        Panel("Events delivered", "reqps", _sum("laneway_calls_total", 'side="server", lane="event"', "method")),
        Panel("Open sagas", "short", _most("laneway_sagas_open", "", "saga, state")),
        Panel("Silence of the most silent saga", "s", _most("laneway_sagas_silent_seconds", "", "saga")),
    ], {})  # fmt: skip


def files() -> Iterable[tuple[Path, str]]:
    """Where each goes, and what is in it."""
    return [(FOLDER / f"{each.uid}.json", json.dumps(each.to_json(), indent=1) + "\n") for each in dashboards()]


if __name__ == "__main__":
    for path, text in files():
        path.write_text(text)
