"""Pods that take messages from one queue. Knows nothing of who scales them."""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.benchmarks.operator_sim.traces import Message

SLOTS = 4
"""Messages that a pod runs at once."""

STARTUP = 3.0
"""Seconds from a pod's creation until it consumes: image present, scheduled at once, a Celery worker's imports."""

GRACE = 30.0
"""Kubernetes' default terminationGracePeriodSeconds: a warm stop's time, then SIGKILL."""

STEP = 0.1


@dataclass(eq=False)
class Pod:
    """One pod. `consuming_at` is when its start-up ends; `left` when it was told to go; `closed` while it drains."""

    name: str
    born: float
    consuming_at: float
    running: int = 0
    processed: int = 0
    busy: float = 0.0
    closed: bool = False
    left: float | None = None


@dataclass
class Tally:
    """What came of it."""

    over: float = 0.0
    """Seconds in which the oldest message had waited longer than the objective."""
    pod_seconds: float = 0.0
    reversals: int = 0
    """Changes of the number of replicas in the other direction than the change before."""
    cut: int = 0
    """Messages that ran when their pod's grace ended: they run again."""
    done: int = 0
    waits: list[float] = field(default_factory=list)


class Cluster:
    """One Deployment and one queue, from second 0."""

    def __init__(self, messages: Sequence[Message], *, objective: float, startup: float = STARTUP) -> None:
        self.now = 0.0
        self.replicas = 0
        self.pods: list[Pod] = []
        self.queue: deque[Message] = deque()
        self.tally = Tally()
        self._coming = deque(messages)
        self._objective = objective
        self._startup = startup
        self._names = 0
        self._ends: list[tuple[float, int, Pod, Message, float]] = []
        self._order = 0
        self._direction = 0

    @property
    def waiting(self) -> int:
        return len(self.queue)

    @property
    def running(self) -> int:
        return len(self._ends)

    @property
    def oldest(self) -> float | None:
        return self.now - self.queue[0][0] if self.queue else None

    @property
    def living(self) -> list[Pod]:
        """Pods that were not told to go."""
        return [pod for pod in self.pods if pod.left is None]

    def scale(self, replicas: int, victims: Sequence[str] = ()) -> None:
        """Ask for a number of replicas. Without `victims` those that are not ready go first, then the youngest."""
        direction = (replicas > self.replicas) - (replicas < self.replicas)
        self.tally.reversals += bool(direction and self._direction and direction != self._direction)
        self._direction = direction or self._direction
        self.replicas = replicas
        living = self.living
        for _ in range(replicas - len(living)):
            self._names += 1
            self.pods.append(Pod(f"p{self._names}", self.now, self.now + self._startup))
        surplus = max(0, len(living) - replicas)
        # Kubernetes ranks by readiness, deletion cost, then the youngest (controller_utils.go, ActivePodsWithRanks).
        ranked = sorted(living, key=lambda pod: (pod.consuming_at <= self.now, pod.name not in victims, -pod.born))
        for pod in ranked[:surplus]:
            pod.left = self.now

    def advance(self) -> None:
        """One step of time."""
        self.now += STEP
        while self._coming and self._coming[0][0] <= self.now:
            self.queue.append(self._coming.popleft())
        while self._ends and self._ends[0][0] <= self.now:
            end, _, pod, message, _ = heapq.heappop(self._ends)
            if pod.running < 0:
                continue
            pod.running -= 1
            pod.processed += 1
            self.tally.done += 1
            del end, message
        self._end_pods()
        self._take()
        for pod in self.pods:
            pod.busy += pod.running * STEP
        self.tally.pod_seconds += len(self.pods) * STEP
        if self.queue and self.now - self.queue[0][0] > self._objective:
            self.tally.over += STEP

    def _take(self) -> None:
        for pod in self.pods:
            if pod.consuming_at > self.now or pod.closed or pod.left is not None:
                continue
            while pod.running < SLOTS and self.queue:
                message = self.queue.popleft()
                self._order += 1
                pod.running += 1
                self.tally.waits.append(self.now - message[0])
                heapq.heappush(self._ends, (self.now + message[1], self._order, pod, message, self.now))

    def _end_pods(self) -> None:
        for pod in [pod for pod in self.pods if pod.left is not None]:
            if pod.running and self.now - (pod.left or 0.0) > GRACE:
                lost = [each for each in self._ends if each[2] is pod]
                self._ends = [each for each in self._ends if each[2] is not pod]
                heapq.heapify(self._ends)
                self.tally.cut += len(lost)
                self.queue.extendleft((at, service) for _, _, _, (at, service), _ in lost)
                pod.running = 0
            if not pod.running:
                self.pods.remove(pod)
