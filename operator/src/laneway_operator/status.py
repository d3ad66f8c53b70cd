"""What is said of a pool in its status. Pure: an outcome in, the status's fields out.

Numbers are rounded, so that a pool where nothing happens is not written, and one where much does not at every count.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from laneway.scaling.model import Decision, Fact, Memory, Mode, Reading, Unknown
from laneway_operator.resource import Plan, Resource
from laneway_operator.watch import Deployment

METRICS, OBJECTIVE, SCALING = "MetricsAvailable", "ObjectiveAttainable", "ScalingActive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One look at a pool: what was seen of it, and what was decided.

    `refused` is why nothing may be done about it, `failed` why what was decided could not be done, and `shared` whose
    its queues are too.
    """

    resource: Resource
    plan: Plan | None = None
    deployment: Deployment | None = None
    reading: Reading | Unknown | None = None
    decision: Decision | None = None
    memory: Memory | None = None
    refused: Fact | None = None
    failed: Fact | None = None
    shared: Fact | None = None
    scaled_to: int | None = None
    at: float = 0.0

    @property
    def conditions(self) -> Mapping[str, Fact]:
        """The three conditions by type."""
        if self.decision is not None:
            active = self.decision.scaling_active
            return {
                METRICS: self.decision.metrics_available,
                OBJECTIVE: self.decision.objective_attainable,
                SCALING: self.refused or self.failed or (active.holds and self.shared) or active,
            }
        unknown = Fact(holds=None, reason="NotLooked", message="Nothing is decided; see ScalingActive.")
        refused = self.refused or Fact(holds=None, reason="NotYet", message="The operator has not looked yet.")
        return {METRICS: unknown, OBJECTIVE: unknown, SCALING: refused}

    @property
    def dry(self) -> bool:
        """Whether the decision is only said."""
        return self.plan is not None and self.plan.intent.mode is Mode.DRY_RUN


def status_of(outcome: Outcome) -> dict[str, Any]:
    """The status of a pool; what is not known is left out."""
    resource = outcome.resource
    status = {
        "observedGeneration": resource.generation,
        "queue": ",".join(queue["name"] for queue in resource.spec["queues"]),
        **_deployment(outcome.deployment),
        **_reading(outcome.reading),
        **_decision(outcome),
        "conditions": _conditions(outcome),
    }
    if outcome.scaled_to is not None and outcome.deployment is not None and outcome.decision is not None:
        status["lastScale"] = {
            "at": _stamp(outcome.at),
            "from": outcome.deployment.replicas,
            "to": outcome.scaled_to,
            "reason": outcome.decision.reason.value,
        }
    elif "lastScale" in resource.status:
        status["lastScale"] = resource.status["lastScale"]
    return {name: value for name, value in status.items() if value is not None}


def _deployment(deployment: Deployment | None) -> Mapping[str, Any]:
    if deployment is None:
        return {}
    return {"selector": deployment.selector, "replicas": deployment.replicas, "readyReplicas": deployment.ready}


def _reading(reading: Reading | Unknown | None) -> Mapping[str, Any]:
    if not isinstance(reading, Reading):
        return {"objectiveMet": "Unknown", "accuracy": "Unknown"}
    draining = sorted(worker.pod for worker in reading.workers if worker.pod in reading.drained)
    return {
        "accuracy": "Basic" if reading.basic else "Full",
        "waiting": rounded(reading.waiting),
        "oldestSeconds": rounded(reading.oldest_seconds),
        "running": rounded(reading.held if reading.basic else reading.active),
        "reserved": rounded(reading.reserved),
        "parked": rounded(reading.parked),
        "oldestParkedSeconds": rounded(reading.oldest_parked_seconds),
        "draining": draining or None,
        "ignoringDrain": sorted(each.pod for each in reading.workers if each.pod in draining and not each.draining)
        or None,
    }


def _decision(outcome: Outcome) -> Mapping[str, Any]:
    decision = outcome.decision
    if decision is None:
        return {"reason": outcome.conditions[SCALING].reason}
    figures = decision.figures
    return {
        "desiredReplicas": decision.desired,
        "reason": decision.reason.value,
        "objectiveMet": _truth(decision.objective_met),
        "warmMinimum": figures.warm_minimum,
        "ignoringDrain": sorted(decision.overdue) or None,
        "learned": _learned(outcome.memory),
    }


def _learned(memory: Memory | None) -> Mapping[str, Any] | None:
    """What another operator may begin with."""
    if memory is None:
        return None
    learned = {
        "serviceSeconds": memory.service_seconds and f"{_significant(memory.service_seconds):g}",
        "startSeconds": memory.startup_seconds and f"{_significant(memory.startup_seconds):g}",
        "slotsPerPod": memory.slots,
    }
    return {name: value for name, value in learned.items() if value} or None


def _conditions(outcome: Outcome) -> list[dict[str, Any]]:
    before = {each["type"]: each for each in outcome.resource.status.get("conditions", ())}
    return [_condition(name, fact, before.get(name), outcome) for name, fact in outcome.conditions.items()]


def _condition(name: str, fact: Fact, before: Mapping[str, Any] | None, outcome: Outcome) -> dict[str, Any]:
    status = _truth(fact.holds)
    generation = outcome.resource.generation
    same = before is not None and before["status"] == status
    message = fact.message
    if same and before and (before["reason"], before.get("observedGeneration")) == (fact.reason, generation):
        message = before["message"]  # its numbers are those of the moment at which it came to be so
    return {
        "type": name,
        "status": status,
        "reason": fact.reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": before["lastTransitionTime"] if same and before else _stamp(outcome.at),
    }


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Mapping[str, Any]:
    """The merge patch that makes one status of another; empty when they are the same."""
    patch = {name: value for name, value in after.items() if before.get(name) != value}
    return {**patch, **dict.fromkeys(before.keys() - after.keys())}


NUMBERS = frozenset(
    {
        "waiting",
        "oldestSeconds",
        "running",
        "reserved",
        "learned",
        "oldestParkedSeconds",
        "readyReplicas",
        "warmMinimum",
    }
)
"""Fields that may wait a little: they change all the time while there is work."""


def urgent(patch: Mapping[str, Any]) -> bool:
    """Whether a change is worth a write at once."""
    return not patch.keys() <= NUMBERS


def rounded(value: float | None) -> int | None:
    """A number in whole units, of two significant digits from 100 on."""
    return None if value is None else round(_significant(value) if value >= 100 else value)


def _significant(value: float) -> float:
    if value <= 0 or not math.isfinite(value):
        return 0.0
    return round(value, 1 - math.floor(math.log10(value)))


def _truth(holds: bool | None) -> str:
    return "Unknown" if holds is None else str(holds)


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
