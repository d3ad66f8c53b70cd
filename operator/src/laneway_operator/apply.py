"""Decisions carried out on a Deployment and on its workers, so that no task is harmed.

The way of a pod that may go: it is told to stop consuming (the drain set); when it holds nothing, it gets the lowest
deletion cost; when the watch shows the cost and a fresh look still finds it idle, the scale is patched. Until that
patch everything can be undone. The patch names the Deployment's version that the decision was made on, so that one
made on an old look is refused.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from laneway.errors import Aborted, NotFound
from laneway.scaling.model import Consume, Decision, Mode, Reading
from laneway.scaling.signals import Signals, Source
from laneway_operator.kube import Kube
from laneway_operator.resource import Key, Resource
from laneway_operator.watch import Cluster, Deployment, PodState

log = logging.getLogger(__name__)

FIRST_TO_GO = -1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One pool's decision and what it was made on; `signals` is None where nobody knows the broker's address."""

    resource: Resource
    deployment: Deployment
    pods: Sequence[PodState]
    reading: Reading | None
    source: Source
    signals: Signals | None
    decision: Decision
    mode: Mode
    consume: Consume


class Applier:
    """Carries out decisions."""

    def __init__(self, kube: Kube, cluster: Cluster) -> None:
        self._kube = kube
        self._cluster = cluster

    def idle(self, task: Task) -> bool:
        """Whether there is nothing to do, which is so most of the time."""
        decision = task.decision
        if task.mode is Mode.DRY_RUN:
            return True
        steps = decision.drain or decision.undrain or decision.remove
        return not steps and decision.replicas == task.deployment.replicas and self._consumes_as_wanted(task)

    async def apply(self, task: Task) -> int | None:
        """Do what was decided; the replicas that the Deployment was told to have, if it was.

        Raises:
            LanewayError: the broker or the API server does not answer. The next look decides again.
        """
        if task.mode is Mode.DRY_RUN:
            return None
        await self._consume(task)
        await self._drain(task)
        return await self._scale(task, await self._replicas(task))

    async def _consume(self, task: Task) -> None:
        """Pause or resume the queues that are not as the pool wants them."""
        if task.signals is not None and not self._consumes_as_wanted(task):
            paused = task.consume is Consume.PAUSED
            await (task.signals.pause(task.source) if paused else task.signals.resume(task.source))

    def _consumes_as_wanted(self, task: Task) -> bool:
        paused = task.consume is Consume.PAUSED
        return task.reading is None or all(queue.paused == paused for queue in task.reading.queues)

    async def _drain(self, task: Task) -> None:
        decision = task.decision
        if task.signals is None:
            return
        marked = {pod.name for pod in task.pods if pod.cost == FIRST_TO_GO}.intersection(decision.undrain)
        if unmarked := [pod for pod in decision.undrain if pod not in marked]:
            await task.signals.undrain(task.source, unmarked)
        if marked:  # a patch without an answer may still delete them: they consume when their mark is surely gone
            for pod in sorted(marked):
                await self._set_cost(task, pod, None)
            await task.signals.undrain(task.source, sorted(marked))
        if decision.drain:
            await task.signals.drain(task.source, decision.drain)

    async def _replicas(self, task: Task) -> int:
        """How many replicas may be asked for now: fewer only by pods that are seen to have the lowest cost."""
        decision = task.decision
        if not decision.remove:
            return decision.replicas
        costs = {pod.name: pod.cost for pod in task.pods}
        unmarked = [pod for pod in decision.remove if costs.get(pod) != FIRST_TO_GO]
        for pod in unmarked:
            await self._set_cost(task, pod, FIRST_TO_GO)
        if self._another_would_go(task):
            return task.deployment.replicas
        return max(decision.replicas, task.deployment.replicas - (len(decision.remove) - len(unmarked)))

    def _another_would_go(self, task: Task) -> bool:
        """Whether a pod that holds messages ranks before those that may go: one that is not ready does."""
        held = {worker.pod: worker.held for worker in task.reading.workers} if task.reading else {}
        return any(not pod.ready and held.get(pod.name) and pod.name not in task.decision.remove for pod in task.pods)

    async def _set_cost(self, task: Task, pod: str, cost: int | None) -> None:
        try:
            await self._kube.set_deletion_cost(task.resource.namespace, pod, cost)
        except NotFound:
            self._cluster.forget(task.resource.target, pod)

    async def _scale(self, task: Task, replicas: int) -> int | None:
        deployment, (namespace, name) = task.deployment, task.resource.target
        if replicas == deployment.replicas:
            return None
        try:
            await self._kube.scale(namespace, name, replicas, version=deployment.version)
        except Aborted:
            log.info("the Deployment has changed; looking again", extra=_facts(task.resource.key))
            return None
        except NotFound:
            self._cluster.forget(task.resource.target, deployment.version)
            return None
        return replicas


def _facts(key: Key) -> Mapping[str, str]:
    return {"namespace": key[0], "pool": key[1]}
