"""A WorkerPool as its author wrote it → what the operator works with. Knows the CRD's fields, and nothing of a cluster.

The API server has checked every object against the CRD; what it cannot check (a cron's fields, a time zone's name) is
found here and told in the object's status.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from laneway.errors import ConfigurationError
from laneway.scaling import schedule
from laneway.scaling.model import Consume, Fallback, Intent, Mode, Objective, Window
from laneway.scaling.signals import Layout, Workers

GROUP, VERSION, PLURAL, KIND = "laneway.dev", "v1alpha1", "workerpools", "WorkerPool"

Key = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class SecretKey:
    """One value of a secret in the pool's namespace."""

    name: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A WorkerPool as the API server has it; `spec` and `status` are never changed."""

    namespace: str
    name: str
    uid: str
    generation: int
    created: str
    spec: Mapping[str, Any]
    status: Mapping[str, Any]

    @property
    def key(self) -> Key:
        return self.namespace, self.name

    @property
    def target(self) -> Key:
        """The Deployment."""
        return self.namespace, self.spec["target"]["name"]

    @property
    def label(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a WorkerPool's spec asks for."""

    broker: SecretKey
    authority: SecretKey | None
    workers: Workers
    layout: Layout
    intent: Intent


def plan_of(resource: Resource) -> Plan:
    """Read a spec.

    Raises:
        ConfigurationError: a window's cron or time zone means nothing.
    """
    spec, broker = resource.spec, resource.spec["broker"]
    authority = broker.get("caSecretRef")
    return Plan(
        broker=SecretKey(broker["secretRef"]["name"], broker["secretRef"].get("key", "url")),
        authority=SecretKey(authority["name"], authority.get("key", "ca.crt")) if authority else None,
        workers=Workers(spec.get("source", "Celery")),
        layout=_layout(broker),
        intent=_intent(resource),
    )


def _layout(broker: Mapping[str, Any]) -> Layout:
    default = Layout()
    return Layout(
        global_keyprefix=broker.get("keyPrefix", default.global_keyprefix),
        priority_steps=tuple(broker.get("prioritySteps", default.priority_steps)),
        separator=broker.get("separator", default.separator),
        unacked_key=broker.get("unackedKey", default.unacked_key),
        unacked_index_key=broker.get("unackedIndexKey", default.unacked_index_key),
    )


def _intent(resource: Resource) -> Intent:
    spec, default = resource.spec, Intent(queues=())
    initial, down, fallback = spec.get("initial", {}), spec.get("scaleDown", {}), spec.get("fallback")
    return Intent(
        queues=tuple(queue["name"] for queue in spec["queues"]),
        objective=Objective(
            seconds=seconds(spec["objective"]["waiting"]), percentile=spec["objective"].get("percentile", 95) / 100
        ),
        minimum=spec.get("minReplicas", 0),
        maximum=spec["maxReplicas"],
        windows=tuple(_window(window) for window in spec.get("schedule", ())),
        fallback=Fallback(replicas=fallback["replicas"], after_failures=fallback.get("afterFailures", 3))
        if fallback
        else None,
        memory_seconds=seconds(down.get("lookback", "60s")),
        grace_seconds=seconds(down.get("drainWithin", "10m")),
        mode=Mode(spec.get("mode", Mode.ACTIVE)),
        consume=Consume.PAUSED if spec.get("consume") == "Paused" else Consume.RUNNING,
        slots=initial.get("slotsPerPod", default.slots),
        service_seconds=seconds(initial.get("serviceTime", "1s")),
        startup_seconds=seconds(initial.get("startTime", "5s")),
    )


def _window(spec: Mapping[str, Any]) -> Window:
    window = Window(
        start=spec["start"],
        end=spec["end"],
        timezone=spec.get("timeZone", "UTC"),
        minimum=spec.get("minReplicas"),
        maximum=spec.get("maxReplicas"),
    )
    try:
        schedule.check(window)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"The window {spec['name']!r} of the schedule means nothing: {error.message}"
        ) from None
    return window


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(duration: str) -> float:
    """The seconds of a duration as the CRD allows it: `500ms`, `1m30s`."""
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9]+)(ms|s|m|h)", duration))
