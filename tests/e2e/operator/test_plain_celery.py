"""A Celery application that has never heard of Laneway, scaled from zero and back to zero."""

from collections.abc import Iterator

import pytest

from tests.e2e.operator.kubectl import Namespace, until
from tests.e2e.operator.plain_celery import Producer, producer_for, quick_pool, workers

TASKS = 60


@pytest.fixture
def producer(celery_namespace: Namespace) -> Iterator[Producer]:
    with producer_for(celery_namespace) as producer:
        producer.client.flushall()
        yield producer
    celery_namespace.kubectl("delete", "workerpool/worker", "deployment/worker", "--ignore-not-found")


@pytest.mark.parametrize("report", [True, False], ids=["with CapacityReport", "without it"])
def test_a_burst_is_served_from_zero_and_the_pool_goes_back_to_zero(
    celery_namespace: Namespace, producer: Producer, report: bool
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
    print(f"{first} replicas after {asked:.1f} s, zero {back:.1f} s after the last task; events {sorted(events)}")


def test_a_task_that_runs_long_keeps_its_pod(celery_namespace: Namespace, producer: Producer) -> None:
    there = celery_namespace
    there.apply(*workers(report=True, slots=1), quick_pool(initial={"slotsPerPod": 1}))
    producer.send(1, 45)
    producer.send(12, 0.5)
    until(lambda: there.replicas("worker") > 1, 20, "the burst is answered")
    until(lambda: len(producer.record("ended")) == 12, 90, "the short tasks are done")
    until(lambda: there.replicas("worker") == 1, 60, "the others go")
    assert 0 not in producer.record("ended")
    until(lambda: 0 in producer.record("ended"), 90, "the long task ends")
    until(lambda: there.replicas("worker") == 0, 60, "the last one goes")
    assert sorted(producer.record("begun")) == list(range(13))


def test_consuming_pauses_and_goes_on(celery_namespace: Namespace, producer: Producer) -> None:
    there = celery_namespace
    there.apply(*workers(report=True), quick_pool(minReplicas=1))
    until(lambda: there.get("deployment", "worker").get("status", {}).get("readyReplicas") == 1, 60, "a worker runs")
    producer.send(2, 0.1)
    until(lambda: len(producer.record("ended")) == 2, 60, "it works")
    there.kubectl("patch", "wp", "worker", "--type=merge", "--patch", '{"spec": {"consume": "Paused"}}')
    until(lambda: producer.client.exists("laneway:paused:celery") == 1, 10, "the queue is paused")
    until(lambda: _paused(producer), 10, "the worker heeds it")
    producer.send(4, 0.1)
    until(lambda: there.get("wp", "worker")["status"].get("waiting") == 4, 15, "what waits is seen")
    assert len(producer.record("begun")) == 2
    there.kubectl("patch", "wp", "worker", "--type=merge", "--patch", '{"spec": {"consume": "Active"}}')
    until(lambda: len(producer.record("ended")) == 6, 60, "it goes on")


def _accuracy(there: Namespace) -> str:
    return str(there.get("wp", "worker")["status"]["accuracy"])


def _reason(there: Namespace) -> str:
    return str(there.condition("worker", "MetricsAvailable")["reason"])


def _paused(producer: Producer) -> bool:
    """Whether no worker is blocked in a BRPOP."""
    return not any("b" in each["flags"] for each in producer.client.client_list())
