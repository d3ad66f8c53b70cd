"""What a person does while `make up` runs."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from laneway.cli import discovery
from shop.notifications.v1.notifications_pb2 import SendEmailRequest
from tests.charts.queries import queries, selected, variables
from tests.fixtures.shop import RunningShop
from tests.fixtures.valkey import free_port

ROOT = Path(__file__).parents[3]
README = ROOT / "README.md"

ORDER = {
    "lines": [{"product": "products/lamp", "quantity": 1}],
    "email": "ada@example.org",
    "cardToken": "visa",
}


@pytest.fixture
def http(shop: RunningShop) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shop.url, timeout=15) as client:
        yield client


def shipped(http: httpx.Client, name: str) -> dict[str, Any]:
    """The order, when it has shipped."""
    deadline = time.monotonic() + 60
    while (order := http.get(f"/v1/{name}").json())["state"] != "SHIPPED":
        assert time.monotonic() < deadline, order
        time.sleep(0.05)
    return dict(order)


def test_an_order_over_http_ships_and_is_mailed(shop: RunningShop, http: httpx.Client) -> None:
    placed = http.post("/v1/orders", json=ORDER, headers={"Idempotency-Key": str(uuid.uuid4())})
    assert placed.status_code == 200
    name = placed.json()["name"]
    shipped(http, name)
    history = http.get(f"/v1/{name}/history").json()["entries"]
    assert [entry["event"] for entry in history] == ["OrderPlaced", "OrderClosed"]
    deadline = time.monotonic() + 30
    while not any(name in mail["subject"] for mail in httpx.get(shop.state["urls"]["mail"]).json()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def on(shop: RunningShop, *arguments: str) -> str:
    """What a command on the running shop prints."""
    ended = laneway(*arguments, "--data", str(shop.data))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_what_the_readme_says_to_type_works_as_printed(shop: RunningShop, http: httpx.Client) -> None:
    [typed] = [block for block in re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL) if "curl" in block]
    catalog = shop.state["processes"]["catalog"]["port"]
    assert discovery.service_names()[0] == "catalog", "which has the base port, 50051"
    here = typed.replace("http://127.0.0.1:8080", shop.url).replace("127.0.0.1:50051", f"127.0.0.1:{catalog}")
    here = here.replace(".venv/bin/python", sys.executable)

    ended = subprocess.run(["bash", "-euc", here], capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    placed, _ = json.JSONDecoder().raw_decode(ended.stdout)
    assert placed["state"] == "PLACED"
    assert ended.stdout.count(placed["name"]) == 2, "it is in the list"
    assert 'name: "products/lamp"' in ended.stdout
    shipped(http, placed["name"])


def test_the_log_of_a_running_service_is_shown_checked_and_its_view_rebuilt(
    shop: RunningShop, http: httpx.Client
) -> None:
    name = http.post("/v1/orders", json=ORDER, headers={"Idempotency-Key": str(uuid.uuid4())}).json()["name"]
    shipped(http, name)

    history = json.loads(on(shop, "events", "history", "orders", f"order/{name[7:]}", "--format", "json"))
    assert [event["type"] for event in history] == ["shop.orders.v1.OrderPlaced", "shop.orders.v1.OrderClosed"]
    rebuilt = on(shop, "events", "rebuild", "orders", "bestsellers")
    assert rebuilt.startswith("bestsellers: generation 2 is read now")
    assert http.get("/v1/bestsellers").json()["products"][0]["product"] == "products/lamp"
    assert on(shop, "events", "verify", "orders").startswith("orders: good")
    assert on(shop, "sagas", "resume", "fulfilment", f"fulfilment/{name}") in (
        f"fulfilment/{name}: nothing is due\n",
        f"fulfilment/{name}: capture\n",  # asked a moment before the payment was captured
    )


def test_top_shows_services_lanes_and_queues_of_what_runs(shop: RunningShop, http: httpx.Client) -> None:
    shipped(http, http.post("/v1/orders", json=ORDER, headers={"Idempotency-Key": str(uuid.uuid4())}).json()["name"])

    table = on(shop, "top")
    rows = {tuple(line.split()[:2]) for line in table.splitlines() if line}
    assert {("orders", "grpc"), ("orders", "worker"), ("gateway", "rest"), ("rest", "server")} <= rows
    assert "fulfilment.saga" in table
    assert "\x1b" not in table


ONLY_AFTER_A_FAILURE = {
    "laneway_breaker_transitions_total", "laneway_refusals_total", "laneway_retries_total",
    "laneway_fallbacks_total", "laneway_queue_duplicates_total",
}  # fmt: skip


def test_every_panel_and_alert_finds_data_in_a_shop_that_runs(shop: RunningShop, http: httpx.Client) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    shipped(http, http.post("/v1/orders", json=ORDER, headers=headers).json()["name"])
    http.post("/v1/orders", json=ORDER, headers=headers)

    samples = shop_samples(shop)
    for query in (*queries(), *variables()):
        for name, only in selected(query.text):
            if name == "up" or name.startswith("laneway_operator_") or name in ONLY_AFTER_A_FAILURE:
                continue
            wanted = {label: pattern(value) for label, value in only.items() if label != "code"}
            assert any(
                each.name == name and all(re.fullmatch(value, each.labels[label]) for label, value in wanted.items())
                for each in samples
            ), f"{query} finds no {name} {only}"


def pattern(value: str) -> str:
    """A selector's value, for whatever a person chooses in the dashboard."""
    return re.sub(r"\$\w+", ".*", value)


