"""The `laneway` command. Each command imports what it needs itself: starting quickly is part of the product."""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from laneway.errors import LanewayError

app = typer.Typer(
    name="laneway",
    help="One contract, and every call picks its lane.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Port = Annotated[int, typer.Option(help="HTTP port of the edge; 0 takes a free one.")]
BasePort = Annotated[int, typer.Option(help="First of the other ports; 0 takes free ones.")]
Data = Annotated[Path | None, typer.Option(help="Folder for databases and the broker's data.")]


@app.command()
def up(port: Port = 8080, base_port: BasePort = 50051, data: Data = None) -> None:
    """Run every installed service on this machine, until Ctrl-C."""
    from laneway.cli.up.run import Options, up_command

    asyncio.run(up_command(Options(port, base_port, _folder(data or Path("var/laneway")))))


@app.command()
def demo(port: Port = 0, base_port: BasePort = 0, data: Data = None) -> None:
    """Run everything, play the installed demos, print their traces, stop."""
    from laneway.cli.up.run import Options, demo_command

    with tempfile.TemporaryDirectory(prefix="laneway-") as fresh:
        asyncio.run(demo_command(Options(port, base_port, _folder(data or Path(fresh)))))


@app.command()
def run(service: str, role: Annotated[str, typer.Option(help="rest, grpc or worker")]) -> None:
    """Run one role of an installed service, until SIGTERM."""
    from laneway.runtime import run as run_role
    from laneway.settings import Settings

    run_role(service, role, Settings.load())


@app.command()
def migrate(services: list[str]) -> None:
    """Bring the databases of services to their newest revision."""
    from laneway.runtime import describe
    from laneway.settings import Settings
    from laneway.store.migrations import migrate as migrate_one

    settings = Settings.load()
    for name in services:
        service = describe(name)
        if service.database:
            migrate_one(settings.database(name), author=service.migrations, service=name)
            typer.echo(f"{name}: up to date")


@app.command()
def companion(name: str) -> None:
    """Run a companion process of the installed application, such as the shop's payment provider."""
    from importlib.metadata import entry_points

    from laneway.errors import ConfigurationError

    for entry in entry_points(group="laneway.companions", name=name):
        entry.load()()
        return
    raise ConfigurationError(f"There is no companion `{name}`.")


@app.command()
def trace(
    id: str, url: Annotated[str, typer.Option(help="The collector's /traces")] = "http://127.0.0.1:50052/traces"
) -> None:
    """Print a trace of a running `laneway up` as a tree."""
    import httpx

    from laneway.cli.trace_tree import show
    from laneway.errors import NotFound, Unavailable

    try:
        spans = httpx.get(f"{url}/{id}", timeout=5).raise_for_status().json()
    except httpx.HTTPError as error:
        raise Unavailable(f"No collector answers at {url} ({type(error).__name__}); name it with --url.") from None
    if not spans:
        raise NotFound(f"The collector has no trace {id}.")
    show(spans)


def main() -> None:
    """The command; a mistake is one sentence and exit code 2, any other failure of ours 1."""
    try:
        app()
    except LanewayError as error:
        from laneway.errors import ConfigurationError

        sys.stderr.write(f"laneway: {error.message}\n")
        sys.exit(2 if isinstance(error, ConfigurationError) else 1)


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()
