from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from laneway.scaling.model import (
    Decision,
    Intent,
    Memory,
    Observation,
    Pod,
    QueueReading,
    Reading,
    Share,
    Unknown,
    WorkerReading,
)
from laneway.scaling.sizing import decide


def worker(
    pod: str, active: int = 0, *, slots: int = 4, reserved: int = 0, processed: int = 0, busy: float = 0.0, **more: Any
) -> WorkerReading:
    share = Share(active=active, reserved=reserved, processed=processed, busy_seconds=busy)
    return WorkerReading(pod=pod, slots=slots, shares={"q": share}, **more)


def pods(*names: str, ready: bool = True, created_at: float = 0.0) -> tuple[Pod, ...]:
    return tuple(Pod(name=name, created_at=created_at, ready=ready) for name in names)


@dataclass
class Pool:
    """A pool whose observations a test writes down, second by second."""

    intent: Intent = field(default_factory=lambda: Intent(queues=("q",), maximum=50, slots=4))
    memory: Memory = field(default_factory=lambda: Memory(service_seconds=1.0, startup_seconds=3.0))
    now: float = 1000.0
    replicas: int = 0

    def look(
        self,
        waiting: int = 0,
        workers: Iterable[WorkerReading] = (),
        *,
        oldest: float | None = None,
        there: tuple[Pod, ...] | None = None,
        rollout: bool = False,
        after: float = 1.0,
        **reading: Any,
    ) -> Decision:
        self.now += after
        workers = tuple(workers)
        there = pods(*(each.pod for each in workers)) if there is None else there
        queue = QueueReading(name="q", waiting=waiting, oldest_seconds=oldest)
        seen = Reading(at=self.now, queues=(queue,), workers=workers, **reading)
        return self.decide(Observation(reading=seen, replicas=self.replicas, pods=there, rollout=rollout))

    def miss(self, *, after: float = 1.0, there: tuple[Pod, ...] = ()) -> Decision:
        self.now += after
        unknown = Unknown(at=self.now, reason="The broker does not answer.")
        return self.decide(Observation(reading=unknown, replicas=self.replicas, pods=there))

    def decide(self, observation: Observation) -> Decision:
        decision, self.memory = decide(self.intent, observation, self.memory, self.now)
        return decision

    def grow_old(self) -> None:
        """Let the memory's window have passed, so that nothing of the past holds scale-in."""
        self.memory = replace(self.memory, since=self.now - 2 * self.intent.memory_seconds)
