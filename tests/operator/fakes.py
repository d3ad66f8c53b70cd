"""A cluster and a broker in memory, as the operator sees them: what it patches shows in what it then sees."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from laneway.errors import Aborted, LanewayError, NotFound, PermissionDenied, Unavailable
from laneway.scaling.model import QueueReading, Reading, Share, Unknown, WorkerReading
from laneway.scaling.signals import Source
from laneway_operator.resource import Key, Resource
from laneway_operator.watch import Deployment, PodState

NAMESPACE = "shop"
T0 = 1_780_000_000.0


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, now: float = T0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)


def pool(name: str = "mail", created: str = "2026-01-01T00:00:00Z", **spec: Any) -> Resource:
    return Resource(
        namespace=NAMESPACE,
        name=name,
        uid=f"uid-{name}",
        generation=1,
        created=created,
        spec={
            "target": {"name": "worker"},
            "broker": {"secretRef": {"name": "broker", "key": "url"}},
            "queues": [{"name": "mail"}],
            "objective": {"waiting": "10s"},
            "minReplicas": 0,
            "maxReplicas": 10,
            "scaleDown": {"lookback": "1s", "drainWithin": "60s"},
            **spec,
        },
        status={},
    )


@dataclass
class FakeCluster:
    """An API server, its watch and its controllers; `away` makes it not answer, `forbidden` not scale."""

    clock: Clock
    resources: dict[Key, Resource] = field(default_factory=dict)
    deployments: dict[Key, Deployment] = field(default_factory=dict)
    pods_of: dict[Key, dict[str, PodState]] = field(default_factory=dict)
    hpas: dict[Key, list[str]] = field(default_factory=dict)
    secrets: dict[Key, dict[str, bytes]] = field(default_factory=dict)
    writes: list[tuple[Any, ...]] = field(default_factory=list)
    events: list[Mapping[str, Any]] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    forgotten: list[tuple[Key, str]] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    away: bool = False
    forbidden: str = ""
    _versions: Iterable[int] = field(default_factory=lambda: itertools.count(2))
    _names: Iterable[int] = field(default_factory=lambda: itertools.count(1))

    def add(self, *resources: Resource) -> None:
        self.resources.update({each.key: each for each in resources})

    def deploy(self, name: str = "worker", replicas: int = 0) -> None:
        self.deployments[NAMESPACE, name] = Deployment(
            version="1", replicas=0, current=0, ready=0, rollout=False, selector="app=worker"
        )
        self._settle((NAMESPACE, name), replicas)

    def _settle(self, key: Key, replicas: int) -> None:
        """What the controllers do at once: make pods, or delete those that rank first."""
        pods = self.pods_of.setdefault(key, {})
        while len(pods) < replicas:
            name = f"{key[1]}-{next(self._names)}"  # type: ignore[call-overload]
            pods[name] = PodState(name=name, created_at=self.clock.now, ready=True, cost=0)
        while len(pods) > replicas:
            victim = min(pods.values(), key=lambda pod: (pod.ready, pod.cost, -pod.created_at, pod.name))
            self.killed.append(victim.name)
            del pods[victim.name]
        version = str(next(self._versions))  # type: ignore[call-overload]
        self.deployments[key] = replace(
            self.deployments[key], version=version, replicas=replicas, current=replicas, ready=replicas
        )

    # What the operator sees.
    def pools(self) -> Iterable[Resource]:
        return list(self.resources.values())

    def deployment(self, key: Key) -> Deployment | None:
        return self.deployments.get(key)

    def pods(self, deployment: Key) -> Iterable[PodState]:
        return list(self.pods_of.get(deployment, {}).values())

    def autoscalers(self, deployment: Key) -> Iterable[str]:
        return self.hpas.get(deployment, [])

    def forget(self, key: Key, id: str) -> None:
        self.forgotten.append((key, id))

    # What it asks.
    def _asked(self, *what: Any) -> None:
        if self.away:
            raise Unavailable("The API server does not answer.")
        self.writes.append(what)

    async def scale(self, namespace: str, deployment: str, replicas: int, *, version: str) -> None:
        key = namespace, deployment
        if self.forbidden:
            raise PermissionDenied(self.forbidden)
        self._asked("scale", deployment, replicas)
        if self.deployments[key].version != version:
            self.writes.pop()
            raise Aborted("the object has been modified")
        self._settle(key, replicas)

    async def set_deletion_cost(self, namespace: str, pod: str, cost: int | None) -> None:
        self._asked("cost", pod, cost)
        if pod in self.gone:
            raise NotFound(f"{pod} not found")
        for pods in self.pods_of.values():
            if pod in pods:
                pods[pod] = replace(pods[pod], cost=cost or 0)

    async def patch_status(self, namespace: str, pool: str, status: Mapping[str, Any]) -> None:
        self._asked("status", pool, dict(status))
        resource = self.resources.get((namespace, pool))
        if resource is None:
            raise NotFound(f"{pool} not found")
        merged = {**resource.status, **status}
        merged = {name: value for name, value in merged.items() if value is not None}
        self.resources[resource.key] = replace(resource, status=merged)

    async def create_event(self, namespace: str, event: Mapping[str, Any]) -> None:
        self._asked("event", event["reason"])
        self.events.append(event)

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        if self.away:
            raise Unavailable("The API server does not answer.")
        self.writes.append(("secret", name))
        if (namespace, name) not in self.secrets:
            raise NotFound(f"secrets {name} not found")
        return self.secrets[namespace, name]

    def scales(self) -> list[int]:
        return [each[2] for each in self.writes if each[0] == "scale"]

    def status(self, name: str = "mail") -> Mapping[str, Any]:
        return self.resources[NAMESPACE, name].status

    def condition(self, type: str, name: str = "mail") -> tuple[str, str]:
        found = next(each for each in self.status(name)["conditions"] if each["type"] == type)
        return found["status"], found["reason"]


@dataclass
class FakeSignals:
    """A broker: what waits, and what each pod of the cluster holds, or all that is `said`.

    `obey` is whether workers heed the drain; `coming` is what one look after another finds to have come in besides,
    `stamped` whether anybody knows since when it waits.
    """

    cluster: FakeCluster
    waiting: int = 0
    holds: dict[str, int] = field(default_factory=dict)
    drained: set[str] = field(default_factory=set)
    paused: bool = False
    away: LanewayError | None = None
    read_only: LanewayError | None = None
    obey: bool = True
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    said: Reading | None = None
    coming: list[int] = field(default_factory=list)
    stamped: bool = True
    closed: bool = False

    async def read(self, sources: Sequence[Source]) -> Mapping[str, Reading | Unknown]:
        now = self.cluster.clock.now
        self.waiting += self.coming.pop(0) if self.coming else 0
        if self.away is not None:
            return {source.pool: Unknown(at=now, reason=self.away.message) for source in sources}
        if self.said is not None:
            return {source.pool: replace(self.said, at=now) for source in sources}
        return {source.pool: self._reading(source, now) for source in sources}

    def _reading(self, source: Source, now: float) -> Reading:
        queue = source.queues[0]
        workers = tuple(
            WorkerReading(
                pod=pod,
                slots=4,
                shares={queue: Share(active=self.holds.get(pod, 0))},
                draining=self.obey and pod in self.drained,
            )
            for pod in source.pods
        )
        held = sum(self.holds.get(pod, 0) for pod in source.pods)
        age = 1.0 if self.waiting and self.stamped else None
        queues = (QueueReading(name=queue, waiting=self.waiting, oldest_seconds=age, paused=self.paused),)
        return Reading(at=now, queues=queues, workers=workers, drained=frozenset(self.drained), unacked=held)

    async def drain(self, source: Source, pods: Iterable[str]) -> None:
        if self.read_only is not None:
            raise self.read_only
        self.calls.append(("drain", *sorted(pods)))
        self.drained |= set(pods)

    async def undrain(self, source: Source, pods: Iterable[str]) -> None:
        self.calls.append(("undrain", *sorted(pods)))
        self.drained -= set(pods)

    async def pause(self, source: Source) -> None:
        self.calls.append(("pause",))
        self.paused = True

    async def resume(self, source: Source) -> None:
        self.calls.append(("resume",))
        self.paused = False

    async def close(self) -> None:
        self.closed = True
