"""The commands of `laneway new`."""

from pathlib import Path

import typer

app = typer.Typer(name="new", help="Begin something new.", no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def _group() -> None:
    """A command of one command would swallow its name."""


@app.command()
def service(name: str) -> None:
    """Make a service in this repository: contract, handlers, table, tests, and its place in the chart."""
    from laneway.cli.new.service import new_service

    made = new_service(name, Path.cwd())
    for place in made:
        print(place)
    folder = next(place.parent for place in made if place.name == "README.md")
    typer.echo(
        f"Next: `make setup` installs it, `.venv/bin/pytest {folder}` tests it; then docs/quickstart.md.", err=True
    )
