"""The API server goes away under an operator that works, and comes back.

The operator is a process of this machine that reaches the API server through a proxy; the test and the cluster's own
parts reach it as ever. Its certificate is good for 127.0.0.1, as kind's and minikube's are.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from laneway_operator.apply import FIRST_TO_GO
from laneway_operator.kube import DELETION_COST
from laneway_operator.lease import DEADLINE
from tests.e2e.operator.conftest import Say
from tests.e2e.operator.kubectl import Namespace, run, until
from tests.e2e.operator.plain_celery import Producer, broker, producer_for, quick_pool, workers
from tests.e2e.operator.process import Operator
from tests.fixtures.proxy import Proxy, proxy

DRAIN = "laneway:drain:celery"


@asynccontextmanager
async def through_a_proxy(namespace: Namespace, folder: Path) -> AsyncIterator[tuple[Operator, Proxy]]:
    """An operator for a namespace, and the proxy before its API server."""
    config = json.loads(run("kubectl", "config", "view", "--raw", "--minify", "--flatten", "--output", "json"))
    cluster = config["clusters"][0]["cluster"]
    server = urlsplit(cluster["server"])
    async with proxy(server.port or 443, host=server.hostname or "") as before:
        cluster["server"] = f"https://127.0.0.1:{before.port}"
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(json.dumps(config))
        operator = Operator(namespace.name, kubeconfig=kubeconfig)
        try:
            yield operator, before
        finally:
            before.go_on()
            await asyncio.to_thread(operator.stop)


async def soon(fact: Callable[[], bool], within: float, what: str) -> float:
    """`until`, while the proxy works."""
    return await asyncio.to_thread(until, fact, within, what)


@pytest.mark.parametrize("how", ["it is gone", "it says nothing"])
async def test_while_the_api_server_is_away_nothing_scales_in_and_within_three_seconds_of_its_return_it_is_decided(
    new_namespace: Callable[[], Namespace], tmp_path: Path, figure: Say, how: str
) -> None:
    there = new_namespace()
    there.apply(*broker(), *workers(report=True))
    there.kubectl("rollout", "status", "deployment/valkey", "--timeout=60s")
    with producer_for(there) as producer:
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "broker"},
            "stringData": {"url": producer.url},
        }
        there.apply(secret, quick_pool(maxReplicas=8))
        async with through_a_proxy(there, tmp_path) as (operator, before):
            await worked(there, producer)
            pods, begin = there.replicas("worker"), time.monotonic()
            before.refuse() if how == "it is gone" else before.stall()
            known = await soon(lambda: operator.value("laneway_operator_api_reachable") == 0, 10, "it is noticed")
            await soon(lambda: not drained(there, producer), 2, "who was told to drain before that consumes again")
            while time.monotonic() - begin < DEADLINE + 5:
                assert not drained(there, producer), "a pod was told to drain"
                await asyncio.sleep(0.2)
            assert operator.value("laneway_operator_leader") == 0
            assert there.replicas("worker") == pods
            await asyncio.to_thread(producer.send, 400, 1.0)

            before.go_on()
            back = await soon(lambda: there.replicas("worker") > pods, 20, "it decides")
            await soon(lambda: "ClusterUnknown" in reasons(there), 10, "what was decided meanwhile is told")
            assert operator.value("laneway_operator_api_reachable") == 1
            figure(f"API server away ({how}): noticed, and decided after its return", f"{known:.1f} s, {back:.1f} s")
            assert known <= 5
            assert back <= 3


def drained(there: Namespace, producer: Producer) -> set[str]:
    """Who is told to drain, but for pods that a patch without an answer may still delete."""
    told = {name.decode() for name in producer.client.smembers(DRAIN)}
    found = [pod["metadata"] for pod in there.list("pods")] if told else []
    first_to_go = {pod["name"] for pod in found if pod.get("annotations", {}).get(DELETION_COST) == str(FIRST_TO_GO)}
    return told - first_to_go


async def worked(there: Namespace, producer: Producer) -> None:
    """A few tasks are done, by fewer pods than the pool may have: now they want to go."""
    await asyncio.to_thread(producer.send, 24, 1.0)
    await soon(lambda: len(producer.record("ended")) == 24, 90, "the tasks are done")
    await soon(lambda: there.get("wp", "worker")["status"].get("accuracy") == "Full", 20, "the workers are known")


def reasons(there: Namespace) -> set[str]:
    return {each["reason"] for each in there.list("events", "--field-selector=involvedObject.kind=WorkerPool")}
