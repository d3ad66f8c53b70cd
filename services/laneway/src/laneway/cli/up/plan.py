"""What `laneway up` runs: processes with their ports, surroundings and order. Pure: starts nothing, asks no system."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, IntEnum
from pathlib import Path

from laneway.cli.discovery import Installed
from laneway.cli.embedded import valkey
from laneway.cli.up.ports import Wanted

BASE_REMEDY = "choose others with --base-port (LANEWAY_GRPC_PORT), of which 0 finds free ones"
EDGE_REMEDY = "choose another with --port (LANEWAY_REST_PORT), of which 0 finds a free one"
LOCAL = "127.0.0.1"
COMPANION = "companion"
FAULTS = "faults"
"""The folder, in that of the data, where `laneway fault` says what is to go wrong."""

NOT_FOR_CHILDREN = frozenset({"LANEWAY_ADMIN_PORT"})
"""Settings of one process, which must not be those of all."""


class Stage(IntEnum):
    """Processes start by stage, upwards, and stop downwards: first the edge, last what all others need."""

    INFRASTRUCTURE = 0
    SERVER = 1
    WORKER = 2
    EDGE = 3


class Ready(Enum):
    """How a process shows that it is ready."""

    RUNS = "runs"
    ACCEPTS = "accepts connections"
    HEALTHY = "reports healthy over gRPC"
    PONG = "answers PING"


@dataclass(frozen=True, slots=True)
class Process:
    """A process to be kept running.

    `service` shares a colour, and `role` is what it does for it.
    `command` are arguments of `laneway`, or of `program` if there is one. `log` is where it writes what it does not
    print, and `where` is shown to people. `queues` are those that it consumes, by their names in the broker.
    `admin_port` is where it tells its metrics and its health.
    """

    name: str
    service: str
    role: str
    stage: Stage
    command: tuple[str, ...]
    environment: Mapping[str, str]
    ready: Ready = Ready.RUNS
    host: str = LOCAL
    port: int | None = None
    program: Path | None = None
    log: Path | None = None
    where: str = ""
    queues: tuple[str, ...] = ()
    admin_port: int | None = None

    def telling_at(self, port: int) -> "Process":
        """The same process, with its admin port."""
        return replace(self, admin_port=port, environment={**self.environment, "LANEWAY_ADMIN_PORT": str(port)})


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator chose. A `None` URL asks for an embedded server."""

    host: str
    port: int
    data: Path
    broker_url: str | None = None
    database_url: str | None = None
    otlp_endpoint: str | None = None
    smtp_url: str | None = None
    log_format: str = "text"
    log_level: str = "INFO"
    most_workers: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """All that runs, and where the supervisor's own servers listen."""

    processes: tuple[Process, ...]
    http_port: int
    smtp_port: int
    broker_url: str
    database_url: str
    edge_url: str | None
    data: Path

    @property
    def own_url(self) -> str:
        """The supervisor's HTTP server: traces and mails."""
        return f"http://{LOCAL}:{self.http_port}"

    @property
    def mail_url(self) -> str:
        """What the embedded mail server has received."""
        return f"{self.own_url}/mail"

    @property
    def urls(self) -> Mapping[str, str]:
        """What a person may open."""
        edge = {"gateway": self.edge_url} if self.edge_url else {}
        companions = {each.name: each.where for each in self.processes if each.role == COMPANION}
        return {**edge, "mail": self.mail_url, "traces": f"{self.own_url}/traces", **companions}

    def wanted(self) -> Sequence[Wanted]:
        """Every port that must be free."""
        of_processes = [
            Wanted(each.host, each.port, each.name, EDGE_REMEDY if each.stage is Stage.EDGE else BASE_REMEDY)
            for each in self.processes
            if each.port is not None
        ]
        told = [
            Wanted(each.host, each.admin_port, f"the metrics of {each.name}", BASE_REMEDY)
            for each in self.processes
            if each.admin_port is not None
        ]
        own = [
            Wanted(LOCAL, self.http_port, "the embedded collector", BASE_REMEDY),
            Wanted(LOCAL, self.smtp_port, "the embedded mail server", BASE_REMEDY),
        ]
        return [*of_processes, *own, *told]


def reachable(host: str) -> str:
    """Where this machine finds a server that listens on a host."""
    return LOCAL if host in ("0.0.0.0", "::") else host


