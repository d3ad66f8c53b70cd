"""`make bench-operator-cluster`: the operator on a real API server, beside an embedded Valkey.

`burst`: 400 tasks on an idle pool of zero, some times over: seconds from the first enqueue until the scale is patched.
`pools`: 500 WorkerPools that do nothing: what the operator writes, and what it takes of this machine; then a burst on
some of them: seconds from the enqueue until the decision is in the status.

The pools' pods can be scheduled nowhere (`burst`) or are never asked for (`pools`: dry runs), so that what is measured
is the operator. It runs as a process of this machine. KUBECONFIG names the cluster.
"""

import asyncio
import json
import os
import random
import secrets
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import redis
from celery import Celery

from laneway.scaling.onset import SETTLES
from laneway_operator.kube import find_credentials
from tests.e2e.operator.kubectl import Namespace, custom_resource, pool, run, until
from tests.e2e.operator.process import Operator
from tests.fixtures.valkey import Server

BURSTS = int(os.environ.get("BURSTS", "20"))
POOLS = int(os.environ.get("POOLS", "500"))
IDLE = int(os.environ.get("IDLE_SECONDS", "60"))
TASKS = 400
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "none"}},
        "template": {
            "metadata": {"labels": {"app": "none"}},
            "spec": {
                "nodeSelector": {"nowhere": "true"},
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "none", "image": "none"}],
            },
        },
    },
}

BURST_POOL = pool(maxReplicas=30, mode="PausedIn", initial={"slotsPerPod": 16, "startTime": "30s"})
"""It needs 14 pods for a whole burst, fewer for a part of it, and not the more the longer its pods, which never start, take."""


@contextmanager
def surroundings() -> Iterator[tuple[Namespace, str]]:
    """A namespace, and the URL of a Valkey that the operator's process reaches."""
    run("kubectl", "apply", "--server-side", "--force-conflicts", "--filename", "-", given=custom_resource())
    namespace = Namespace(f"op-bench-{secrets.token_hex(3)}")
    run("kubectl", "create", "namespace", namespace.name)
    with TemporaryDirectory() as folder:
        server = Server(Path(folder))
        server.start()
        try:
            url = {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "broker"},
                "stringData": {"url": server.url},
            }
            namespace.apply(url)
            yield namespace, server.url
        finally:
            server.kill()
            run("kubectl", "delete", "namespace", namespace.name, "--wait=false")


@asynccontextmanager
async def watched(path: str) -> AsyncIterator[AsyncIterator[tuple[float, Any]]]:
    """The objects of a watch, each with the moment of its arrival."""
    known = find_credentials()
    timeout = aiohttp.ClientTimeout(total=None)
    url = f"{known.server}{path}?watch=true"
    async with (
        aiohttp.ClientSession(timeout=timeout, read_bufsize=2**24) as session,
        session.get(url, headers=known.headers, ssl=known.tls) as response,
    ):

        async def events() -> AsyncIterator[tuple[float, Any]]:
            async for line in response.content:
                yield time.monotonic(), json.loads(line)["object"]

        yield events()


async def one_burst(namespace: Namespace, url: str) -> tuple[float, float, list[int]]:
    """Seconds that it took to enqueue it, and from its begin to the first patch; all replicas that were asked for in 8 s."""
    asked: list[tuple[float, int]] = []

    async def see() -> None:
        async with watched(f"/apis/apps/v1/namespaces/{namespace.name}/deployments") as events:
            async for at, deployment in events:
                replicas = deployment["spec"]["replicas"]
                if not asked or asked[-1][1] != replicas:
                    asked.append((at, replicas))

    seeing = asyncio.create_task(see())
    await asyncio.sleep(random.uniform(1, 2))
    begin = time.monotonic()
    await asyncio.to_thread(enqueue, url)
    sent = time.monotonic() - begin
    await asyncio.sleep(8)
    seeing.cancel()
    return sent, asked[1][0] - begin, [replicas for _, replicas in asked[1:]]


def enqueue(url: str) -> None:
    app = Celery("producer", broker=url, set_as_current=False)
    with app.producer_pool.acquire(block=True) as producer:
        for number in range(TASKS):
            app.send_task("app.work", (number, 1), producer=producer)
    app.close()


