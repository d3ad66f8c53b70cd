from collections.abc import Iterator, Mapping
from typing import cast

import click
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from laneway.cli.commands import app


def formatted(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of the commands that take a --format."""
    for name, each in cast(Mapping[str, click.Command], getattr(command, "commands", {})).items():
        yield from formatted(each, (*path, name))
    if any("--format" in parameter.opts for parameter in command.params):
        yield path


@pytest.mark.parametrize("path", list(formatted(get_command(app))), ids=" ".join)
def test_a_format_that_there_is_not_is_refused(path: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*path, "--format", "xml"])

    assert done.exit_code == 2
    assert "'xml' is not one of 'text', 'json'" in " ".join(done.output.replace("│", " ").split())