def make_plan(
    services: Sequence[Installed],
    companions: Sequence[str],
    options: Options,
    *,
    ports: Iterator[int],
    edge_ports: Iterator[int],
    broker: Path | None,
) -> Plan:
    """The plan for a set of services. `broker` is the embedded server's program, if `options` name no broker.

    A companion's address reaches every service as `<NAME>_URL`. A process keeps its instance name when it is started
    again, and with it the lease that it held.
    """
    grpc_ports = {each.name: next(ports) for each in services if "grpc" in each.roles}
    companion_ports = {name: next(ports) for name in companions}
    broker_port, http_port, smtp_port = next(ports), next(ports), next(ports)
    host = reachable(options.host)
    broker_url = options.broker_url or f"redis://{LOCAL}:{broker_port}/0"
    database_url = options.database_url or f"sqlite:///{options.data}/{{service}}.db"
    shared = {
        "LANEWAY_HOST": options.host,
        "LANEWAY_BROKER_URL": broker_url,
        "LANEWAY_DATABASE_URL": database_url,
        "LANEWAY_TARGETS": json.dumps({name: f"{host}:{port}" for name, port in grpc_ports.items()}),
        "LANEWAY_OTLP_ENDPOINT": options.otlp_endpoint or f"http://{LOCAL}:{http_port}",
        "LANEWAY_FAULT_FOLDER": str(options.data / FAULTS),
        "LANEWAY_LOG_FORMAT": options.log_format,
        "LANEWAY_LOG_LEVEL": options.log_level,
        "SMTP_URL": options.smtp_url or f"smtp://{LOCAL}:{smtp_port}",
        **{f"{_variable(name)}_URL": f"http://{LOCAL}:{port}" for name, port in companion_ports.items()},
    }
    processes: list[Process] = []
    if broker is not None:
        processes.append(_broker(broker, broker_port, options.data))
    processes += [_companion(name, port, options.data) for name, port in companion_ports.items()]
    processes += [_server(name, port, options.host, shared) for name, port in grpc_ports.items()]
    workers = [(each.name, *kind) for each in services for kind in _kinds(each)]
    processes += [_worker(*each, options.host, shared, options.most_workers) for each in workers]
    edges = [_edge(each.name, next(edge_ports), options.host, shared) for each in services if "rest" in each.roles]
    ours = (Stage.SERVER, Stage.WORKER, Stage.EDGE)
    told = [each.telling_at(next(ports)) if each.stage in ours else each for each in (*processes, *edges)]
    return Plan(
        processes=tuple(told),
        http_port=http_port,
        smtp_port=smtp_port,
        broker_url=broker_url,
        database_url=database_url,
        edge_url=f"http://{host}:{edges[0].port}" if edges else None,
        data=options.data,
    )


def _broker(program: Path, port: int, data: Path) -> Process:
    return Process(
        name="valkey",
        service="valkey",
        role="broker",
        stage=Stage.INFRASTRUCTURE,
        command=valkey.server_arguments(data / "valkey", port),
        environment={},
        ready=Ready.PONG,
        port=port,
        program=program,
        log=valkey.log_file(data / "valkey"),
        where=f"redis://{LOCAL}:{port}/0",
    )


def _companion(name: str, port: int, data: Path) -> Process:
    return Process(
        name=name,
        service=name,
        role=COMPANION,
        stage=Stage.INFRASTRUCTURE,
        command=("companion", name),
        environment={"PORT": str(port), "DATA": str(data)},
        ready=Ready.ACCEPTS,
        port=port,
        where=f"http://{LOCAL}:{port}",
    )


def _server(service: str, port: int, host: str, shared: Mapping[str, str]) -> Process:
    return Process(
        name=service,
        service=service,
        role="grpc",
        stage=Stage.SERVER,
        command=("run", service, "--role", "grpc"),
        environment={**shared, "LANEWAY_INSTANCE": service, "LANEWAY_GRPC_PORT": str(port)},
        ready=Ready.HEALTHY,
        host=host,
        port=port,
        where=f"{host}:{port}",
    )


def _kinds(service: Installed) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The roles of a service that consume queues, and which."""
    for role, queues in (("worker", service.queues), ("cpu-worker", service.cpu_queues)):
        if role in service.roles:
            yield role, queues


def _worker(
    service: str, role: str, queues: tuple[str, ...], host: str, shared: Mapping[str, str], most: int
) -> Process:
    name = f"{service}-{role}"
    return Process(
        name=name,
        service=service,
        role=role,
        stage=Stage.WORKER,
        command=("run", service, "--role", role),
        environment={**shared, "LANEWAY_INSTANCE": name},
        host=host,
        where=" ".join(queues) + (f" (1 to {most} processes, by load)" if most > 1 else ""),
        queues=queues,
    )


def _edge(service: str, port: int, host: str, shared: Mapping[str, str]) -> Process:
    return Process(
        name=f"{service}-rest",
        service=service,
        role="rest",
        stage=Stage.EDGE,
        command=("run", service, "--role", "rest"),
        environment={**shared, "LANEWAY_INSTANCE": f"{service}-rest", "LANEWAY_REST_PORT": str(port)},
        ready=Ready.ACCEPTS,
        host=host,
        port=port,
        where=f"http://{host}:{port}",
    )


def _variable(name: str) -> str:
    return name.upper().replace("-", "_")
