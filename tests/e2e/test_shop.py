"""The shop as its users have it: installed by helm, ordered from by REST and gRPC, killed, restarted, upgraded, removed.

In the order of the file: each test leaves a shop that works, but for the last, which removes it.
"""

import asyncio
import io
import json
import re
import uuid
from collections.abc import Callable
from decimal import Decimal

import grpc.aio
import httpx
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from rich.console import Console

from laneway.cli.trace_tree import print_trace
from laneway.cli.traces import fetch_from_jaeger
from laneway.errors import NotFound
from shop.orders.v1.orders_pb2 import Order, PlaceOrderRequest
from tests.e2e.conftest import IMAGE, RELEASE, Shop, image_values
from tests.e2e.kube import run
from tests.e2e.orders import ORDER, Customers, all_ended
from tests.tracing.language import Trace
from tests.tracing.walk import chosen, missing

NEXT = "docker.io/laneway/laneway:next"
OURS = f"app.kubernetes.io/part-of={RELEASE}"
OUTSIDE = ("jaeger", "prometheus", "mailbox", "provider")
"""What an order does not go through, or is not ours."""

UNITS = {"": 1, "m": Decimal("0.001"), "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}

Say = Callable[[str, object], None]


def amount(quantity: str) -> Decimal:
    """A quantity of Kubernetes as a number."""
    digits = quantity.rstrip("KMGim")
    return Decimal(digits) * UNITS[quantity[len(digits) :]]


async def mail_about(shop: Shop, order: str, within: float = 30) -> None:
    """Wait for an e-mail that names an order."""
    async with (
        shop.namespace.forwarded(f"svc/{RELEASE}-mailbox", 8025) as port,
        httpx.AsyncClient() as client,
        asyncio.timeout(within),
    ):
        while True:
            mails = (await client.get(f"http://127.0.0.1:{port}/mail")).json()
            if any(order in mail["subject"] for mail in mails):
                return
            await asyncio.sleep(0.5)


async def none_was_refused(shop: Shop, customers: Customers) -> None:
    """Fails with where the time of the first who were refused has gone."""
    if not customers.refusals:
        return
    told = io.StringIO()
    async with shop.namespace.forwarded(f"svc/{RELEASE}-jaeger", 16686) as jaeger:
        for trace_id in customers.traces[:2]:
            try:
                spans = await asyncio.to_thread(fetch_from_jaeger, trace_id, f"http://127.0.0.1:{jaeger}")
            except NotFound as error:
                print(error.message, file=told)
            else:
                print_trace(spans, trace_id, Console(file=told))
    pytest.fail(f"{customers.summary()}, {customers.refusals}\n{told.getvalue()}")


def test_it_installs_within_a_laptops_budget_and_restarts_nothing(shop: Shop, figure: Say) -> None:
    containers = [each for pod in shop.namespace.pods() for each in pod["spec"]["containers"]]
    requests = {
        kind: sum(amount(container["resources"]["requests"][kind]) for container in containers)
        for kind in ("cpu", "memory")
    }
    [size] = {
        image["sizeBytes"]
        for node in json.loads(run("kubectl", "get", "nodes", "-o", "json"))["items"]
        for image in node["status"]["images"]
        if IMAGE in (image.get("names") or ())
    }
    figure("image", f"{size / 1e6:.0f} MB")
    assert size <= 250e6
    figure("seconds until everything was ready", f"{shop.seconds_to_ready:.1f}")
    figure("requests", f"{requests['cpu']} CPU, {requests['memory'] / 2**20} MiB, {len(containers)} containers")
    assert requests["cpu"] <= 1
    assert requests["memory"] <= Decimal("1.5") * 2**30
    assert shop.seconds_to_ready <= 90
    assert set(shop.namespace.restarts().values()) == {0}


async def test_an_order_over_rest_ships_and_its_mail_arrives(shop: Shop) -> None:
    async with httpx.AsyncClient(base_url=shop.url, timeout=15) as client:
        placed = await client.post("/v1/orders", json=ORDER, headers={"Idempotency-Key": str(uuid.uuid4())})
    assert placed.status_code == httpx.codes.OK, placed.text
    name = placed.json()["name"]
    assert await all_ended(shop.url, [name], within=30) == {"SHIPPED": 1}
    await mail_about(shop, name)


async def test_an_order_over_grpc_ships_and_reflection_tells_how_to_place_it(shop: Shop) -> None:
    async with (
        shop.namespace.forwarded(f"svc/{RELEASE}-orders", 50051) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        ask = reflection_pb2.ServerReflectionRequest(file_containing_symbol="shop.orders.v1.Orders")
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        [told] = [reply async for reply in stub.ServerReflectionInfo(iter([ask]), timeout=10)]
        assert told.file_descriptor_response.file_descriptor_proto
        request = PlaceOrderRequest(request_id=str(uuid.uuid4()), email="ada@example.org", card_token="visa")
        request.lines.add(product="products/book", quantity=1)
        place = channel.unary_unary(
            "/shop.orders.v1.Orders/PlaceOrder", PlaceOrderRequest.SerializeToString, Order.FromString
        )
        order = await place(request, timeout=10)
    assert await all_ended(shop.url, [order.name], within=30) == {"SHIPPED": 1}


def test_helm_test_walks_and_finds_its_own_trace_whole(shop: Shop) -> None:
    said = shop.namespace.helm("test", RELEASE, "--logs", "--timeout", "120s")
    assert "spans of 7 services, all connected" in said


async def test_an_order_is_one_trace_in_jaeger_under_the_id_that_its_caller_chose(shop: Shop) -> None:
    trace_id, traceparent = chosen()
    request = PlaceOrderRequest(request_id=str(uuid.uuid4()), email="ada@example.org", card_token="visa")
    request.lines.add(product="products/book", quantity=1)
    async with (
        shop.namespace.forwarded(f"svc/{RELEASE}-orders", 50051) as orders,
        shop.namespace.forwarded(f"svc/{RELEASE}-jaeger", 16686) as jaeger,
        grpc.aio.insecure_channel(f"127.0.0.1:{orders}") as channel,
    ):
        place = channel.unary_unary(
            "/shop.orders.v1.Orders/PlaceOrder", PlaceOrderRequest.SerializeToString, Order.FromString
        )
        await place(request, timeout=10, metadata=(("traceparent", traceparent),))
        async with asyncio.timeout(60):
            while absent := await asyncio.to_thread(_absent, trace_id, f"http://127.0.0.1:{jaeger}"):
                await asyncio.sleep(0.5)
    assert absent == []


def _absent(trace_id: str, jaeger: str) -> list[str]:
    try:
        return missing(Trace(fetch_from_jaeger(trace_id, jaeger)))
    except NotFound as error:
        return [error.message]


async def test_the_commands_of_the_notes_work_as_they_are_printed(shop: Shop) -> None:
    notes = json.loads(shop.namespace.helm("status", RELEASE, "-o", "json"))["info"]["notes"]
    forwards = re.findall(r"^  kubectl -n (\S+) port-forward (\S+) (\d+):(\d+)$", notes, re.MULTILINE)
    [order] = re.findall(r"-d '(\{.*\})'", notes)
    assert len(forwards) >= 4, notes
    for namespace, target, local, remote in forwards:
        assert namespace == shop.namespace.name
        [page] = set(re.findall(rf"http://127\.0\.0\.1:{local}(\S*)", notes)) - {"/healthz"}
        async with shop.namespace.forwarded(target, int(remote)) as port, httpx.AsyncClient() as client:
            url = f"http://127.0.0.1:{port}{page}"
            key = {"Idempotency-Key": f"notes-{uuid.uuid4()}", "Content-Type": "application/json"}
            ordering = page == "/v1/orders"
            answer = await (client.post(url, content=order, headers=key) if ordering else client.get(url))
            assert answer.status_code in (httpx.codes.OK, httpx.codes.FOUND), (target, answer.text)


def test_a_pod_has_its_own_services_secret_and_no_token_of_the_cluster(shop: Shop) -> None:
    for pod in shop.namespace.pods(OURS):
        service = pod["metadata"]["labels"]["app.kubernetes.io/name"]
        named = {
            variable["valueFrom"]["secretKeyRef"]["name"]
            for variable in pod["spec"]["containers"][0]["env"]
            if "secretKeyRef" in variable.get("valueFrom", {})
        }
        assert named <= {f"{RELEASE}-{service}"}
        assert pod["spec"]["automountServiceAccountToken"] is False


def test_a_service_may_neither_read_nor_remove_the_queues_of_another(shop: Shop) -> None:
    def valkey(*command: str) -> str:
        return shop.namespace.kubectl(
            "exec", f"deployment/{RELEASE}-orders", "--", "python", "-c",
            "import os, sys, redis; r = redis.Redis.from_url(os.environ['LANEWAY_BROKER_URL'])\n"
            "try: print(r.execute_command(*sys.argv[1:]))\n"
            "except redis.exceptions.NoPermissionError as error: print('refused:', error)", *command,
        )  # fmt: skip

    assert "refused" not in valkey("LLEN", "orders.events")
    for command in (
        "LRANGE payments.provider 0 -1",
        "DEL payments.provider",
        "FLUSHALL",
        "CONFIG GET *",
        "KEYS *",
        "SCAN 0",
    ):
        assert "refused" in valkey(*command.split()), command


async def test_a_rolling_restart_under_load_fails_no_request(shop: Shop, figure: Say) -> None:
    async with Customers(shop.url, rate=4) as customers:
        shop.namespace.kubectl("rollout", "restart", "deployment", "-l", OURS)
        await shop.namespace.rolled_out(OURS)
        await shop.namespace.drained()
    figure("answers during a rolling restart", customers.summary())
    await none_was_refused(shop, customers)
    assert await all_ended(shop.url, customers.acknowledged) == {"SHIPPED": len(customers.acknowledged)}


async def test_an_upgrade_with_a_migration_a_policy_and_a_rollback_fail_no_request(shop: Shop, figure: Say) -> None:
    revisions = json.loads(shop.namespace.helm("history", RELEASE, "-o", "json"))
    revision = max(each["revision"] for each in revisions)
    # Each order costs the node 0.15 s of a processor, and both ways start every pod at once, which fills two.
    async with Customers(shop.url, rate=2) as customers:
        policy = {"methods": {"shop.orders.v1.Orders.GetOrder": {"deadline": "2.5s"}}}
        await asyncio.to_thread(shop.upgrade, *image_values(NEXT), "--set-json", f"laneway.policy={json.dumps(policy)}")
        images = {each["image"] for pod in shop.namespace.pods(OURS) for each in pod["spec"]["containers"]}
        assert images == {NEXT}
        columns = shop.namespace.kubectl(
            "exec", f"{RELEASE}-postgresql-0", "--", "psql", "-U", "postgres", "-d", "orders", "-Atc",
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'orders'",
        )  # fmt: skip
        assert "remark" in columns.split()
        await asyncio.to_thread(shop.namespace.helm, "rollback", RELEASE, str(revision), "--wait", "--timeout", "180s")
        await shop.namespace.drained()
    figure("answers during upgrade and rollback", customers.summary())
    await none_was_refused(shop, customers)
    assert await all_ended(shop.url, customers.acknowledged) == {"SHIPPED": len(customers.acknowledged)}


async def test_a_changed_policy_is_in_force_without_a_restart(shop: Shop) -> None:
    before = set(shop.namespace.restarts())  # without the pods of migrations, of which each revision has one
    async with httpx.AsyncClient(base_url=shop.url, timeout=15) as client:
        for deadline, status in (("0.001s", httpx.codes.GATEWAY_TIMEOUT), ("3s", httpx.codes.OK)):
            policy = {"methods": {"shop.orders.v1.Orders.ListOrders": {"deadline": deadline}}}
            await asyncio.to_thread(shop.upgrade, "--set-json", f"laneway.policy={json.dumps(policy)}")
            # A kubelet brings a changed ConfigMap within about a minute, and at once to a pod that is touched.
            shop.namespace.kubectl("annotate", "pods", "--all", "--overwrite", f"laneway.dev/touched={deadline}")
            async with asyncio.timeout(120):
                while (await client.get("/v1/orders")).status_code != status:
                    await asyncio.sleep(0.5)
    assert set(shop.namespace.restarts()) == before


async def test_killing_everything_once_loses_no_order(shop: Shop, figure: Say) -> None:
    before = shop.namespace.restarts()  # of what serves: the job of the last upgrade may run still
    named = {pod["metadata"]["name"]: pod for pod in shop.namespace.pods()}
    outside = tuple(f"{RELEASE}-{name}" for name in OUTSIDE)
    victims = [pod for name, pod in sorted(named.items()) if name in before and not name.startswith(outside)]
    edge_away: list[float] = []
    async with Customers(shop.url, rate=3) as customers:
        for victim in victims:
            begin = customers.seconds
            shop.namespace.kill(victim)
            await shop.namespace.restarted(victim, before)
            if victim["metadata"]["name"].startswith(f"{RELEASE}-gateway"):
                await shop.namespace.settled()  # before, what answers may be away from its Service again
                await customers.answered()
                edge_away = [begin, customers.seconds]
        await shop.namespace.settled()
    figure(f"answers while {len(victims)} containers were killed once each", customers.summary())
    assert await all_ended(shop.url, customers.acknowledged) == {"SHIPPED": len(customers.acknowledged)}
    answered = {what for _, what in customers.refusals if what[0].isdigit()}
    assert answered <= {"503 with Retry-After", "504 with Retry-After"}
    unanswered = [moment for moment, what in customers.refusals if not what[0].isdigit()]
    assert all(edge_away[0] <= moment <= edge_away[1] for moment in unanswered), (edge_away, unanswered)
    after = shop.namespace.restarts()
    assert set(after) == set(before), "the pods are those that were there"
    assert {name for name, count in before.items() if after[name] == count + 1} == {
        victim["metadata"]["name"] for victim in victims
    }


async def test_while_the_stock_cannot_be_looked_up_orders_are_taken_and_marked_degraded(shop: Shop) -> None:
    async with (
        httpx.AsyncClient(base_url=shop.url, timeout=15) as client,
        shop.namespace.away(f"deployment/{RELEASE}-inventory"),
    ):
        answer = await client.post("/v1/orders", json=ORDER, headers={"Idempotency-Key": str(uuid.uuid4())})
    assert (answer.status_code, bool(answer.headers.get("laneway-degraded"))) == (httpx.codes.OK, True), answer.text
    assert await all_ended(shop.url, [answer.json()["name"]]) == {"SHIPPED": 1}


async def test_without_a_database_the_edge_says_when_to_come_again(shop: Shop) -> None:
    async with (
        httpx.AsyncClient(base_url=shop.url, timeout=15) as client,
        shop.namespace.away(f"statefulset/{RELEASE}-postgresql"),
    ):
        answer = await client.post("/v1/orders", json=ORDER, headers={"Idempotency-Key": str(uuid.uuid4())})
    assert answer.status_code in (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.GATEWAY_TIMEOUT), answer.text
    assert answer.headers["retry-after"]
    await shop.namespace.settled()


async def test_uninstalling_leaves_nothing_but_what_is_to_be_kept(shop: Shop) -> None:
    shop.namespace.helm("uninstall", RELEASE, "--wait", "--timeout", "120s")
    await shop.namespace.drained()
    kinds = (
        "pods,deployments,statefulsets,jobs,services,configmaps,secrets,persistentvolumeclaims,networkpolicies,"
        "serviceaccounts,roles,rolebindings,poddisruptionbudgets,horizontalpodautoscalers,ingresses,leases"
    )
    left = {f"{each['kind']}/{each['metadata']['name']}" for each in shop.namespace.get(kinds)}
    assert left == {f"PersistentVolumeClaim/{RELEASE}-jaeger", "ConfigMap/kube-root-ca.crt", "ServiceAccount/default"}
