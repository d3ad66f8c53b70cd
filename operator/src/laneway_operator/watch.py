"""The cluster as kopf's watches keep it: WorkerPools, Deployments, their pods, and who else scales them.

kopf is used as a watch with indices and for nothing else: no handler changes an object, so there are no finalizers,
no annotations and no progress to lose, and an operator that is deleted leaves nothing that cannot be.
"""

import asyncio
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import kopf

from laneway_operator.kube import DELETION_COST, find_connection
from laneway_operator.resource import GROUP, PLURAL, VERSION, Key, Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A Deployment as far as scaling it goes. `version` is its resource version, for compare-and-set."""

    version: str
    replicas: int
    current: int
    ready: int
    rollout: bool
    selector: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PodState:
    """A pod that is not being deleted; `cost` is what ranks it among those that may be."""

    name: str
    created_at: float
    ready: bool
    cost: int


class Cluster(Protocol):
    """What is known of the cluster now; all answers are from memory."""

    def pools(self) -> Iterable[Resource]:
        """All WorkerPools."""
        ...

    def deployment(self, key: Key) -> Deployment | None:
        """A Deployment, if there is one."""
        ...

    def pods(self, deployment: Key) -> Iterable[PodState]:
        """Its pods that are not being deleted."""
        ...

    def autoscalers(self, deployment: Key) -> Iterable[str]:
        """The names of the HorizontalPodAutoscalers that scale it."""
        ...

    def forget(self, key: Key, id: str) -> None:
        """The API server says that something is gone; a watch that was interrupted may never say so.

        `key` is a pool's or a Deployment's, `id` a pool's uid, a Deployment's version or a pod's name.
        """
        ...


class KopfWatch:
    """The watch; implements `Cluster`. `synced` is set when there are pools and everything has been listed once."""

    def __init__(self, namespaces: Iterable[str] = (), *, identity: str = "laneway-operator") -> None:
        self._namespaces = tuple(namespaces)
        self._identity = identity
        self._indices: Mapping[str, kopf.Index[Any, Any]] = {}
        self._gone: set[tuple[Key, str]] = set()
        self.started = asyncio.Event()
        self.synced = asyncio.Event()
        self.registry = self._register()

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until `stop` is set, or a signal stops the process. The kind WorkerPool must exist."""
        await kopf.operator(
            registry=self.registry,
            settings=_settings(),
            standalone=True,
            identity=self._identity,  # type: ignore[arg-type]
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            stop_flag=stop,
            ready_flag=self.started,
        )

    def pools(self) -> Iterable[Resource]:
        index = self._indices.get("pools")
        for key in list(index or ()):
            yield from (each for each in self._values("pools", key) if not self._is_gone(key, each.uid))

    def deployment(self, key: Key) -> Deployment | None:
        return next((each for each in self._values("deployments", key) if not self._is_gone(key, each.version)), None)

    def pods(self, deployment: Key) -> Iterable[PodState]:
        return (pod for pod in self._values("pods", deployment) if not self._is_gone(deployment, pod.name))

    def autoscalers(self, deployment: Key) -> Iterable[str]:
        return self._values("autoscalers", deployment)

    def forget(self, key: Key, id: str) -> None:
        self._gone.add((key, id))

    def _is_gone(self, key: Key, id: str) -> bool:
        return (key, id) in self._gone

    def _values(self, kind: str, key: Key) -> Iterator[Any]:
        index = self._indices.get(kind)
        return iter(list(index[key]) if index is not None and key in index else ())

    def _register(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(find_connection)
        kopf.on.startup(registry=registry)(self._keep_indices)
        kopf.index(GROUP, VERSION, PLURAL, id="pools", registry=registry)(_pool)
        kopf.index("apps", "v1", "deployments", id="deployments", registry=registry)(_deployment)
        kopf.index("", "v1", "pods", id="pods", registry=registry)(_pod)
        kopf.index("autoscaling", "v2", "horizontalpodautoscalers", id="autoscalers", registry=registry)(_autoscaler)
        # kopf calls this first when every index has been filled.
        kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)(self._seen)
        return registry

    async def _keep_indices(self, **arguments: Any) -> None:
        self._indices = {kind: arguments[kind] for kind in ("pools", "deployments", "pods", "autoscalers")}

    async def _seen(self, **_: Any) -> None:
        self.synced.set()


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.reconnect_backoff = 0.5
    settings.watching.connect_timeout = 5
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = _Patience()
    settings.execution.max_workers = 1
    return settings


class _Patience:
    """An API server that is away is waited for as long as it takes."""

    def __iter__(self) -> Iterator[float]:
        return itertools.repeat(1.0)


async def _pool(body: Mapping[str, Any], **_: Any) -> Mapping[Key, Resource]:
    meta = body["metadata"]
    resource = Resource(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=meta["generation"],
        created=meta["creationTimestamp"],
        spec=_plain(body["spec"]),
        status=_plain(body.get("status", {})),
    )
    return {} if meta.get("deletionTimestamp") else {resource.key: resource}


async def _deployment(body: Mapping[str, Any], **_: Any) -> Mapping[Key, Deployment]:
    meta, spec, status = body["metadata"], body["spec"], body.get("status", {})
    current, updated = status.get("replicas", 0), status.get("updatedReplicas", 0)
    deployment = Deployment(
        version=meta["resourceVersion"],
        replicas=spec.get("replicas", 1),
        current=current,
        ready=status.get("readyReplicas", 0),
        rollout=status.get("observedGeneration", 0) < meta["generation"] or updated < current,
        selector=",".join(f"{name}={value}" for name, value in sorted(spec["selector"].get("matchLabels", {}).items())),
    )
    return {(meta["namespace"], meta["name"]): deployment}


async def _pod(body: Mapping[str, Any], **_: Any) -> Mapping[Key, PodState]:
    meta, status = body["metadata"], body.get("status", {})
    owner = _deployment_of(meta)
    if owner is None or meta.get("deletionTimestamp") or status.get("phase") in ("Succeeded", "Failed"):
        return {}
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", ()))
    cost = str(meta.get("annotations", {}).get(DELETION_COST, "0"))
    pod = PodState(
        name=meta["name"],
        created_at=datetime.fromisoformat(meta["creationTimestamp"]).timestamp(),
        ready=ready,
        cost=int(cost) if cost.lstrip("+-").isdigit() else 0,
    )
    return {(meta["namespace"], owner): pod}


def _deployment_of(meta: Mapping[str, Any]) -> str | None:
    """A ReplicaSet of a Deployment is named by it and by the hash of its template, which its pods carry."""
    template = meta.get("labels", {}).get("pod-template-hash")
    for owner in meta.get("ownerReferences", ()):
        if owner["kind"] == "ReplicaSet" and owner.get("controller") and template:
            name: str = owner["name"]
            return name.removesuffix(f"-{template}") if name.endswith(f"-{template}") else None
    return None


async def _autoscaler(body: Mapping[str, Any], **_: Any) -> Mapping[Key, str]:
    meta, target = body["metadata"], body["spec"]["scaleTargetRef"]
    return {(meta["namespace"], target["name"]): meta["name"]} if target["kind"] == "Deployment" else {}


def _plain(value: Any) -> Any:
    """Of kopf's views, the plain values: what is kept must not change, and be quick to compare."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
