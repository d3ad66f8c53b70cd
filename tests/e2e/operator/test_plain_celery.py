"""A plain Celery application: a task that takes long, and a queue that is paused."""

from tests.e2e.operator.kubectl import Namespace, until
from tests.e2e.operator.plain_celery import Producer, quick_pool, workers


def test_a_task_that_runs_long_keeps_its_pod(celery_namespace: Namespace, producer: Producer) -> None:
    there = celery_namespace
    there.apply(*workers(report=True, slots=1), quick_pool(initial={"slotsPerPod": 1}))
    producer.send(1, 45)
    producer.send(12, 0.5)
    until(lambda: there.replicas("worker") > 1, 20, "the burst is answered")
    most = there.replicas("worker")
    until(lambda: len(producer.record("ended")) == 12, 90, "the short tasks are done")
    until(lambda: there.replicas("worker") < most, 60, "another goes")
    assert 0 not in producer.record("ended")
    until(lambda: 0 in producer.record("ended"), 90, "the long task ends")
    until(lambda: there.replicas("worker") == 0, 120, "the last one goes")
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


def _paused(producer: Producer) -> bool:
    """Whether no worker is blocked in a BRPOP."""
    return not any("b" in each["flags"] for each in producer.client.client_list())
