"""How many pods a pool needs, and what to do about it. Pure: the same arguments give the same decision."""

import math
from dataclasses import dataclass, replace

from laneway.scaling import brake, facts, schedule
from laneway.scaling.learning import arrival_rate, doubted, learn, oldest_seconds
from laneway.scaling.model import (
    Consume,
    Decision,
    Figures,
    Intent,
    Memory,
    Mode,
    Need,
    Observation,
    Reading,
    Reason,
    Unknown,
)
from laneway.scaling.onset import AGAIN, onset
from laneway.scaling.scale_in import Plan, plan_scale_in
from laneway.scaling.staffing import Backlog, backlog_pods, steady_servers

SATURATED = 0.8
"""Share of the slots that must be busy, with more waiting, for throughput to say something about the pods."""


def decide(intent: Intent, observation: Observation, memory: Memory, now: float) -> tuple[Decision, Memory]:
    """Decide about one pool, about once a second; pass the memory on to the next decision."""
    minimum, maximum = schedule.limits(intent, now)
    if isinstance(observation.reading, Unknown):
        return _hold(intent, observation, observation.reading, memory, minimum, maximum)
    reading, before = observation.reading, memory
    memory = learn(intent, observation, reading, memory, now)
    figures = _figures(intent, observation, reading, memory, minimum, maximum, now)
    memory = _remember(intent, reading, memory, figures, now)
    goal = _goal(intent, observation, reading, memory, figures, now)
    if observation.replicas == 0 and 0 < goal.desired < maximum and (coming := onset(reading, before, now)):
        decision = _decision(intent, observation, reading, figures, goal, Plan(replicas=0, draining_since={}))
        return replace(decision, replicas=0, look_again=AGAIN), replace(before, onset=coming)
    plan = plan_scale_in(
        intent,
        observation,
        reading,
        memory.draining_since,
        goal.desired,
        now,
        worked=memory.started,
        allowed=goal.may_scale_in,
    )
    asked_at = now if goal.desired > observation.replicas else memory.asked_at
    memory = replace(memory, draining_since=plan.draining_since, asked_at=asked_at, onset=None)
    return _decision(intent, observation, reading, figures, goal, plan), memory


@dataclass(frozen=True, slots=True)
class Goal:
    """What the pool should come to, and why."""

    desired: int
    reason: Reason
    cause: str
    may_scale_in: bool = True


def _hold(
    intent: Intent, observation: Observation, unknown: Unknown, memory: Memory, minimum: int, maximum: int
) -> tuple[Decision, Memory]:
    """Without knowledge nothing scales in; the floor and the fallback may still raise it."""
    failures = memory.failures + 1
    desired, reason = observation.replicas, Reason.UNKNOWN
    said = f"{unknown.reason} Unknown is not zero: the {observation.replicas} replicas stay."
    fallback = intent.fallback
    if fallback is not None and failures >= fallback.after_failures and fallback.replicas > desired:
        desired, reason = max(desired, min(fallback.replicas, maximum)), Reason.FALLBACK
        said = f"{unknown.reason} After {failures} failures in a row the fallback of {desired} replicas holds."
    desired = max(desired, minimum)
    if intent.mode in (Mode.PAUSED, Mode.PAUSED_OUT):
        desired = observation.replicas
    decision = Decision(
        replicas=desired,
        desired=desired,
        reason=reason,
        message=said,
        figures=Figures(minimum=minimum, maximum=maximum),
        metrics_available=facts.unavailable(unknown),
        objective_attainable=facts.unknown_objective(),
        scaling_active=facts.scaling_active(intent, reason, said),
    )
    return decision, replace(memory, failures=failures)


