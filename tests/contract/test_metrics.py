"""What processes tell is what the catalogue says, and the page shows it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric

from laneway.lanes.grpc.connections import Connections
from laneway.resilience.pipeline import Pipelines
from laneway.runtime.installed import describe
from laneway.runtime.process import follow_pipelines
from laneway.telemetry.catalogue import METRICS, Kind
from laneway.telemetry.metrics import Metrics
from laneway_operator.metrics import Metrics as OperatorMetrics
from tests.contract.metrics_page import PAGE, with_tables

SOURCES = [*Path("services/laneway/src/laneway").rglob("*.py"), *Path("operator/src").rglob("*.py")]


def told() -> Iterator[Metric]:
    process, operator = Metrics(), OperatorMetrics()
    follow_pipelines(process, Pipelines())
    process.registry.register(Connections())
    operator.follow({}, lambda: True, lambda: True)
    for registry in (process.registry, operator.registry):
        yield from registry.collect()


def test_the_page_shows_the_catalogue() -> None:
    page = PAGE.read_text()
    assert page == with_tables(page), "run: python -m tests.contract.metrics_page"
    for it in METRICS.values():
        assert f"| `{it.name}` |" in page


def test_nothing_is_told_that_the_catalogue_does_not_have() -> None:
    own = {re.sub("_total$", "", name): it for name, it in METRICS.items()}
    for metric in told():
        if metric.name.startswith("laneway_"):
            assert own[metric.name].kind.value == metric.type
            assert own[metric.name].meaning == metric.documentation


@pytest.mark.parametrize("name", METRICS)
def test_somebody_tells_each_metric_of_the_catalogue(name: str) -> None:
    told_at_once = {metric.name for metric in told()}
    short = name.removesuffix("_total")
    if short in told_at_once:
        return
    texts = [path.read_text() for path in SOURCES if path.name != "catalogue.py"]
    assert any(f'"{name}"' in text for text in texts)


def test_names_follow_the_conventions() -> None:
    for it in METRICS.values():
        assert it.name.endswith("_total") == (it.kind is Kind.COUNTER)
        assert it.name.endswith("_seconds") or it.kind is not Kind.HISTOGRAM
        assert it.buckets == tuple(sorted(it.buckets))
        assert bool(it.buckets) == (it.kind is Kind.HISTOGRAM)


def test_a_breaker_and_a_budget_are_told_as_they_are_when_somebody_asks() -> None:
    [place] = [each for each in describe("orders").contract if each.name == "PlaceOrder"]
    metrics, pipelines = Metrics(), Pipelines()
    follow_pipelines(metrics, pipelines)
    pipelines.of(place)
    text = metrics.render()[0].decode()

    assert 'laneway_breaker_state{target="orders/shop.orders.v1.Orders.PlaceOrder"} 0.0' in text
    assert 'laneway_retry_budget_tokens{service="orders"} 10.0' in text
    assert 'laneway_retry_budget_exhausted_total{service="orders"} 0.0' in text
