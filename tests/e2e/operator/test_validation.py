"""The API server refuses a WorkerPool that means nothing, with a sentence that says what to do."""

from typing import Any

import pytest

from tests.e2e.operator.kubectl import Namespace, Refused, pool

pytestmark = pytest.mark.core

WINDOW = {"name": "day", "start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "minReplicas": 2}
BROKER = {"secretRef": {"name": "broker"}}

MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"minReplicas": 11}, "minReplicas must not be above maxReplicas"),
    ({"maxReplicas": 0}, "spec.maxReplicas: Invalid value: 0"),
    ({"fallback": {"replicas": 11}}, "fallback.replicas must not be above maxReplicas"),
    ({"schedule": [{**WINDOW, "minReplicas": 11}]}, "the floor (its minReplicas, else the pool's) must not be above"),
    ({"minReplicas": 3, "schedule": [{"name": "n", "start": WINDOW["start"], "end": WINDOW["end"], "maxReplicas": 2}]},
     "the floor (its minReplicas, else the pool's) must not be above"),
    ({"schedule": [{"name": "n", "start": WINDOW["start"], "end": WINDOW["end"]}]},
     "a window of the schedule sets minReplicas, maxReplicas or both"),
    ({"schedule": [{**WINDOW, "end": WINDOW["start"]}]}, "a window of the schedule starts and ends at different times"),
    ({"schedule": [{**WINDOW, "start": "0 8 * *"}]}, "cron has five fields"),
    ({"schedule": [{**WINDOW, "end": "0 18 * * 1-5 *"}]}, "cron has five fields"),
    ({"schedule": [WINDOW, WINDOW]}, "Duplicate value"),
    ({"source": "Laneway", "broker": {**BROKER, "keyPrefix": "x"}}, "broker.keyPrefix belongs to plain Celery"),
    ({"broker": {**BROKER, "prioritySteps": [0, 6, 3]}}, "prioritySteps must rise, each step once: [0, 3, 6, 9]"),
    ({"broker": {**BROKER, "prioritySteps": [0, 3, 3]}}, "prioritySteps must rise, each step once: [0, 3, 6, 9]"),
    ({"broker": {**BROKER, "prioritySteps": [256]}}, "should be less than or equal to 255"),
    ({"broker": {}}, 'missing required field "secretRef"'),
    ({"objective": {"waiting": "soon"}}, "waiting is a duration from 100ms to 24h, such as 500ms, 5s or 1m30s"),
    ({"objective": {"waiting": "10ms"}}, "waiting is a duration from 100ms to 24h"),
    ({"objective": {"waiting": "25h"}}, "waiting is a duration from 100ms to 24h"),
    ({"objective": {"waiting": "5s", "percentile": 100}}, "should be less than or equal to 99"),
    ({"objective": None}, 'missing required field "objective"'),
    ({"initial": {"serviceTime": "0s"}}, "a duration from 1ms to 24h, such as 250ms"),
    ({"initial": {"startTime": "quick"}}, "a duration from 1ms to 24h, such as 250ms"),
    ({"scaleDown": {"lookback": "0s"}}, "a duration from 1s to 24h, such as 60s"),
    ({"scaleDown": {"drainWithin": "48h"}}, "a duration from 1s to 24h, such as 60s"),
    ({"queues": []}, "should have at least 1 items"),
    ({"queues": [{"name": "a"}, {"name": "a"}]}, "Duplicate value"),
    ({"target": {"kind": "StatefulSet", "name": "worker"}}, 'supported values: "Deployment"'),
    ({"mode": "Off"}, 'supported values: "Active", "DryRun", "Paused", "PausedIn", "PausedOut"'),
    ({"consume": "No"}, 'supported values: "Active", "Paused"'),
    ({"replicas": 3}, 'unknown field "replicas"'),
]  # fmt: skip
"""A spec that means nothing, and what is said of it. `tests/operator/test_crd.py` sees that no rule of the kind is left out."""


def test_a_pool_that_says_everything_is_taken(namespace: Namespace) -> None:
    namespace.apply(
        pool(
            source="Celery",
            broker={
                **BROKER,
                "caSecretRef": {"name": "ca"},
                "keyPrefix": "shop:",
                "prioritySteps": [0, 5, 9],
                "separator": ":",
                "unackedKey": "u",
                "unackedIndexKey": "ui",
            },
            objective={"waiting": "1m30s", "percentile": 99},
            initial={"slotsPerPod": 4, "serviceTime": "250ms", "startTime": "10s"},
            minReplicas=1,
            schedule=[{**WINDOW, "timeZone": "Europe/Paris", "maxReplicas": 8}],
            fallback={"replicas": 3, "afterFailures": 10},
            scaleDown={"lookback": "2m", "drainWithin": "1h"},
            mode="PausedIn",
            consume="Paused",
        ),
        dry=True,
    )


@pytest.mark.parametrize(("spec", "message"), MISTAKES)
def test_a_mistake_is_refused_with_its_remedy(namespace: Namespace, spec: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused) as refused:
        namespace.apply(pool(**spec), dry=True)
    assert message in str(refused.value)


def test_a_name_that_cannot_be_a_label_is_refused(namespace: Namespace) -> None:
    with pytest.raises(Refused, match="a WorkerPool's name has at most 63 characters"):
        namespace.apply(pool("w" * 64), dry=True)


def test_the_target_of_a_pool_stays(namespace: Namespace) -> None:
    namespace.apply(pool("fixed"))
    with pytest.raises(Refused, match="target cannot be changed; delete this WorkerPool"):
        namespace.apply(pool("fixed", target={"name": "other"}))


def test_the_scale_of_a_pool_is_its_floor(namespace: Namespace) -> None:
    namespace.apply(pool("scaled"))
    namespace.kubectl("scale", "wp/scaled", "--replicas=3")
    assert namespace.get("wp", "scaled")["spec"]["minReplicas"] == 3
    with pytest.raises(Refused, match="minReplicas must not be above maxReplicas"):
        namespace.kubectl("scale", "wp/scaled", "--replicas=11")


def test_the_columns_that_people_see(namespace: Namespace) -> None:
    namespace.apply(pool("seen"))
    header = namespace.kubectl("get", "wp", "seen").splitlines()[0].split()
    assert header == ["NAME", "QUEUE", "WAITING", "RUNNING", "REPLICAS", "DESIRED", "OBJECTIVE", "MET", "AGE"]