def _figures(
    intent: Intent, observation: Observation, reading: Reading, memory: Memory, minimum: int, maximum: int, now: float
) -> Figures:
    rates = {name: arrival_rate(traffic) for name, traffic in memory.traffic.items()}
    rate = sum(rates.values())
    service = _mean_service(intent, memory, rates)
    slots = memory.slots or intent.slots
    startup = intent.startup_seconds if memory.startup_seconds is None else memory.startup_seconds
    oldest = oldest_seconds(reading, memory)
    steady = cautious = backlog = 0
    if intent.consume is Consume.RUNNING:
        steady = _steady_pods(intent, rate, service, slots, maximum)
        cautious = _steady_pods(intent, doubted(rate), service, slots, maximum)
        if reading.waiting:
            backlog = max(1, backlog_pods(_backlog(intent, observation, reading, memory, rate, slots, startup, now)))
    return Figures(
        waiting=reading.waiting,
        held=reading.held,
        oldest_seconds=oldest,
        arrival_rate=rate,
        completion_rate=memory.completion_rate,
        service_seconds=service,
        startup_seconds=startup,
        slots=slots,
        need_steady=steady,
        need_backlog=backlog,
        need=max(steady, backlog, 1 if reading.held or reading.orphans else 0),
        need_cautious=max(cautious, backlog),
        warm_minimum=facts.warm_minimum(intent, startup, steady),
        minimum=minimum,
        maximum=maximum,
    )


def _steady_pods(intent: Intent, rate: float, service: float, slots: int, maximum: int) -> int:
    servers = steady_servers(
        rate,
        service,
        within=intent.objective.seconds,
        percentile=intent.objective.percentile,
        at_most=(maximum + 1) * slots,
    )
    return math.ceil(servers / slots)


def _mean_service(intent: Intent, memory: Memory, weights: dict[str, float]) -> float:
    """Seconds a message takes, of the queues in proportion to what is in or comes into them."""
    known = memory.service_seconds or intent.service_seconds
    total = sum(weights.values())
    if total <= 0:
        return known
    return sum(weight * (memory.traffic[name].service_seconds or known) for name, weight in weights.items()) / total


def _backlog(
    intent: Intent,
    observation: Observation,
    reading: Reading,
    memory: Memory,
    rate: float,
    slots: int,
    startup: float,
    now: float,
) -> Backlog:
    working = {worker.pod for worker in reading.workers}  # one that drains consumes again when more are wanted
    if reading.basic:
        working = {pod.name for pod in observation.pods if pod.ready}
    there = {pod.name for pod in observation.pods}
    starting = [
        max(0.0, pod.created_at + startup - now)
        for pod in observation.pods
        if pod.name not in working and pod.name not in reading.drained
    ]
    asked_at = now if memory.asked_at is None else memory.asked_at
    starting += [max(0.0, asked_at + startup - now)] * max(0, observation.replicas - len(there))
    return Backlog(
        waiting=reading.waiting,
        active=min(reading.held, len(working) * slots),
        rate=rate,
        service=_mean_service(intent, memory, {queue.name: float(queue.waiting) for queue in reading.queues}),
        slots=slots,
        consuming=len(working),
        starting=starting,
        startup=startup,
        left=intent.objective.seconds - (oldest_seconds(reading, memory) or 0.0),
        objective=intent.objective.seconds,
    )


def _remember(intent: Intent, reading: Reading, memory: Memory, figures: Figures, now: float) -> Memory:
    """Keep the needs of the recent past, and look whether more pods were of use."""
    horizon = now - intent.memory_seconds
    kept = [need for need in memory.needs if need.at >= horizon]
    need = max(figures.need, figures.need_cautious)
    while kept and kept[-1].pods <= need:  # smaller ones that end earlier will never be the largest
        kept.pop()
    working = [worker for worker in reading.workers if not worker.draining]
    slots = sum(worker.slots for worker in working)
    return replace(
        memory,
        needs=(*kept, Need(at=now, pods=need)),
        brake=brake.observe(
            memory.brake,
            pods=len(working),
            saturated=reading.waiting > slots and reading.active >= SATURATED * slots,
            finished=memory.finished,
            service=figures.service_seconds,
            now=now,
        ),
    )


def _goal(
    intent: Intent, observation: Observation, reading: Reading, memory: Memory, figures: Figures, now: float
) -> Goal:
    current = observation.replicas
    goal = _bounded(current, figures, memory)
    if goal.desired > current:
        goal = _may_grow(intent, reading, memory, current, goal)
    elif goal.desired < current:
        goal = _may_shrink(intent, observation, memory, current, goal, now)
    if intent.mode is Mode.PAUSED:
        return Goal(current, Reason.PAUSED, "The pool is Paused: nothing is scaled.", may_scale_in=False)
    return goal


