"""The plain Celery application on the cluster, with a Valkey of its own; tests reach that through a port-forward."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import redis
from celery import Celery

from tests.e2e.operator.kubectl import APP, Namespace, pool, until
from tests.fixtures.valkey import free_port

IMAGE = os.environ.get("LANEWAY_E2E_IMAGE", "docker.io/laneway/laneway:dev")
VALKEY = "docker.io/valkey/valkey:8.1-alpine"
POD_SECURITY = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
SECURITY = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
TMP = {"name": "tmp", "emptyDir": {}}


def deployment(
    name: str, container: Mapping[str, Any], *, replicas: int | None, grace: int, volumes: tuple[Any, ...] = ()
) -> dict[str, Any]:
    """A Deployment of one restricted container."""
    labels = {"app": name}
    mounts = [{"name": "tmp", "mountPath": "/tmp"}, *container.get("volumeMounts", ())]  # noqa: S108 in the pod
    pod = {
        "terminationGracePeriodSeconds": grace,
        "automountServiceAccountToken": False,
        "securityContext": POD_SECURITY,
        "containers": [{"name": name, "securityContext": SECURITY, **container, "volumeMounts": mounts}],
        "volumes": [TMP, *volumes],
    }
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def broker() -> tuple[dict[str, Any], ...]:
    """A Valkey that keeps what it has over a restart of its process, and the secret with its URL."""
    container = {
        "image": VALKEY,
        "command": ["valkey-server", "--save", "", "--appendonly", "yes", "--protected-mode", "no", "--dir", "/tmp"],  # noqa: S108 in the pod
        "ports": [{"containerPort": 6379}],
        "readinessProbe": {"tcpSocket": {"port": 6379}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "24Mi"}, "limits": {"memory": "128Mi"}},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "valkey"},
        "spec": {"selector": {"app": "valkey"}, "ports": [{"port": 6379}]},
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "broker"},
        "stringData": {"url": "redis://valkey:6379/0"},
    }
    return deployment("valkey", container, replicas=1, grace=1), service, secret


def workers(*, report: bool, slots: int = 2, grace: int = 60, visibility: int = 3600) -> tuple[dict[str, Any], ...]:
    """The workers, without a number of replicas: what scales them says that."""
    source = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"}, "data": {"app.py": APP.read_text()}}
    env = {
        "BROKER_URL": "redis://valkey:6379/0",
        "REPORT": "yes" if report else "",
        "VISIBILITY": str(visibility),
        "PYTHONPATH": "/src",
    }
    command = ["celery", "-A", "app", "worker", "--pool", "threads", "--concurrency", str(slots)]
    container = {
        "image": IMAGE,
        "command": [*command, "--without-gossip", "--without-mingle", "--loglevel", "WARNING"],
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "volumeMounts": [{"name": "app", "mountPath": "/src"}],
        "resources": {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "192Mi"}},
    }
    volume = {"name": "app", "configMap": {"name": "app"}}
    return source, deployment("worker", container, replicas=0, grace=grace, volumes=(volume,))


class Producer:
    """Sends tasks, and reads what the workers left on record."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._app = Celery("producer", broker=url, set_as_current=False)
        self._app.conf.broker_connection_retry = False
        self.client = redis.Redis.from_url(url)
        self.sent = 0

    def send(self, count: int, seconds: float) -> None:
        """Send tasks that take so long."""
        with self._app.producer_pool.acquire(block=True) as producer:
            for number in range(self.sent, self.sent + count):
                self._app.send_task("app.work", (number, seconds), producer=producer)
        self.sent += count

    def start(self, task: str, *arguments: object) -> None:
        """Send another task."""
        self._app.send_task(task, arguments)

    def held(self) -> int:
        """How many messages wait or are taken."""
        return int(self.client.llen("celery")) + int(self.client.hlen("unacked"))

    def record(self, what: str) -> list[int]:
        """The numbers of the tasks that have `begun` or `ended`, in order."""
        return [number for number, _ in self.places(what)]

    def places(self, what: str) -> list[tuple[int, str]]:
        """The same, each with the pod in which it was so."""
        lines = (each.decode().split(" ") for each in self.client.lrange(what, 0, -1))
        return [(int(number), pod) for number, pod in lines]

    def close(self) -> None:
        self._app.close()
        self.client.close()


@contextmanager
def producer_for(namespace: Namespace) -> Iterator[Producer]:
    """A producer that reaches the namespace's Valkey."""
    port = free_port()
    command = ["kubectl", "--namespace", namespace.name, "port-forward", "service/valkey", f"{port}:6379"]
    forward = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    producer = Producer(f"redis://127.0.0.1:{port}/0")
    try:
        until(lambda: _answers(producer.client), 20, "the port-forward answers")
        yield producer
    finally:
        producer.close()
        forward.terminate()
        forward.wait()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def quick_pool(**spec: Any) -> dict[str, Any]:
    """A WorkerPool of these workers that does not look back for long."""
    settings = {
        "objective": {"waiting": "5s"},
        "maxReplicas": 4,
        "initial": {"slotsPerPod": 2, "serviceTime": "500ms", "startTime": "5s"},
        "scaleDown": {"lookback": "5s", "drainWithin": "2m"},
        **spec,
    }
    return pool(**settings)
