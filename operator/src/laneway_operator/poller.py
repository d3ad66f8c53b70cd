"""The one loop: every pool is looked at, decided about and told of, once a second.

Pools of one broker are read in one pipeline. A broker that hangs holds up its own pools and no others: each broker has
a round of its own, and a round that is not done when the next would begin goes on instead of it.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from laneway.errors import ConfigurationError, LanewayError
from laneway.scaling.model import Consume, Decision, Fact, Intent, Memory, Mode, Observation, Pod, Reading, Unknown
from laneway.scaling.onset import AGAIN
from laneway.scaling.signals import Source
from laneway.scaling.sizing import decide
from laneway_operator.apply import Applier, Task
from laneway_operator.brokers import Address, Brokers
from laneway_operator.report import Reporter
from laneway_operator.resource import Key, Plan, Resource, plan_of
from laneway_operator.sharing import Consumers, consumers, pods_of_others, shared
from laneway_operator.status import Outcome
from laneway_operator.watch import Cluster, Deployment, PodState

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Decisions of one broker's pools that are being carried out at a time."""

Decide = Callable[[Intent, Observation, Memory, float], tuple[Decision, Memory]]


class Observer(Protocol):
    """Who counts."""

    def decided(self, outcome: Outcome) -> None:
        """A pool was looked at."""
        ...

    def round_ended(self, seconds: float) -> None:
        """A broker's pools were all decided about."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A pool that may be decided about, and what is known of it before its broker is read.

    One in a dry run may be `refused`: it says what it would do, beside who does it.
    """

    resource: Resource
    plan: Plan
    deployment: Deployment
    pods: Sequence[PodState]
    source: Source
    refused: Fact | None


@dataclass(frozen=True, slots=True)
class _Known:
    """What is kept of a pool between looks."""

    uid: str
    generation: int
    plan: Plan | Fact
    memory: Memory


