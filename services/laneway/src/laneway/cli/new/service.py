"""Makes a service: first everything in memory and its contract checked, then the files."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory

from laneway.cli.findings import told
from laneway.cli.new import listing
from laneway.cli.new.names import Name
from laneway.cli.options import FindingsFormat
from laneway.contract import sources
from laneway.contract.compile import compile_protos
from laneway.contract.lint import lint
from laneway.errors import ConfigurationError
from laneway.lanes.rest import routes
from laneway.store.schema import metadata

DISTRIBUTION, WORKSPACE, VALUES = (
    Path("services/pyproject.toml"),
    Path("pyproject.toml"),
    Path("charts/shop/values.yaml"),
)
PROTOS, CONTRACTS = Path("protos"), Path("services/contracts/src")


def new_service(text: str, root: Path) -> list[Path]:
    """Make a service in a repository; the files that were made or changed, relative to it. Nothing is, if it raises.

    Raises:
        ConfigurationError: the name is none or is taken, or the repository is no such.
    """
    missing = [str(place) for place in (DISTRIBUTION, WORKSPACE, VALUES, PROTOS) if not (root / place).exists()]
    if missing:
        raise ConfigurationError(
            f"There is no {missing[0]} here; go to the root of the repository that the service is for."
        )
    name = Name.of(text)
    _refuse_taken(name, root)
    made = {Path(place): _filled(template, name) for place, template in _layout(name).items()}
    _check_contract(made, root)
    changed = _listed(name.service, root)
    for place, content in {**made, **changed}.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(content)
    compile_protos(root / PROTOS, f"shop/{name.service}", root / CONTRACTS)
    _format([place for place in made if place.suffix == ".py"], root)
    return [*made, *changed]


def _layout(name: Name) -> dict[str, str]:
    """The files of a service, each with its template."""
    folder = f"services/{name.service}"
    package = f"{folder}/src/shop_{name.service}"
    return {
        f"protos/shop/{name.service}/v1/{name.service}.proto": "contract",
        f"{folder}/README.md": "readme",
        f"{package}/__init__.py": "package",
        f"{package}/domain.py": "domain",
        f"{package}/migrations/0001_{name.placeholders()['table']}.py": "migration",
        f"{package}/service.py": "service",
        f"{folder}/tests/test_{name.service}.py": "test",
    }


def _filled(template: str, name: Name) -> str:
    text = (files("laneway.cli.new") / "templates" / f"{template}.txt").read_text()
    return Template(text).substitute(name.placeholders())


def _refuse_taken(name: Name, root: Path) -> None:
    service, table = name.service, name.placeholders()["table"]
    taken = [place for place in (root / "services" / service, root / PROTOS / "shop" / service) if place.exists()]
    if taken or service in listing.services((root / DISTRIBUTION).read_text()):
        where = taken[0].relative_to(root) if taken else DISTRIBUTION
        raise ConfigurationError(f"There is a service `{service}` already, in {where}; choose another name.")
    if table in metadata.tables:
        raise ConfigurationError(
            f"Laneway itself has a table `{table}` in each service's database; choose another name."
        )


def _check_contract(made: dict[Path, str], root: Path) -> None:
    """Beside the contracts that are there: two may not answer the same path."""
    with TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(root / PROTOS, Path(folder) / PROTOS))
        for place in (place for place in made if place.parts[0] == str(PROTOS)):
            (Path(folder) / place).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / place).write_text(made[place])
        found = lint(sources.written(copy), [routes.lint])
    if found:
        raise ConfigurationError(
            f"With this service, the contracts would contradict each other:\n{told(found, FindingsFormat.TEXT)}"
        )


def _format(places: Sequence[Path], root: Path) -> None:
    """Break the lines that a long name makes long, where the repository's formatter is installed."""
    if find_spec("ruff"):
        subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", *map(str, places)], cwd=root, check=False)


def _listed(service: str, root: Path) -> dict[Path, str]:
    """The files that name all services, with the new one."""
    distribution = (root / DISTRIBUTION).read_text()
    known = next(iter(listing.services(distribution)), service)
    return {
        DISTRIBUTION: listing.with_entry_point(listing.beside(distribution, known, service), service),
        WORKSPACE: listing.beside((root / WORKSPACE).read_text(), known, service),
        VALUES: listing.with_values((root / VALUES).read_text(), service),
    }
