"""The operator's `decide`, on what workers would have said, with the delays of a real cluster."""

from dataclasses import dataclass

from laneway.scaling import model
from laneway.scaling.model import Decision, Intent, Memory, Observation, QueueReading, Reading, Share, WorkerReading
from laneway.scaling.sizing import decide
from tests.benchmarks.operator_sim.cluster import SLOTS, Cluster, Pod

EACH = 1.0
"""Seconds between decisions: the operator's poll."""

REPORT = 1.0
"""Seconds between a worker's reports, and until it obeys the drain set: the same exchange."""

PATCH = 0.2
"""Seconds from a decision to its effect at the API server."""


@dataclass
class _Said:
    at: float
    worker: WorkerReading


class Ours:
    """Scales a cluster."""

    def __init__(self, cluster: Cluster, intent: Intent, *, phase: float) -> None:
        self._cluster = cluster
        self._intent = intent
        self._memory = Memory()
        self._next = phase
        self._reports: dict[str, _Said] = {}
        self._drained: set[str] = set()
        self._to_go: frozenset[str] = frozenset()
        self._patch: tuple[float, int, tuple[str, ...]] | None = None

    def advance(self) -> None:
        cluster = self._cluster
        self._report()
        if self._patch is not None and cluster.now >= self._patch[0]:
            cluster.scale(self._patch[1], self._patch[2])
            self._patch = None
        if cluster.now >= self._next:
            decision, self._memory = decide(self._intent, self._observation(), self._memory, cluster.now)
            if decision.look_again is not None:
                self._next += decision.look_again
                return
            self._next += EACH
            self._apply(decision)

    def _report(self) -> None:
        """Each worker speaks and listens once a second, each at a moment of its own."""
        now = self._cluster.now
        for pod in self._cluster.pods:
            if pod.consuming_at > now or pod.left is not None:
                continue
            said = self._reports.get(pod.name)
            if said is None or now - said.at >= REPORT:
                pod.closed = pod.name in self._drained
                self._reports[pod.name] = _Said(now, _said(pod))

    def _observation(self) -> Observation:
        cluster = self._cluster
        living = cluster.living
        workers = tuple(self._reports[pod.name].worker for pod in living if pod.name in self._reports)
        queue = QueueReading(name="q", waiting=cluster.waiting, oldest_seconds=cluster.oldest)
        reading = Reading(
            at=cluster.now, queues=(queue,), workers=workers, drained=frozenset(self._drained),
            unacked=sum(worker.held for worker in workers),
        )  # fmt: skip
        pods = tuple(model.Pod(name=pod.name, created_at=pod.born, ready=pod.name in self._reports) for pod in living)
        return Observation(reading=reading, replicas=cluster.replicas, pods=pods)

    def _apply(self, decision: Decision) -> None:
        self._drained -= set(decision.undrain)
        self._drained |= set(decision.drain)
        sure = self._to_go & frozenset(decision.remove)  # the deletion cost was set by the last, and is seen by this
        self._to_go = frozenset(decision.remove)
        replicas = self._cluster.replicas
        if decision.replicas > replicas:
            self._patch = (self._cluster.now + PATCH, decision.replicas, ())
        elif decision.replicas < replicas and sure:
            self._patch = (self._cluster.now + PATCH, replicas - len(sure), tuple(sure))
            self._to_go = frozenset()


def _said(pod: Pod) -> WorkerReading:
    share = Share(active=pod.running, processed=pod.processed, busy_seconds=pod.busy)
    return WorkerReading(pod=pod.name, slots=SLOTS, shares={"q": share}, draining=pod.closed)
