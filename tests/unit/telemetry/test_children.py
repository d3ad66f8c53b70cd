"""What child processes count is told with their parent's, and is not forgotten with them."""

import time

from prometheus_client.parser import text_string_to_metric_families

from laneway.errors import Code
from laneway.telemetry.metrics import Metrics

CALL = ("server", "m", "queue", Code.OK)


def counted(*calls: tuple[str, str, str, Code], breaker: float = 0.0, tokens: float = 0.0) -> Metrics:
    metrics = Metrics()
    for call in calls:
        metrics.ended(*call, time.perf_counter())
    metrics.follow("laneway_breaker_state", lambda: [(("t",), breaker)])
    metrics.follow("laneway_retry_budget_tokens", lambda: [(("t",), tokens)])
    return metrics


def told(metrics: Metrics, name: str) -> list[float]:
    text = metrics.render()[0].decode()
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families), "a family is told once"
    return [sample.value for family in families for sample in family.samples if sample.name == name]


def figures(child: Metrics) -> list:
    return list(child.registry.collect())


def test_counts_and_amounts_add_up_and_of_levels_the_worst_is_told() -> None:
    parent = counted(CALL, breaker=1, tokens=3)
    parent.children.told("a", figures(counted(CALL, CALL, breaker=2, tokens=3)))
    parent.children.told("b", figures(counted(CALL, tokens=4)))
    assert told(parent, "laneway_calls_total") == [4]
    assert told(parent, "laneway_call_seconds_count") == [4]
    assert told(parent, "laneway_breaker_state") == [2]
    assert told(parent, "laneway_retry_budget_tokens") == [10]


def test_a_child_that_tells_again_is_counted_once() -> None:
    parent = counted()
    parent.children.told("a", figures(counted(CALL)))
    parent.children.told("a", figures(counted(CALL, CALL)))
    assert told(parent, "laneway_calls_total") == [2]


def test_what_a_child_has_counted_outlives_it_and_what_it_was_does_not() -> None:
    parent = counted(tokens=1)
    for child in ("a", "b"):
        parent.children.told(child, figures(counted(CALL, tokens=5)))
        parent.children.ended(child)
    parent.children.ended("never said anything")
    assert told(parent, "laneway_calls_total") == [2]
    assert told(parent, "laneway_retry_budget_tokens") == [1]


def test_what_only_a_child_has_counted_is_told() -> None:
    parent = Metrics()
    parent.children.told("a", figures(counted(CALL)))
    assert told(parent, "laneway_calls_total") == [1]
