"""Scale-in without harm: who is told to drain, who may consume again, who may go. Pure."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from laneway.scaling.model import Intent, Observation, Pod, Reading, WorkerReading


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """See `Decision`, whose fields these become."""

    replicas: int
    drain: tuple[str, ...] = ()
    undrain: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    overdue: tuple[str, ...] = ()
    draining_since: Mapping[str, float]


def plan_scale_in(
    intent: Intent,
    observation: Observation,
    reading: Reading,
    memory_of_drains: Mapping[str, float],
    desired: int,
    now: float,
    *,
    worked: Set[str],
    allowed: bool,
) -> Plan:
    """How to come down to `desired` from what there is, a step nearer each time it is asked.

    `worked` are the pods that have ever reported.

    Pods that were told to drain are taken back first when more are wanted. Those that hold nothing go. Pods that do not
    exist yet, or have never worked, go without being waited for; the latter are told to drain all the same: a process
    that begins does not hear SIGTERM, and would work until it is killed.
    """
    pods = {pod.name: pod for pod in observation.pods}
    gone = reading.drained - pods.keys()
    surplus = max(0, observation.replicas - desired)
    if not surplus or not allowed:
        return Plan(replicas=observation.replicas, undrain=tuple(sorted(reading.drained)), draining_since={})
    if reading.basic:
        return Plan(replicas=desired, undrain=tuple(sorted(reading.drained)), draining_since={})
    workers = {worker.pod: worker for worker in reading.workers if worker.pod in pods}
    idle_by_nature = _never_worked(observation, worked | workers.keys(), reading)
    missing = max(0, observation.replicas - len(pods))
    free = min(surplus, missing)
    going = idle_by_nature[: max(0, surplus - free)]
    able = [name for name in pods if name in workers or (name in reading.drained and name not in idle_by_nature)]
    victims = _victims([pods[name] for name in able], workers, reading, surplus - free - len(going))
    drained = [name for name in victims if _may_go(workers.get(name), reading)]
    since = {name: memory_of_drains.get(name, now) for name in victims}
    return Plan(
        replicas=observation.replicas - free - len(going) - len(drained),
        drain=tuple(name for name in (*going, *victims) if name not in reading.drained),
        undrain=tuple(sorted(gone | (reading.drained - set(victims) - set(going)))),
        remove=(*going, *drained),
        overdue=tuple(name for name in victims if name not in drained and now - since[name] > intent.grace_seconds),
        draining_since=since,
    )


def _never_worked(observation: Observation, worked: Set[str], reading: Reading) -> list[str]:
    """Pods that are not ready and have never reported: those that drain already, then the newest first."""
    pods = [pod for pod in observation.pods if not (pod.ready or pod.fixed or pod.name in worked)]
    return [pod.name for pod in sorted(pods, key=lambda pod: (pod.name not in reading.drained, -pod.created_at))]


def _victims(pods: Iterable[Pod], workers: Mapping[str, WorkerReading], reading: Reading, number: int) -> list[str]:
    """Whom to drain: those who drain already, the nearest to their end first; then the idlest; then the youngest."""

    def order(pod: Pod) -> tuple[bool, int, float]:
        held = workers[pod.name].held if pod.name in workers else 0
        return pod.name not in reading.drained, held, -pod.created_at

    return [pod.name for pod in sorted((pod for pod in pods if not pod.fixed), key=order)[:number]]


def _may_go(worker: WorkerReading | None, reading: Reading) -> bool:
    """Whether a pod was told to drain, has said that it does, and holds nothing."""
    return worker is not None and worker.pod in reading.drained and worker.draining and worker.held == 0
