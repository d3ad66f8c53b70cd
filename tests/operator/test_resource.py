"""A spec as its author wrote it → what the operator works with."""

import pytest

from laneway.errors import ConfigurationError
from laneway.scaling.model import Consume, Fallback, Mode
from laneway.scaling.signals import Workers
from laneway_operator.resource import SecretKey, plan_of, seconds
from laneway_operator.settings import Settings
from tests.operator.fakes import pool


@pytest.mark.parametrize(
    ("text", "expected"), [("500ms", 0.5), ("5s", 5), ("1m30s", 90), ("1h", 3600), ("1h1m1s1ms", 3661.001)]
)
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected)


def test_everything_that_a_spec_says_is_heeded() -> None:
    plan = plan_of(
        pool(
            source="Celery",
            broker={
                "secretRef": {"name": "valkey", "key": "uri"},
                "caSecretRef": {"name": "ca"},
                "keyPrefix": "shop:",
                "prioritySteps": [0, 5],
                "separator": ":",
                "unackedKey": "taken",
                "unackedIndexKey": "taken-index",
            },
            queues=[{"name": "mail"}, {"name": "bulk"}],
            objective={"waiting": "2s", "percentile": 99},
            initial={"slotsPerPod": 4, "serviceTime": "250ms", "startTime": "8s"},
            minReplicas=1,
            maxReplicas=20,
            fallback={"replicas": 3},
            scaleDown={"lookback": "2m", "drainWithin": "1h"},
            mode="PausedIn",
            consume="Paused",
        )
    )
    assert plan.broker == SecretKey("valkey", "uri")
    assert plan.authority == SecretKey("ca", "ca.crt")
    assert plan.workers is Workers.CELERY
    layout, intent = plan.layout, plan.intent
    assert (layout.global_keyprefix, layout.priority_steps, layout.separator) == ("shop:", (0, 5), ":")
    assert (layout.unacked_key, layout.unacked_index_key) == ("taken", "taken-index")
    assert intent.queues == ("mail", "bulk")
    assert (intent.objective.seconds, intent.objective.percentile) == (2, 0.99)
    assert (intent.slots, intent.service_seconds, intent.startup_seconds) == (4, 0.25, 8)
    assert (intent.minimum, intent.maximum, intent.fallback) == (1, 20, Fallback(replicas=3, after_failures=3))
    assert (intent.memory_seconds, intent.grace_seconds) == (120, 3600)
    assert (intent.mode, intent.consume) == (Mode.PAUSED_IN, Consume.PAUSED)


def test_a_window_of_an_unknown_time_zone_is_named() -> None:
    window = {"name": "day", "start": "0 8 * * *", "end": "0 18 * * *", "timeZone": "Atlantis/Lost", "minReplicas": 1}
    with pytest.raises(ConfigurationError, match=r"'day'.*Atlantis/Lost"):
        plan_of(pool(schedule=[window]))


def test_settings_are_read_and_a_mistake_is_named() -> None:
    settings = Settings.load({"LANEWAY_OPERATOR_NAMESPACES": "a, b", "LANEWAY_OPERATOR_INTERVAL": "0.5", "PATH": "/"})
    assert (settings.namespaces, settings.interval) == (("a", "b"), 0.5)
    with pytest.raises(ConfigurationError, match="LANEWAY_OPERATOR_INTERVALL is not a setting"):
        Settings.load({"LANEWAY_OPERATOR_INTERVALL": "1"})
    with pytest.raises(ConfigurationError, match=r"'soon'; it is a number from 0\.2 to 60"):
        Settings.load({"LANEWAY_OPERATOR_INTERVAL": "soon"})
    with pytest.raises(ConfigurationError, match="one of text, json"):
        Settings.load({"LANEWAY_OPERATOR_LOG_FORMAT": "xml"})
