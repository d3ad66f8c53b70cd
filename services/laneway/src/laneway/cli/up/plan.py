"""What `laneway up` runs: pure, from options and services to processes."""

import json
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Protocol


class Group(IntEnum):
    """Processes that start together; they stop in reverse order."""

    BROKER = 0
    COMPANION = 1
    SERVER = 2
    WORKER = 3
    EDGE = 4


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process. It is ready when its port answers; without a port, when it runs."""

    name: str
    service: str
    role: str
    group: Group
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of a run."""

    gateway: int
    broker: int
    collector: int
    smtp: int
    companions: Mapping[str, int]
    grpc: Mapping[str, int]


class Described(Protocol):
    """What the plan needs to know of a service."""

    name: str

    @property
    def roles(self) -> tuple[str, ...]: ...


def allot(services: Sequence[Described], companions: Sequence[str], *, port: int, base_port: int) -> Ports:
    """Ports upwards from `base_port`; 0 takes free ones."""
    servers = [service.name for service in services if "grpc" in service.roles]
    wanted = 3 + len(companions) + len(servers)
    rest = _free(wanted) if base_port == 0 else list(range(base_port, base_port + wanted))
    [gateway] = _free(1) if port == 0 else [port]
    broker, collector, smtp, *others = rest
    return Ports(
        gateway=gateway,
        broker=broker,
        collector=collector,
        smtp=smtp,
        companions=dict(zip(companions, others, strict=False)),
        grpc=dict(zip(servers, others[len(companions) :], strict=True)),
    )


def plan(
    services: Sequence[Described],
    ports: Ports,
    *,
    data: Path,
    broker: Sequence[str] | None,
    broker_url: str,
) -> list[ProcessSpec]:
    """The processes of a run; `broker` is the command that starts one, if one is to be started."""
    laneway = (sys.executable, "-m", "laneway.cli")
    urls = {f"{name.upper().replace('-', '_')}_URL": f"http://127.0.0.1:{p}" for name, p in ports.companions.items()}
    common = {
        **urls,
        "SMTP_URL": f"smtp://127.0.0.1:{ports.smtp}",
        "LANEWAY_BROKER_URL": broker_url,
        "LANEWAY_DATABASE_URL": f"sqlite:///{data}/{{service}}.db",
        "LANEWAY_TARGETS": json.dumps({name: f"127.0.0.1:{p}" for name, p in ports.grpc.items()}),
        "LANEWAY_OTLP_ENDPOINT": f"http://127.0.0.1:{ports.collector}",
        "PYTHONUNBUFFERED": "1",
    }
    specs = []
    if broker is not None:
        specs.append(ProcessSpec("valkey", "valkey", "broker", Group.BROKER, tuple(broker), port=ports.broker))
    for name, port in ports.companions.items():
        command = (*laneway, "companion", name)
        env = {"PORT": str(port)}
        specs.append(ProcessSpec(name, name, "companion", Group.COMPANION, command, env, port))
    specs += [_role(service.name, role, ports, common, laneway) for service in services for role in service.roles]
    return sorted(specs, key=lambda spec: spec.group)


def _role(service: str, role: str, ports: Ports, common: Mapping[str, str], laneway: tuple[str, ...]) -> ProcessSpec:
    name = service if role == "grpc" else f"{service}-{role}"
    port = {"grpc": ports.grpc.get(service), "rest": ports.gateway}.get(role)
    env = {**common, "LANEWAY_INSTANCE": name}
    if port is not None:
        env[f"LANEWAY_{role.upper()}_PORT"] = str(port)
    group = {"grpc": Group.SERVER, "worker": Group.WORKER, "rest": Group.EDGE}[role]
    return ProcessSpec(name, service, role, group, (*laneway, "run", service, "--role", role), env, port)


def _free(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports
