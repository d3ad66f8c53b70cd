"""The requests to the API server that are not watches: each of them is a verb in the chart's RBAC, and none is missing.

Built on aiohttp, which kopf brings, and on kopf's way of finding credentials. Errors are ours.
"""

import base64
import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from http import HTTPStatus
from typing import Any, Protocol

import aiohttp
import kopf

from laneway.errors import (
    Aborted,
    AlreadyExists,
    InvalidArgument,
    LanewayError,
    NotFound,
    PermissionDenied,
    Unavailable,
)

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_TIMEOUT = aiohttp.ClientTimeout(total=10, sock_connect=3, sock_read=5)
_LEASE_TIMEOUT = aiohttp.ClientTimeout(total=3)
"""A renewal is also how a silent API server is noticed."""
_CONNECTIONS = 32
"""At most: more than `poller` and `report` use at once, so that the lease is never behind them."""

_MERGE = "application/merge-patch+json"


class Kube(Protocol):
    """What the operator asks of an API server.

    All raise `NotFound`, `Aborted` (somebody else changed the object), `PermissionDenied` or `Unavailable`.
    """

    async def scale(self, namespace: str, deployment: str, replicas: int, *, version: str) -> None:
        """Set a Deployment's replicas, if it is still at this resource version."""
        ...

    async def set_deletion_cost(self, namespace: str, pod: str, cost: int | None) -> None:
        """Rank a pod among those of its ReplicaSet that may be deleted: the lowest goes first."""
        ...

    async def patch_status(self, namespace: str, pool: str, status: Mapping[str, Any]) -> None:
        """Merge into a WorkerPool's status."""
        ...

    async def create_event(self, namespace: str, event: Mapping[str, Any]) -> None:
        """Tell of something."""
        ...

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        """A secret's values."""
        ...


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to reach the API server, for some time."""

    server: str
    headers: Mapping[str, str]
    tls: ssl.SSLContext | bool


@dataclass(frozen=True, kw_only=True)
class _Connection(kopf.ConnectionInfo):
    """Verifies chain and host name, but not that authorities carry every extension of RFC 5280.

    From Python 3.13 on the default is strict, and the authorities of many clusters lack the key usage.
    """

    def as_ssl_context(self) -> ssl.SSLContext:
        context = super().as_ssl_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


def find_connection(**arguments: Any) -> kopf.ConnectionInfo | None:
    """The pod's service account, else the current kubeconfig; a login handler of kopf."""
    found = kopf.login_with_service_account(**arguments) or kopf.login_with_kubeconfig(**arguments)
    if found is None:
        return None
    return _Connection(**{each.name: getattr(found, each.name) for each in fields(found)})


def find_credentials() -> Credentials:
    """Those of the pod's service account, else of the current kubeconfig.

    Raises:
        Unavailable: there are none.
    """
    found = find_connection(settings=kopf.OperatorSettings())
    if found is None:
        raise Unavailable("There are no credentials for a cluster; run in a pod, or set KUBECONFIG.")
    tls = found.as_ssl_context() if found.server.startswith("https") else False
    return Credentials(found.server.rstrip("/"), found.as_http_headers(), tls)


@dataclass(slots=True)
class Request:
    """One request, for who counts them."""

    verb: str
    resource: str
    code: int
    seconds: float