def _bounded(current: int, figures: Figures, memory: Memory) -> Goal:
    """The need of now, or of the recent past where there are more pods than now needs; within the limits."""
    need = figures.need
    remembered = max(each.pods for each in memory.needs)
    wanted = max(need, min(current, remembered))
    if wanted > figures.maximum:
        return Goal(figures.maximum, Reason.CEILING, f"{wanted} are needed, the maximum is {figures.maximum}.")
    if wanted < figures.minimum:
        return Goal(figures.minimum, Reason.FLOOR, f"{wanted} are needed, the minimum is {figures.minimum}.")
    if wanted > current:
        return Goal(wanted, Reason.SCALE_OUT if current else Reason.FROM_ZERO, "")
    if wanted > need:
        return Goal(wanted, Reason.REMEMBERED, f"{need} are needed now, the recent past needed {remembered}.")
    return Goal(wanted, Reason.STEADY if wanted == current else Reason.SCALE_IN, "")


def _may_grow(intent: Intent, reading: Reading, memory: Memory, current: int, goal: Goal) -> Goal:
    if intent.mode is Mode.PAUSED_OUT:
        return Goal(current, Reason.PAUSED, f"{goal.desired} are wanted, but the pool is PausedOut.")
    if goal.reason is Reason.FLOOR or current == 0:
        return goal
    broken = sum(worker.breakers_open > 0 for worker in reading.workers)
    if broken and 2 * broken >= len(reading.workers):
        said = f"{goal.desired} are wanted, but the breakers of {broken} of {len(reading.workers)} workers are open."
        return Goal(current, Reason.BREAKERS_OPEN, said)
    if memory.brake.cause:
        return Goal(current, Reason.INEFFECTIVE, f"{goal.desired} are wanted, but {memory.brake.cause}")
    return goal


def _may_shrink(intent: Intent, observation: Observation, memory: Memory, current: int, goal: Goal, now: float) -> Goal:
    if intent.mode is Mode.PAUSED_IN:
        said = f"{goal.desired} would do, but the pool is PausedIn."
        return Goal(current, Reason.PAUSED, said, may_scale_in=False)
    if observation.stale:
        said = f"{goal.desired} would do; nothing scales in while the cluster does not answer."
        return Goal(current, Reason.STALE, said, may_scale_in=False)
    if observation.rollout:
        said = f"{goal.desired} would do; nothing scales in during a rollout."
        return Goal(current, Reason.ROLLOUT, said, may_scale_in=False)
    young = memory.since is None or now - memory.since < intent.memory_seconds
    if young and goal.reason is not Reason.CEILING:
        said = f"{goal.desired} would do; the past is not known for {intent.memory_seconds:g} s yet."
        return Goal(current, Reason.REMEMBERED, said, may_scale_in=False)
    return goal


def _decision(
    intent: Intent,
    observation: Observation,
    reading: Reading,
    figures: Figures,
    goal: Goal,
    plan: Plan,
) -> Decision:
    current = observation.replicas
    replicas = goal.desired if goal.desired > current else plan.replicas
    reason, cause = goal.reason, goal.cause
    if goal.desired < current and reason in (Reason.SCALE_IN, Reason.REMEMBERED, Reason.CEILING, Reason.FLOOR):
        reason = Reason.SCALE_IN if replicas < current else Reason.DRAINING
        reason = Reason.OVERDUE if plan.overdue else reason
    elif reading.orphans and not reading.waiting and goal.desired <= 1:
        reason = Reason.ORPHANS
        cause = f"{reading.orphans} messages of workers that are gone come back only through a living one."
    message = facts.sentence(current, goal.desired, figures, plan, cause)
    return Decision(
        replicas=replicas,
        desired=goal.desired,
        reason=reason,
        message=message,
        figures=figures,
        drain=plan.drain,
        undrain=plan.undrain,
        remove=plan.remove,
        overdue=plan.overdue,
        objective_met=facts.objective_met(intent, figures),
        metrics_available=facts.available(reading),
        objective_attainable=facts.objective_attainable(intent, figures),
        scaling_active=facts.scaling_active(intent, reason, message),
    )
