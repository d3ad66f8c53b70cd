"""A Celery application that has never heard of Laneway, scaled from zero and back to zero."""

import pytest

from tests.e2e.operator.conftest import Say
from tests.e2e.operator.kubectl import Namespace, until
from tests.e2e.operator.plain_celery import Producer, quick_pool, workers

TASKS = 60
AT_ONCE = [
    pytest.param(True, marks=pytest.mark.xdist_group("reporting"), id="with CapacityReport"),
    pytest.param(False, marks=pytest.mark.xdist_group("basic"), id="without it"),
]
"""Where tests run in several processes, each has an operator, a broker and an application of its own."""

pytestmark = pytest.mark.core


@pytest.mark.parametrize("report", AT_ONCE)
def test_a_burst_is_served_from_zero_and_the_pool_goes_back_to_zero(
    celery_namespace: Namespace, producer: Producer, figure: Say, report: bool
) -> None:
    there = celery_namespace
    there.apply(*workers(report=report), quick_pool())
    until(lambda: there.condition("worker", "MetricsAvailable")["status"] == "True", 30, "the pool is looked at")

    producer.send(TASKS, 1.0)
    asked = until(lambda: there.replicas("worker") > 0, 10, "the burst is answered")
    first = there.replicas("worker")
    until(lambda: len(producer.record("ended")) == TASKS, 180, "every task is done")
    expected = ("Full", "Reporting") if report else ("Basic", "BasicMode")
    until(lambda: (_accuracy(there), _reason(there)) == expected, 20, "it is said how well the workers are known")
    back = until(lambda: there.replicas("worker") == 0, 120, "the pool goes back to zero")

    assert sorted(producer.record("begun")) == list(range(TASKS)), "a task was begun twice"
    events = {each["reason"] for each in there.list("events", "--field-selector=involvedObject.kind=WorkerPool")}
    assert events & {"ScaleFromZero", "AtMaximum"}
    figure(
        f"a burst of {TASKS} on zero, {'reporting' if report else 'basic'}",
        f"{first} replicas after {asked:.1f} s, zero {back:.1f} s after the last task; events {sorted(events)}",
    )


def _accuracy(there: Namespace) -> str:
    return str(there.get("wp", "worker")["status"]["accuracy"])


def _reason(there: Namespace) -> str:
    return str(there.condition("worker", "MetricsAvailable")["reason"])
