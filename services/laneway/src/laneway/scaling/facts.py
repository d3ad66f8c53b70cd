"""What is said about a decision: the conditions of a pool's status, and the sentence with the numbers. Pure."""

from laneway.scaling.model import Consume, Fact, Figures, Intent, Mode, Reading, Reason, Unknown
from laneway.scaling.scale_in import Plan

NOTICED_WITHIN = 1.5
"""Seconds from the first message of an idle pool until a pod has been asked for."""


def warm_minimum(intent: Intent, startup: float, steady: int) -> int:
    """The fewest pods that must always be there for the objective; 0 where a pool can start from nothing in time."""
    if startup + NOTICED_WITHIN <= intent.objective.seconds:
        return 0
    return max(1, steady)


def objective_attainable(intent: Intent, figures: Figures) -> Fact:
    """Whether the objective can be met within the limits."""
    seconds = intent.objective.seconds
    if figures.need > figures.maximum:
        said = (
            f"{figures.need} pods are needed to start messages within {seconds:g} s; the maximum is {figures.maximum}."
        )
        return Fact(holds=False, reason="MaximumTooLow", message=said)
    if figures.warm_minimum > figures.minimum:
        said = (
            f"A new pod works after {figures.startup_seconds:.1f} s, and messages are to start within {seconds:g} s: "
            f"set the minimum to {figures.warm_minimum} (it is {figures.minimum})."
        )
        return Fact(holds=False, reason="StartsTooSlowly", message=said)
    return Fact(holds=True, reason="Attainable", message=f"Messages can start within {seconds:g} s.")


def unknown_objective() -> Fact:
    """The objective while nothing is known."""
    return Fact(holds=None, reason="MetricsUnknown", message="Not known without the broker's figures.")


def objective_met(intent: Intent, figures: Figures) -> bool | None:
    """Whether what waits now waits within the objective; None if nobody can tell."""
    if figures.waiting == 0:
        return True
    return None if figures.oldest_seconds is None else figures.oldest_seconds <= intent.objective.seconds


def available(reading: Reading) -> Fact:
    """That the broker answers, and how much it tells."""
    if reading.basic:
        said = (
            "The workers do not report (app.steps['worker'].add(laneway.CapacityReport)): what runs is taken from "
            "`unacked`, service times from how long messages stay there; scale-in cannot drain a pod first, and nobody "
            "heeds a pause."
        )
        return Fact(holds=True, reason="BasicMode", message=said)
    return Fact(holds=True, reason="Reporting", message=f"{len(reading.workers)} workers report.")


def unavailable(unknown: Unknown) -> Fact:
    """That the broker does not answer."""
    return Fact(holds=False, reason="MetricsUnknown", message=unknown.reason)


def scaling_active(intent: Intent, reason: Reason, message: str) -> Fact:
    """Whether decisions are applied."""
    if intent.mode is not Mode.ACTIVE:
        return Fact(holds=False, reason=intent.mode.value, message=f"spec.mode is {intent.mode.value}.")
    if reason in (Reason.UNKNOWN, Reason.STALE, Reason.INEFFECTIVE, Reason.BREAKERS_OPEN):
        return Fact(holds=False, reason=reason.value, message=message)
    if intent.consume is Consume.PAUSED:
        return Fact(holds=True, reason="ConsumePaused", message="Consumption is paused: what waits asks for no pods.")
    return Fact(holds=True, reason="Active", message="Decisions are applied.")


def sentence(current: int, desired: int, figures: Figures, plan: Plan, cause: str) -> str:
    """What is wanted and from which numbers."""
    oldest = "" if figures.oldest_seconds is None else f" (oldest {figures.oldest_seconds:.1f} s)"
    numbers = (
        f"{figures.waiting} waiting{oldest}, {figures.held} taken, {figures.arrival_rate:.3g}/s arrive, "
        f"{figures.service_seconds:.3g} s each, {figures.slots} slots a pod, start-up {figures.startup_seconds:.1f} s"
    )
    change = f"{current} replicas" if current == desired else f"{current} → {desired} replicas"
    parts = [f"{change}: {numbers}; steady state {figures.need_steady}, backlog {figures.need_backlog}."]
    if cause:
        parts.append(cause)
    waiting = [name for name in plan.draining_since if name not in plan.remove]
    if waiting:
        parts.append(f"Draining: {', '.join(waiting)}.")
    if plan.overdue:
        parts.append(f"Told to drain and still busy after the grace: {', '.join(plan.overdue)}; nobody kills them.")
    return " ".join(parts)
