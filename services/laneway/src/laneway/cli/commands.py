"""The commands and their options."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from laneway.cli import dead
from laneway.cli.events.commands import app as events
from laneway.cli.inbox import app as inbox
from laneway.cli.new.commands import app as new
from laneway.cli.options import DATA, AsFindings, AsFormat, Data, FindingsFormat, Format
from laneway.cli.sagas import app as sagas
from laneway.cli.subscriptions import app as subscriptions
from laneway.settings import Settings

app = typer.Typer(
    name="laneway",
    help="One contract, and every call picks its lane.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(dead.app, name="dead")
app.add_typer(events)
app.add_typer(inbox)
app.add_typer(new)
app.add_typer(sagas)
app.add_typer(subscriptions)

PROTOS = Path("protos")

Port = Annotated[
    int | None, typer.Option(help="Port of the edge; 0 finds a free one.", show_default="LANEWAY_REST_PORT, 8080")
]
BasePort = Annotated[
    int | None,
    typer.Option(help="First port of everything else; 0 finds free ones.", show_default="LANEWAY_GRPC_PORT, 50051"),
]
MaxWorkers = Annotated[int, typer.Option(min=1, help="Most worker processes of a service; 1 scales nothing.")]


@app.command()
def run(
    service: str,
    role: Annotated[str, typer.Option(help="rest, grpc, worker or cpu-worker.")],
    reload: Annotated[bool, typer.Option(help="Start again when a source file changes: for development.")] = False,
) -> None:
    """Run one role of one service, until SIGTERM."""
    settings = _settings()
    if reload:
        from laneway.cli.reload import run_reloading

        run_reloading(service, role)
        return
    from laneway.runtime import run as run_role

    run_role(service, role, settings)


@app.command()
def migrate(services: Annotated[list[str] | None, typer.Argument(help="All, if none is named.")] = None) -> None:
    """Bring databases to the revisions of this code."""
    settings = _settings()
    from laneway.cli import discovery
    from laneway.cli.migrate import migrate as migrate_all

    chosen = discovery.installed(services or ())
    settings.refuse_shared_database(each.name for each in chosen if each.database)
    migrate_all(chosen, settings.database, wait=settings.database_wait)
    for each in chosen:
        if each.database:
            print(f"{each.name}: up to date")


@app.command()
def up(port: Port = None, base_port: BasePort = None, data: Data = DATA, max_workers: MaxWorkers = 4) -> None:
    """Run every installed service on this machine; Ctrl-C stops all of it.

    Worker processes follow the load, each service's between one and --max-workers: the sizing is the operator's.
    """
    settings = _settings()
    from laneway.cli.up.run import run_up

    port, base_port = _ports(settings, port, base_port)
    asyncio.run(run_up(settings, port=port, base_port=base_port, data=data, most_workers=max_workers))


@app.command()
def demo(
    port: Annotated[int, typer.Option(help="Port of the edge; 0 finds a free one.")] = 0,
    base_port: Annotated[int, typer.Option(help="First port of everything else; 0 finds free ones.")] = 0,
) -> None:
    """Run everything in a fresh folder, walk through it once, show the trace, stop."""
    settings = _settings()
    from laneway.cli.demo import run_demo

    asyncio.run(run_demo(settings, port=port, base_port=base_port))


@app.command()
def policy(
    method: Annotated[
        str | None, typer.Argument(help="A method or a service, or the end of its name.", show_default="all")
    ] = None,
    tuning: Annotated[
        Path | None, typer.Option(help="A policy file, or its folder.", show_default="LANEWAY_POLICY_FOLDER")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="What a call that asks for so many seconds gets.")
    ] = None,
    protos: Annotated[
        Path | None, typer.Option(help="Contracts of a folder, in the place of the installed services'.")
    ] = None,
    format: AsFindings = FindingsFormat.TEXT,
) -> None:
    """Show what is in force for each method, and who says so.

    Exits with 1 if a part of the policy file has no effect: docs/policy.md.
    """
    from rich.console import Console

    from laneway.cli import policies
    from laneway.cli.findings import told

    methods, mounted = policies.methods_of(method, protos), Settings.load().policy_folder
    file = policies.policy_file(tuning, mounted)
    found = policies.findings(file, policies.policy_path(tuning, mounted), policies.methods_of(None, protos))
    annotations = format is FindingsFormat.GITHUB
    if format is FindingsFormat.JSON:
        print(policies.as_json(methods, file, timeout))
    elif not annotations:
        policies.show(methods, file, timeout, Console())
    if found:
        typer.echo(told(found, FindingsFormat.GITHUB if annotations else FindingsFormat.TEXT), err=not annotations)
    raise typer.Exit(bool(found))


@app.command()
def lint(
    path: Annotated[Path, typer.Argument(help="The folder of your .proto files, or a descriptor set.")] = PROTOS,
    format: AsFindings = FindingsFormat.TEXT,
) -> None:
    """Find the mistakes in contracts that a program can see: docs/lint.md. Exits with 1 if there are any."""
    from laneway.cli.findings import told
    from laneway.contract import sources
    from laneway.contract.lint import lint as lint_contract
    from laneway.lanes.rest import routes

    found = lint_contract(sources.written(path), [routes.lint])
    typer.echo(told(found, format), nl=format is not FindingsFormat.GITHUB or bool(found))
    raise typer.Exit(bool(found))


@app.command()
def breaking(
    against: Annotated[str, typer.Argument(help="What was: a folder, a git revision or a descriptor set.")],
    path: Annotated[
        Path, typer.Argument(help="What is: the folder of your .proto files, or a descriptor set.")
    ] = PROTOS,
    format: AsFindings = FindingsFormat.TEXT,
) -> None:
    """Find what a change takes away from those who use a contract: docs/breaking.md. Exits with 1 if anything."""
    from laneway.cli.findings import told
    from laneway.contract import sources
    from laneway.contract.breaking import breaking as broken
    from laneway.lanes.rest import routes

    found = broken(sources.read(against, beside=path), sources.written(path), [routes.breaking])
    typer.echo(told(found, format), nl=format is not FindingsFormat.GITHUB or bool(found))
    raise typer.Exit(bool(found))


@app.command()
def trace(
    trace_id: Annotated[
        str, typer.Argument(metavar="ID", help="32 hexadecimal digits, or the `traceparent` of an answer.")
    ],
    data: Data = DATA,
    jaeger: Annotated[
        str | None, typer.Option(help="Ask a Jaeger at this URL, in the place of the running `laneway up`.")
    ] = None,
    format: AsFormat = Format.TEXT,
) -> None:
    """Show a trace as a tree and a waterfall: one that the running `laneway up` has collected, or a Jaeger."""
    from laneway.cli.traces import fetch_from_jaeger, fetch_trace, named

    trace_id = named(trace_id)
    spans = fetch_from_jaeger(trace_id, jaeger) if jaeger else fetch_trace(trace_id, data)
    if format is Format.JSON:
        print(json.dumps([span.to_json() for span in spans], indent=1))
        return
    from rich.console import Console

    from laneway.cli.trace_tree import print_trace

    print_trace(spans, trace_id, Console())


@app.command()
def fault(
    service: str,
    kind: Annotated[str, typer.Argument(help="slow, error, hang, flaky, down; or none, to end it.")],
    seconds: Annotated[float, typer.Option(min=0, help="How much slower.")] = 2.0,
    share: Annotated[float, typer.Option(min=0, max=1, help="Share of the calls that fail, if flaky.")] = 0.5,
    data: Data = DATA,
) -> None:
    """Let a service of the running `laneway up` fail, and see what the others do."""
    from laneway.cli.fault import set_fault

    print(set_fault(data, service, kind, seconds=seconds, share=share))


@app.command()
def load(
    rate: Annotated[float, typer.Option(min=0.1, help="Calls per second.")] = 10.0,
    seconds: Annotated[int, typer.Option(min=1, help="For how long.")] = 60,
    unprotected: Annotated[
        bool, typer.Option("--unprotected", help="Beside them, drive the same services without breakers.")
    ] = False,
    data: Data = DATA,
    format: AsFormat = Format.TEXT,
) -> None:
    """Drive the running `laneway up`, and tell each second what became of its calls."""
    from laneway.cli.load import run_load

    asyncio.run(run_load(data, rate=rate, seconds=seconds, unprotected=unprotected, as_json=format is Format.JSON))


@app.command()
def pools(
    namespace: Annotated[str | None, typer.Option(help="One namespace.", show_default="all")] = None,
    context: Annotated[str | None, typer.Option(help="A context of kubectl's.", show_default="the current one")] = None,
    format: AsFormat = Format.TEXT,
) -> None:
    """Show the WorkerPools of a cluster; on a terminal the table follows them until Ctrl-C."""
    from laneway.cli.pools import fetch_pools, show_pools

    if format is Format.JSON:
        print(json.dumps(fetch_pools(namespace, context), indent=1))
        return
    from rich.console import Console

    show_pools(lambda: fetch_pools(namespace, context), Console())


@app.command()
def top(
    data: Data = DATA,
    prometheus: Annotated[
        str | None, typer.Option(help="Ask a Prometheus at this URL, in the place of the running `laneway up`.")
    ] = None,
) -> None:
    """Show what services, lanes, breakers, queues and pools do now; on a terminal it follows until Ctrl-C."""
    from rich.console import Console

    from laneway.cli.top.sources import Processes, Prometheus
    from laneway.cli.top.tables import show_top

    show_top(Prometheus(prometheus) if prometheus else Processes(data), Console())


@app.command()
def compare(
    scale: Annotated[
        float, typer.Option(min=0.1, max=20, help="Multiplies how long is measured; 1 is under two minutes.")
    ] = 1.0,
    svg: Annotated[Path | None, typer.Option(help="Draw what is shown into this file, too.")] = None,
    format: AsFormat = Format.TEXT,
) -> None:
    """Measure one operation over REST, gRPC, queue and event on this machine: healthy, callee slow, down, 10x burst.

    Which lane for which use, by these numbers: docs/choosing.md.
    """
    settings = _settings()
    from laneway.cli.compare.commands import run_compare

    run_compare(settings, scale=scale, svg=svg, as_json=format is Format.JSON)


@app.command("compare-part", hidden=True)
def compare_part(service: str, role: Annotated[str, typer.Option()]) -> None:
    """Run a part of what `laneway compare` measures."""
    settings = _settings()
    from laneway.compare.services import PARTS
    from laneway.runtime import run as run_role

    run_role(service, role, settings, PARTS[service])


@app.command("service-config")
def service_config(service: str) -> None:
    """Print the gRPC service config of a service: deadlines, retries and balancing, for clients that are not ours."""
    _settings()
    from laneway.contract.service_config import service_config as config_of
    from laneway.errors import ConfigurationError
    from laneway.runtime.installed import describe

    methods = describe(service).contract.methods
    if not methods:
        raise ConfigurationError(f"`{service}` has no methods over gRPC; name a service that handles a contract.")
    print(json.dumps(config_of(methods.values()), indent=2))


@app.command()
def mailbox(
    smtp_port: Annotated[int, typer.Option(help="Port that takes mail.")] = 1025,
    http_port: Annotated[int, typer.Option(help="Port that shows it, as JSON at /mail.")] = 8025,
) -> None:
    """Run a mail server that delivers nothing and shows what it got: for trying things out."""
    settings = _settings()
    from laneway.cli.embedded.server import run_mailbox

    asyncio.run(run_mailbox(settings.host, http_port=http_port, smtp_port=smtp_port))


@app.command()
def companion(name: str) -> None:
    """Run a companion: what services need beside them on a laptop. It serves on PORT and keeps files in DATA."""
    from laneway.cli import discovery

    discovery.companion(name)()


def _settings() -> Settings:
    """The settings of this process, which may name installed services only where it has their databases."""
    settings = Settings.load()
    if settings.databases:
        from laneway.cli import discovery

        settings.refuse_unknown_databases(discovery.service_names())
    return settings


def _ports(settings: Settings, port: int | None, base_port: int | None) -> tuple[int, int]:
    return (
        settings.rest_port if port is None else port,
        settings.grpc_port if base_port is None else base_port,
    )