def bursts() -> dict[str, float]:
    """The figures of `burst`."""
    sent: list[float] = []
    taken: list[float] = []
    steps: list[int] = []
    with surroundings() as (namespace, url), redis.Redis.from_url(url) as client:
        operator = Operator(namespace.name)
        try:
            for _ in range(BURSTS):
                namespace.apply({**DEPLOYMENT, "metadata": {"name": "worker"}}, BURST_POOL)
                until(
                    lambda: namespace.condition("worker", "MetricsAvailable")["status"] == "True", 30, "it is looked at"
                )
                enqueued, seconds, asked = asyncio.run(one_burst(namespace, url))
                sent.append(enqueued)
                taken.append(seconds)
                steps.append(len(asked))
                namespace.kubectl("delete", "workerpool/worker", "deployment/worker")
                client.flushall()
        finally:
            operator.stop()
    at_once = [count for seconds, count in zip(sent, steps, strict=True) if seconds <= SETTLES]
    sent.sort()
    taken.sort()
    return {
        "bursts": float(BURSTS),
        "400 tasks enqueued within, median s": sent[len(sent) // 2],
        "400 tasks enqueued within, most s": sent[-1],
        "first patch, median s": taken[len(taken) // 2],
        "first patch, p95 s": taken[round(0.95 * len(taken)) - 1],
        "first patch, most s": taken[-1],
        "bursts answered in one step, share": steps.count(1) / len(steps),
        f"bursts sent within {SETTLES} s": float(len(at_once)),
        "of these answered in one step, share": at_once.count(1) / max(1, len(at_once)),
    }


async def lags(namespace: Namespace, url: str, count: int) -> list[float]:
    """Seconds from an enqueue on a pool until its status says the decision."""
    sent: dict[str, float] = {}
    lag: list[float] = []
    done = asyncio.Event()

    async def see() -> None:
        async with watched(f"/apis/laneway.dev/v1alpha1/namespaces/{namespace.name}/workerpools") as events:
            async for at, resource in events:
                name = resource["metadata"]["name"]
                if name in sent and resource.get("status", {}).get("desiredReplicas", 0) > 0:
                    lag.append(at - sent.pop(name))
                    if len(lag) == count:
                        done.set()

    seeing = asyncio.create_task(see())
    await asyncio.sleep(2)
    client = redis.Redis.from_url(url)
    for number in random.sample(range(POOLS), count):
        sent[f"pool-{number}"] = time.monotonic()
        client.lpush(f"queue-{number}", *["{}"] * 20)
        await asyncio.sleep(0.2)
    client.close()
    async with asyncio.timeout(30):
        await done.wait()
    seeing.cancel()
    return sorted(lag)


def pools() -> dict[str, float]:
    """The figures of `pools`."""
    with surroundings() as (namespace, url):
        names = [(f"pool-{number}", f"queue-{number}") for number in range(POOLS)]
        namespace.apply(*({**DEPLOYMENT, "metadata": {"name": name}} for name, _ in names))
        namespace.apply(
            *(pool(name, target={"name": name}, queues=[{"name": queue}], mode="DryRun") for name, queue in names)
        )
        operator = Operator(namespace.name)
        try:
            until(lambda: _told(operator) >= POOLS, 300, "every pool is told of")
            until(lambda: _quiet(operator), 120, "the beginning is over")
            writes, cpu, begin = operator.writes(), operator.cpu_seconds(), time.monotonic()
            time.sleep(IDLE)
            idle = time.monotonic() - begin
            figures = {
                "pools": float(POOLS),
                "idle: API writes per second": (operator.writes() - writes) / idle,
                "idle: cores": (operator.cpu_seconds() - cpu) / idle,
                "resident MiB": operator.resident_mib(),
                "round, mean s": operator.value("laneway_operator_round_seconds_sum")
                / operator.value("laneway_operator_round_seconds_count"),
            }
            lag = asyncio.run(lags(namespace, url, 100))
        finally:
            operator.stop()
    return {
        **figures,
        "decision lag, median s": lag[len(lag) // 2],
        "decision lag, p99 s": lag[round(0.99 * len(lag)) - 1],
    }


def _told(operator: Operator) -> float:
    """How many statuses have been written."""
    try:
        lines = operator.metrics().splitlines()
    except OSError:
        return 0
    ours = [line for line in lines if 'resource="workerpools/status"' in line and 'code="200"' in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in ours if line.startswith("laneway_operator_api_requests_total"))


def _quiet(operator: Operator) -> bool:
    """Whether no status is written for five seconds."""
    before = _told(operator)
    time.sleep(5)
    return _told(operator) == before


GOALS = {
    "first patch, p95 s": 2.0,
    "idle: API writes per second": 2.0,
    "idle: cores": 0.3,
    "resident MiB": 150.0,
    "decision lag, p99 s": 1.5,
}


def main() -> None:
    """Run what was asked for (both, by default), print the table, keep the figures."""
    asked = sys.argv[1:] or ["burst", "pools"]
    figures: dict[str, float] = {}
    for name in asked:
        figures |= {"burst": bursts, "pools": pools}[name]()
    rows = []
    for work, ours in figures.items():
        goal = GOALS.get(work)
        rows.append({"work": work, "ours": ours, "peer": None, "unit": "", "ratio": goal and ours and goal / ours,
                     "goal": goal, "met": goal is None or ours <= goal})  # fmt: skip
        print(
            f"{work:<36}{ours:>10.3f}" + (f"   goal {goal:g} {'met' if rows[-1]['met'] else 'MISSED'}" if goal else "")
        )
    Path("build/bench").mkdir(parents=True, exist_ok=True)
    Path("build/bench/operator-cluster.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