def shop_samples(shop: RunningShop) -> list[Any]:
    """What all processes tell, once the slowest has counted what it has in its database."""
    deadline = time.monotonic() + 30
    while True:
        samples = [
            sample
            for place in shop.state["processes"].values()
            if place["admin"]
            for family in text_string_to_metric_families(httpx.get(f"{place['admin']}/metrics").text)
            for sample in family.samples
        ]
        if any(each.name == "laneway_sagas_open" for each in samples) or time.monotonic() > deadline:
            return samples
        time.sleep(0.1)


def test_respond_async_gives_an_operation_that_ends_with_the_order(http: httpx.Client) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4()), "Prefer": "respond-async"}
    accepted = http.post("/v1/orders", json=ORDER, headers=headers)
    assert accepted.status_code == 202
    deadline = time.monotonic() + 30
    while not (operation := http.get(accepted.headers["Location"]).json()).get("done"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert operation["response"]["@type"] == "type.googleapis.com/shop.orders.v1.Order"
    shipped(http, operation["response"]["name"])


def test_a_repeated_key_is_one_order_and_another_payload_is_refused(http: httpx.Client) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first, again = [http.post("/v1/orders", json=ORDER, headers=key) for _ in range(2)]
    assert first.json() == again.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    other = http.post("/v1/orders", json={**ORDER, "email": "eve@example.org"}, headers=key)
    assert (other.status_code, other.json()["error"]["status"]) == (422, "INVALID_ARGUMENT")


def test_watching_an_order_is_a_stream_of_events(http: httpx.Client) -> None:
    placed = http.post("/v1/orders", json=ORDER, headers={"Idempotency-Key": str(uuid.uuid4())}).json()
    watch, accept = f"/v1/{placed['name']}:watch", {"Accept": "text/event-stream"}
    with http.stream("GET", watch, headers=accept) as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        lines = list(events.iter_lines())
    states = [json.loads(line.removeprefix("data:"))["state"] for line in lines if line.startswith("data:")]
    ids = [line.removeprefix("id: ") for line in lines if line.startswith("id:")]
    assert states == ["PLACED", "SHIPPED"]
    resumed = [http.get(watch, headers={**accept, "Last-Event-ID": id}).text.count("data:") for id in ids]
    assert resumed == [1, 0]


def test_a_dead_letter_is_redriven_and_arrives(shop: RunningShop) -> None:
    folder = ["--data", str(shop.data)]
    parked = (
        "INSERT INTO outbox (id, service, queue, method, payload, headers, due_at, attempts, created_at, parked_at, error)"
        " VALUES ('lost', 'notifications', 'email', 'shop.notifications.v1.Notifications.SendEmail', ?, '{}', 1, 8, 1, 1,"
        " 'SMTP 550')"
    )
    mail = SendEmailRequest(request_id="lost", to="ada@example.org", subject="Found again", body="Here.")
    with closing(sqlite3.connect(shop.data / "notifications.db")) as connection:
        connection.execute(parked, [mail.SerializeToString()])
        connection.commit()

    [letter] = json.loads(laneway("dead", "list", "--format", "json", *folder).stdout)
    assert (letter["id"], letter["producer"], letter["error"]) == ("lost", "notifications", "SMTP 550")
    assert laneway("dead", "redrive", "lost", *folder).stdout == "1 redriven\n"

    deadline = time.monotonic() + 30
    while not any(mail["subject"] == "Found again" for mail in httpx.get(shop.state["urls"]["mail"]).json()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert laneway("dead", "list", *folder).stderr == "There are none.\n"


def test_mistakes_are_answered_with_the_field_at_fault(http: httpx.Client) -> None:
    assert (
        http.get("/v1/orders?page_sise=1").json()["error"]["message"]
        == "The parameter `page_sise`: there is no such field."
    )
    assert http.get("/v1/orders/none").status_code == 404
    missing = http.post("/v1/orders", json=ORDER, headers={})
    assert (missing.status_code, missing.json()["error"]["details"][0]["reason"]) == (400, "IDEMPOTENCY_KEY_MISSING")
    wrong = http.delete("/v1/orders")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, POST")
    assert http.get("/nowhere").json()["error"]["status"] == "NOT_FOUND"


def test_a_grpc_call_through_reflection(shop: RunningShop, http: httpx.Client) -> None:
    http.post("/v1/orders", json=ORDER, headers={"Idempotency-Key": str(uuid.uuid4())}).raise_for_status()
    port = shop.state["processes"]["orders"]["port"]
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        [answer] = reflection.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        services = {service.name for service in answer.list_services_response.service}
        assert {"shop.orders.v1.Orders", "laneway.v1.Acceptor", "google.longrunning.Operations"} <= services
        wanted = reflection_pb2.ServerReflectionRequest(file_containing_symbol="shop.orders.v1.Orders")
        [answer] = reflection.ServerReflectionInfo(iter([wanted]))
        assert _list_orders(channel, answer.file_descriptor_response.file_descriptor_proto, http)
        health = health_pb2_grpc.HealthStub(channel)
        status = health.Check(health_pb2.HealthCheckRequest(service="shop.orders.v1.Orders")).status
        assert status == health_pb2.HealthCheckResponse.SERVING


def _list_orders(channel: grpc.Channel, files: Any, http: httpx.Client) -> bool:
    """Call a method with nothing but what reflection told."""
    from google.protobuf import descriptor_pb2
    from google.protobuf.message_factory import GetMessages

    protos = [descriptor_pb2.FileDescriptorProto.FromString(file) for file in files]
    [orders] = [proto for proto in protos if proto.name == "shop/orders/v1/orders.proto"]
    method = next(m for m in orders.service[0].method if m.name == "ListOrders")
    reply = GetMessages(protos)[method.output_type.removeprefix(".")]
    call = channel.unary_unary("/shop.orders.v1.Orders/ListOrders", response_deserializer=reply.FromString)
    return len(call(b"", timeout=10).orders) == len(http.get("/v1/orders").json()["orders"])


def test_a_taken_port_is_one_sentence_and_leaves_nothing_running(tmp_path: Any) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = laneway("up", "--port", str(port), "--base-port", "0", "--data", str(tmp_path))
    assert done.returncode == 2
    assert f"Port {port}, wanted by gateway-rest, is taken" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("LANEWAY_GRPC_PORT", "many", "LANEWAY_GRPC_PORT cannot be used"),
        ("LANEWAY_BROKER_URL", "amqp://x", "LANEWAY_BROKER_URL cannot be used"),
        ("LANEWAY_BROKKER_URL", "redis://x", "LANEWAY_BROKKER_URL is not a setting"),
        ("LANEWAY_TARGETS", "{", "LANEWAY_"),
    ],
)
def test_a_bad_setting_is_one_sentence(variable: str, value: str, sentence: str) -> None:
    done = laneway("run", "orders", "--role", "grpc", env={variable: value})
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_broker_that_is_not_there_is_one_sentence(tmp_path: Any) -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    done = laneway("up", "--port", "0", "--base-port", "0", "--data", str(tmp_path), env={"LANEWAY_BROKER_URL": url})
    assert done.returncode == 2
    assert "does not answer" in done.stderr


