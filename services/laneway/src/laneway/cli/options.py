"""Options that several commands have."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """As people read it, or as programs do."""

    TEXT = "text"
    JSON = "json"


class FindingsFormat(StrEnum):
    """As people read findings, as programs do, and as a pull request on GitHub shows them."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


DATA = Path("var/laneway")

Data = Annotated[Path, typer.Option(help="Folder of `laneway up`: its databases, broker and state.")]
AsFormat = Annotated[Format, typer.Option("--format", help="How it is printed.")]
AsFindings = Annotated[FindingsFormat, typer.Option("--format", help="How it is printed; github is for its workflows.")]
