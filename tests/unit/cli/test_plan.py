"""What `laneway up` would run."""

import itertools
import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

from rich.console import Console

from laneway.cli.discovery import Installed
from laneway.cli.up.output import print_table
from laneway.cli.up.plan import Options, Plan, Ready, Stage, make_plan

SERVICES = [
    Installed("gateway", ("rest",), database=False),
    Installed("orders", ("grpc", "worker"), queues=("orders.placing",)),
    Installed("stock", ("grpc",)),
]
OPTIONS = Options(host="127.0.0.1", port=8080, data=Path("/data"))


def plan_of(options: Options = OPTIONS, broker: Path | None = Path("/bin/valkey-server")) -> Plan:
    return make_plan(
        SERVICES, ["provider"], options, ports=itertools.count(50051), edge_ports=itertools.count(8080), broker=broker
    )


def test_every_role_is_a_process_and_stages_rise_to_the_edge() -> None:
    plan = plan_of()

    assert [(each.name, each.stage) for each in plan.processes] == [
        ("valkey", Stage.INFRASTRUCTURE),
        ("provider", Stage.INFRASTRUCTURE),
        ("orders", Stage.SERVER),
        ("stock", Stage.SERVER),
        ("orders-worker", Stage.WORKER),
        ("gateway-rest", Stage.EDGE),
    ]


def test_what_computes_has_a_process_beside_what_waits() -> None:
    both = Installed("maps", ("grpc", "worker", "cpu-worker"), queues=("maps.mail",), cpu_queues=("maps.draw",))
    ports, edge_ports = itertools.count(50051), itertools.count(8080)
    plan = make_plan([both], (), OPTIONS, ports=ports, edge_ports=edge_ports, broker=None)
    workers = [each for each in plan.processes if each.stage is Stage.WORKER]
    assert [(each.name, each.queues, each.command[-1]) for each in workers] == [
        ("maps-worker", ("maps.mail",), "worker"),
        ("maps-cpu-worker", ("maps.draw",), "cpu-worker"),
    ]


def test_what_runs_where_is_told_once_and_in_full_however_narrow_it_is_shown() -> None:
    services = [replace(each, queues=("orders.placing", f"orders.{'long' * 20}")) for each in SERVICES]
    plan = make_plan(
        services, ["provider"], OPTIONS, ports=itertools.count(50051), edge_ports=itertools.count(8080), broker=None
    )
    told = StringIO()
    print_table(Console(file=told, width=40), plan, {"orders": 1})
    lines = [line.split() for line in told.getvalue().splitlines()]

    assert ["orders-worker", "orders.placing", f"orders.{'long' * 20}"] in lines
    assert [line[-1] for line in lines].count("http://127.0.0.1:8080") == 1
    assert sorted(line[0] for line in lines) == [
        "gateway-rest", "mail", "orders", "orders-worker", "process", "provider", "stock", "traces",
    ]  # fmt: skip


def test_no_two_things_want_one_port() -> None:
    wanted = plan_of().wanted()

    assert sorted(want.port for want in wanted) == [8080, *range(50051, 50061)]


def test_every_service_knows_where_all_others_are() -> None:
    plan = plan_of()
    servers = {each.name: each.port for each in plan.processes if each.ready is Ready.HEALTHY}

    for process in plan.processes:
        if process.stage is not Stage.INFRASTRUCTURE:
            assert json.loads(process.environment["LANEWAY_TARGETS"]) == {
                "orders": f"127.0.0.1:{servers['orders']}",
                "stock": f"127.0.0.1:{servers['stock']}",
            }


def test_each_process_is_told_its_own_port() -> None:
    by_name = {each.name: each for each in plan_of().processes}

    assert by_name["orders"].environment["LANEWAY_GRPC_PORT"] == str(by_name["orders"].port)
    assert by_name["gateway-rest"].environment["LANEWAY_REST_PORT"] == "8080"
    assert by_name["provider"].environment["PORT"] == str(by_name["provider"].port)


def test_each_process_of_a_service_tells_of_itself_on_a_port_of_its_own() -> None:
    running = [each for each in plan_of().processes if each.stage is not Stage.INFRASTRUCTURE]

    assert [each.environment["LANEWAY_ADMIN_PORT"] for each in running] == [str(each.admin_port) for each in running]
    assert len({each.admin_port for each in running}) == len(running)


def test_each_instance_has_a_name_of_its_own_that_outlives_it() -> None:
    running = [each for each in plan_of().processes if each.stage is not Stage.INFRASTRUCTURE]

    assert [each.environment["LANEWAY_INSTANCE"] for each in running] == [each.name for each in running]


def test_services_learn_where_companions_mail_traces_and_databases_are() -> None:
    plan = plan_of()
    provider = next(each for each in plan.processes if each.name == "provider")
    environment = plan.processes[-1].environment

    assert environment["PROVIDER_URL"] == f"http://127.0.0.1:{provider.port}"
    assert environment["SMTP_URL"] == f"smtp://127.0.0.1:{plan.smtp_port}"
    assert environment["LANEWAY_OTLP_ENDPOINT"] == plan.own_url
    assert environment["LANEWAY_DATABASE_URL"] == "sqlite:////data/{service}.db"


def test_what_the_operator_named_is_used_and_not_started() -> None:
    chosen = replace(
        OPTIONS,
        broker_url="redis://broker/0",
        database_url="postgresql://db/{service}",
        otlp_endpoint="http://collector:4318",
        smtp_url="smtp://mail:25",
    )

    plan = plan_of(chosen, broker=None)

    environment = plan.processes[-1].environment
    assert "valkey" not in {each.name for each in plan.processes}
    assert environment["LANEWAY_BROKER_URL"] == "redis://broker/0"
    assert environment["LANEWAY_DATABASE_URL"] == "postgresql://db/{service}"
    assert environment["LANEWAY_OTLP_ENDPOINT"] == "http://collector:4318"
    assert environment["SMTP_URL"] == "smtp://mail:25"


def test_services_on_all_interfaces_are_called_on_this_machine() -> None:
    plan = plan_of(replace(OPTIONS, host="0.0.0.0"))

    assert json.loads(plan.processes[-1].environment["LANEWAY_TARGETS"])["orders"] == "127.0.0.1:50051"
    assert plan.edge_url == "http://127.0.0.1:8080"


def test_without_an_edge_there_is_no_url() -> None:
    ports = itertools.count(50051)

    plan = make_plan(SERVICES[1:], [], OPTIONS, ports=ports, edge_ports=ports, broker=None)

    assert plan.edge_url is None
    assert plan.urls == {"mail": plan.mail_url, "traces": f"{plan.own_url}/traces"}