class Poller:
    """Looks at all pools while `leading` says that this operator decides.

    Nothing scales in while the cluster's API server is not `reachable`.
    """

    def __init__(
        self,
        cluster: Cluster,
        brokers: Brokers,
        applier: Applier,
        reporter: Reporter,
        *,
        leading: Callable[[], bool],
        reachable: Callable[[], bool] = lambda: True,
        observe: Observer,
        decide: Decide = decide,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._cluster = cluster
        self._brokers = brokers
        self._applier = applier
        self._reporter = reporter
        self._leading = leading
        self._reachable = reachable
        self._observe = observe
        self._decide = decide
        self._clock = clock
        self._sleep = sleep
        self._known: dict[Key, _Known] = {}
        self._last: dict[Key, tuple[Source, Address]] = {}
        self._rounds: dict[Address, asyncio.Task[None]] = {}
        self.outcomes: dict[Key, Outcome] = {}
        """The last outcome of each pool, for metrics."""

    async def run(self, interval: float) -> None:
        """Look every `interval` seconds until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        try:
            while True:
                self._start_rounds(await self._jobs())
                due = max(due + interval, loop.time())
                await asyncio.sleep(due - loop.time())
        finally:
            for each in self._rounds.values():
                each.cancel()
            await asyncio.gather(*self._rounds.values(), return_exceptions=True)

    async def look(self) -> None:
        """Look at every pool once."""
        self._start_rounds(await self._jobs())
        await asyncio.gather(*self._rounds.values())

    def _start_rounds(self, jobs: Mapping[Address, Sequence[_Job]]) -> None:
        for address, mine in jobs.items():
            running = self._rounds.get(address)
            if running is not None and running.done():
                running.result()  # a mistake of ours ends the process
                running = None
            if running is None:
                self._rounds[address] = asyncio.create_task(self._round(address, mine))
        for address in [each for each, task in self._rounds.items() if each not in jobs and task.done()]:
            self._rounds.pop(address).result()

    async def _jobs(self) -> Mapping[Address, Sequence[_Job]]:
        """The pools to be looked at, by their broker."""
        if not self._leading():
            self._known.clear()  # another decides; what it learns comes back in the status
            self._last.clear()
            self.outcomes.clear()
            return {}
        resources = sorted(self._cluster.pools(), key=lambda each: (each.created, each.uid))
        await self._let_go({each.key for each in resources})
        owners: dict[Key, Resource] = {}
        jobs: dict[Address, list[_Job]] = defaultdict(list)
        for resource in resources:
            owner = owners.setdefault(resource.target, resource)
            await self._sort(resource, owner, jobs)
        await self._brokers.keep(set(jobs))
        return jobs

    async def _sort(self, resource: Resource, owner: Resource, jobs: dict[Address, list[_Job]]) -> None:
        plan = self._plan(resource)
        deployment = self._cluster.deployment(resource.target)
        refused = plan if isinstance(plan, Fact) else self._refusal(resource, owner, deployment)
        if isinstance(plan, Fact) or deployment is None or (refused and plan.intent.mode is not Mode.DRY_RUN):
            self._tell(Outcome(resource=resource, deployment=deployment, refused=refused, at=self._clock()))
            return
        pods = tuple(sorted(self._cluster.pods(resource.target), key=lambda pod: pod.name))
        source = Source(
            pool=resource.label,
            queues=plan.intent.queues,
            pods=tuple(pod.name for pod in pods),
            workers=plan.workers,
            layout=plan.layout,
        )
        job = _Job(resource=resource, plan=plan, deployment=deployment, pods=pods, source=source, refused=refused)
        try:
            address = await self._brokers.address(resource.namespace, plan)
            self._brokers.signals(address)
        except LanewayError as error:
            decided = self._decide_about(job, Unknown(at=self._clock(), reason=error.message), None)
            if decided is not None:
                await self._carry_out(*decided, asyncio.Semaphore(1))
            return
        self._last[resource.key] = source, address
        jobs[address].append(job)

    def _plan(self, resource: Resource) -> Plan | Fact:
        known = self._known.get(resource.key)
        if known is not None and (known.uid, known.generation) == (resource.uid, resource.generation):
            return known.plan
        plan: Plan | Fact
        try:
            plan = plan_of(resource)
        except ConfigurationError as error:
            plan = Fact(holds=False, reason="Misconfigured", message=error.message)
        memory = known.memory if known is not None and known.uid == resource.uid else _remembered(resource)
        self._known[resource.key] = _Known(resource.uid, resource.generation, plan, memory)
        return plan

    def _refusal(self, resource: Resource, owner: Resource, deployment: Deployment | None) -> Fact | None:
        name = resource.target[1]
        if owner.uid != resource.uid:
            return Fact(
                holds=False,
                reason="ConflictingWorkerPool",
                message=f"The Deployment {name} belongs to the older WorkerPool {owner.name}; delete one of the two.",
            )
        autoscalers = sorted(self._cluster.autoscalers(resource.target))
        if autoscalers:
            return Fact(
                holds=False,
                reason="ConflictingAutoscaler",
                message=f"The HorizontalPodAutoscaler {autoscalers[0]} scales the Deployment {name} too; delete it.",
            )
        if deployment is None:
            return Fact(
                holds=False,
                reason="TargetMissing",
                message=f"There is no Deployment {name} in the namespace {resource.namespace}.",
            )
        return None

    async def _round(self, address: Address, jobs: Sequence[_Job]) -> None:
        """Read one broker and decide about its pools; again about those to which a burst still comes in."""
        known = consumers(job.source for job in jobs)
        begin = time.perf_counter()
        coming = await self._read_and_decide(address, jobs, known)
        self._observe.round_ended(time.perf_counter() - begin)
        while coming:
            await self._sleep(AGAIN)
            coming = await self._read_and_decide(address, coming, known)

    async def _read_and_decide(self, address: Address, jobs: Sequence[_Job], known: Consumers) -> Sequence[_Job]:
        """Those of the jobs that are to be looked at again."""
        readings = await self._brokers.signals(address).read([job.source for job in jobs])
        coming: list[_Job] = []
        async with asyncio.TaskGroup() as group:
            gate = asyncio.Semaphore(AT_ONCE)
            for job in jobs:
                reading = readings[job.source.pool]
                if isinstance(reading, Unknown):
                    self._brokers.doubt(job.resource.namespace, job.plan)
                else:
                    reading = replace(reading, drained=reading.drained - pods_of_others(job.source, known))
                decided = self._decide_about(job, reading, address, shared(job.source, known))
                if decided is None:
                    continue
                task, outcome = decided
                if task.decision.look_again is not None:
                    coming.append(job)
                elif self._applier.idle(task):
                    self._tell(outcome)
                else:
                    group.create_task(self._carry_out(task, outcome, gate))
        return coming

    def _decide_about(
        self, job: _Job, reading: Reading | Unknown, address: Address | None, shared: Fact | None = None
    ) -> tuple[Task, Outcome] | None:
        """Decide; nothing about a pool that is gone, or when another leads."""
        known = self._known.get(job.resource.key)
        if known is None or known.uid != job.resource.uid or not self._leading():
            return None
        now = self._clock()
        observation = _observation(job, reading, stale=not self._reachable())
        decision, memory = self._decide(job.plan.intent, observation, known.memory, now)
        self._known[job.resource.key] = replace(known, memory=memory)
        outcome = Outcome(
            resource=job.resource,
            plan=job.plan,
            deployment=job.deployment,
            reading=reading,
            decision=decision,
            memory=memory,
            refused=job.refused,
            shared=shared,
            at=now,
        )
        return self._task(job, reading, address, decision), outcome

    def _task(self, job: _Job, reading: Reading | Unknown, address: Address | None, decision: Decision) -> Task:
        return Task(
            resource=job.resource,
            deployment=job.deployment,
            pods=job.pods,
            reading=reading if isinstance(reading, Reading) else None,
            source=job.source,
            signals=self._brokers.signals(address) if address is not None else None,
            decision=decision,
            mode=job.plan.intent.mode,
            consume=job.plan.intent.consume,
        )

    async def _carry_out(self, task: Task, outcome: Outcome, gate: asyncio.Semaphore) -> None:
        """What cannot be carried out is told; the next look decides again."""
        try:
            async with gate:
                scaled_to = await self._applier.apply(task)
        except LanewayError as error:
            self._tell(replace(outcome, failed=Fact(holds=False, reason="NotCarriedOut", message=error.message)))
        else:
            self._tell(replace(outcome, scaled_to=scaled_to))

    def _tell(self, outcome: Outcome) -> None:
        self.outcomes[outcome.resource.key] = outcome
        self._observe.decided(outcome)
        self._reporter.tell(outcome)

    async def _let_go(self, present: set[Key]) -> None:
        """A pool that is gone leaves its Deployment as it is, and its pods consuming."""
        for key in self._known.keys() - present:
            del self._known[key]
            gone, last = self.outcomes.pop(key, None), self._last.pop(key, None)
            if gone is not None and last is not None and not gone.dry:
                await self._free(gone, *last)
        self._reporter.forget(present)

    async def _free(self, gone: Outcome, source: Source, address: Address) -> None:
        signals = self._brokers.signals(address)
        drained = gone.reading.drained if isinstance(gone.reading, Reading) else frozenset()
        try:
            await signals.undrain(source, sorted(drained.union(source.pods)))
            if gone.plan is not None and gone.plan.intent.consume is Consume.PAUSED:
                await signals.resume(source)
        except LanewayError as error:
            log.warning("its pods may still be draining", extra={"pool": source.pool, "cause": error.message})


def _remembered(resource: Resource) -> Memory:
    """What another operator had learned."""
    learned = resource.status.get("learned", {})
    service, start = float(learned.get("serviceSeconds", 0)), float(learned.get("startSeconds", 0))
    return Memory(service_seconds=service or None, startup_seconds=start or None, slots=learned.get("slotsPerPod"))


def _observation(job: _Job, reading: Reading | Unknown, *, stale: bool) -> Observation:
    return Observation(
        reading=reading,
        replicas=job.deployment.replicas,
        pods=_pods(job.pods),
        rollout=job.deployment.rollout,
        stale=stale,
    )


def _pods(states: Iterable[PodState]) -> tuple[Pod, ...]:
    return tuple(Pod(name=each.name, created_at=each.created_at, ready=each.ready) for each in states)