def test_an_unknown_service_names_those_there_are() -> None:
    done = laneway("run", "oders", "--role", "grpc")
    assert done.returncode == 2
    assert "There is no service `oders`; installed are: catalog, fulfilment, gateway" in done.stderr


def test_a_database_that_was_not_migrated_says_what_to_run(tmp_path: Any) -> None:
    done = laneway("run", "orders", "--role", "grpc", env={"LANEWAY_DATABASE_URL": f"sqlite:///{tmp_path}/x.db"})
    assert done.returncode == 2
    assert "laneway migrate" in done.stderr


def test_ctrl_c_stops_everything(tmp_path: Any) -> None:
    running = RunningShop(tmp_path)
    pids = running.pids()
    assert running.stop() == 0
    assert not [pid for pid in pids if _alive(pid)]
    assert not (tmp_path / "up.json").exists()


def test_a_sigterm_to_the_whole_group_is_an_orderly_stop(tmp_path: Any) -> None:
    running = RunningShop(tmp_path)
    pids = running.pids()
    assert running.stop_group() == 0
    assert not [pid for pid in pids if _alive(pid)]
    assert "started again" not in running.log()
    assert "Traceback" not in running.log()


def test_the_demo_prints_the_trace_of_a_shipped_order() -> None:
    done = laneway("demo")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "SHIPPED" in done.stdout
    for service in ("gateway", "orders", "inventory", "fulfilment", "payments", "notifications"):
        assert f"── {service} " in done.stdout
    for span in (
        "POST /v1/orders",
        "Orders/PlaceOrder",
        "publish fulfilment.saga",
        "process payments.provider",
        "SMTP send",
    ):
        assert span in done.stdout
    assert "parent not seen" not in done.stdout


def laneway(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LANEWAY_")}
    return subprocess.run(
        [sys.executable, "-m", "laneway.cli", *arguments],
        env={**clean, **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _alive(pid: int) -> bool:
    """Whether a process runs; what has ended and was not fetched by its parent yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