@dataclass(slots=True)
class Api:
    """An API server; implements `Kube` and `lease.Leases`. Use as a context: it holds connections."""

    find: Callable[[], Credentials] = find_credentials
    observe: Callable[[Request], None] = lambda _: None
    _credentials: Credentials | None = None
    _session: aiohttp.ClientSession | None = field(default=None, repr=False)

    async def __aenter__(self) -> "Api":
        connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
        self._session = aiohttp.ClientSession(connector=connector, trust_env=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None  # noqa: S101 entered
        await self._session.close()

    async def scale(self, namespace: str, deployment: str, replicas: int, *, version: str) -> None:
        body = {"metadata": {"resourceVersion": version}, "spec": {"replicas": replicas}}
        await self._call("patch", "deployments/scale", _apps(namespace, f"deployments/{deployment}/scale"), body)

    async def set_deletion_cost(self, namespace: str, pod: str, cost: int | None) -> None:
        body = {"metadata": {"annotations": {DELETION_COST: None if cost is None else str(cost)}}}
        await self._call("patch", "pods", _core(namespace, f"pods/{pod}"), body)

    async def patch_status(self, namespace: str, pool: str, status: Mapping[str, Any]) -> None:
        path = f"/apis/laneway.dev/v1alpha1/namespaces/{namespace}/workerpools/{pool}/status"
        await self._call("patch", "workerpools/status", path, {"status": status})

    async def create_event(self, namespace: str, event: Mapping[str, Any]) -> None:
        await self._call("post", "events", _core(namespace, "events"), event)

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        found = await self._call("get", "secrets", _core(namespace, f"secrets/{name}"))
        return {key: base64.b64decode(value) for key, value in found.get("data", {}).items()}

    async def serves_pools(self) -> bool:
        """Whether the kind WorkerPool is installed. Everybody who is known may ask that."""
        try:
            found = await self._call("get", "discovery", "/apis/laneway.dev/v1alpha1")
        except NotFound:
            return False
        return any(each["name"] == "workerpools" for each in found["resources"])

    async def get_lease(self, namespace: str, name: str) -> Mapping[str, Any]:
        return await self._call("get", "leases", _lease(namespace, name))

    async def create_lease(self, namespace: str, name: str, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec}
        return await self._call("post", "leases", _lease(namespace), lease)

    async def patch_lease(
        self, namespace: str, name: str, spec: Mapping[str, Any], *, version: str
    ) -> Mapping[str, Any]:
        body = {"metadata": {"resourceVersion": version}, "spec": spec}
        return await self._call("patch", "leases", _lease(namespace, name), body)

    async def _call(self, verb: str, resource: str, path: str, body: object = None) -> Mapping[str, Any]:
        begin, code = time.monotonic(), 0
        timeout = _LEASE_TIMEOUT if resource == "leases" else _TIMEOUT
        try:
            code, text = await self._send(verb, path, body, timeout)
            if code == HTTPStatus.UNAUTHORIZED:  # the token has been renewed on disk
                self._credentials = None
                code, text = await self._send(verb, path, body, timeout)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"The API server does not answer ({type(error).__name__}).") from error
        finally:
            self.observe(Request(verb, resource, code, time.monotonic() - begin))
        if code >= HTTPStatus.BAD_REQUEST:
            raise _error(code, f"{verb.upper()} {path}", text)
        return json.loads(text)  # type: ignore[no-any-return]

    async def _send(self, verb: str, path: str, body: object, timeout: aiohttp.ClientTimeout) -> tuple[int, str]:
        assert self._session is not None  # noqa: S101 entered
        if self._credentials is None:
            self._credentials = self.find()
        known = self._credentials
        kind = _MERGE if verb == "patch" else "application/json"
        headers = {**known.headers, "Content-Type": kind, "Accept": "application/json"}
        data = None if body is None else json.dumps(body)
        url = known.server + path
        request = self._session.request(verb, url, data=data, headers=headers, ssl=known.tls, timeout=timeout)
        async with request as response:
            return response.status, await response.text()


_ERRORS: Mapping[int, type[LanewayError]] = {
    HTTPStatus.FORBIDDEN: PermissionDenied,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.UNAUTHORIZED: PermissionDenied,
    HTTPStatus.UNPROCESSABLE_ENTITY: InvalidArgument,
    HTTPStatus.BAD_REQUEST: InvalidArgument,
}


def _error(code: int, what: str, text: str) -> LanewayError:
    try:
        status = json.loads(text)
    except ValueError:
        status = {}
    message = f"{what}: {status.get('message') or text[:200]}"
    if code == HTTPStatus.CONFLICT:
        return AlreadyExists(message) if status.get("reason") == "AlreadyExists" else Aborted(message)
    return _ERRORS.get(code, Unavailable)(message)


def _core(namespace: str, rest: str) -> str:
    return f"/api/v1/namespaces/{namespace}/{rest}"


def _apps(namespace: str, rest: str) -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/{rest}"


def _lease(namespace: str, name: str | None = None) -> str:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    return path if name is None else f"{path}/{name}"
