"""A new service in the lists where the others are: of distributions, tools and charts. Text to text.

Whichever list of a TOML file names a service that is there already, names the new one beside it: what the lists are for
need not be known here.
"""

import re
import tomllib
from typing import Any

from laneway.errors import ConfigurationError

GROUP = "laneway.services"
PACKAGE = "shop_{}"


def services(distribution: str) -> dict[str, str]:
    """The services of a distribution, with their entry points, by the text of its pyproject.toml."""
    project: dict[str, Any] = tomllib.loads(distribution).get("project", {})
    return dict(project.get("entry-points", {}).get(GROUP, {}))


def with_entry_point(distribution: str, service: str) -> str:
    """The text of a pyproject.toml that names the service as installed.

    Raises:
        ConfigurationError: it has no table of services.
    """
    header = f'[project.entry-points."{GROUP}"]\n'
    before, found, after = distribution.partition(header)
    if not found:
        raise ConfigurationError(
            f"services/pyproject.toml has no table {header.strip()}; a service is installed by it."
        )
    listed, end, rest = after.partition("\n\n")
    lines = sorted({*listed.splitlines(), f'{service} = "{PACKAGE.format(service)}.service:service"'})
    return before + found + "\n".join(lines) + end + rest


def beside(text: str, known: str, service: str) -> str:
    """The text of a TOML file in which each list that names package or folder of one service names the new one's."""

    def grown(match: re.Match[str]) -> str:
        items = [item for item in re.findall(r'"[^"\n]*"', match[0]) if _names(item, known)]
        added = ", ".join(item.replace(known, service) for item in items)
        if not items:
            return match[0]
        if "\n" not in match[0]:
            return f"{match[0][:-1]}, {added}]"
        return f"{match[0][:-1]}    {added},\n]"

    return re.sub(r"(?<= = )\[[^\[\]]*\]", grown, text)


def _names(item: str, service: str) -> bool:
    return bool(re.search(rf'(^"|/|{PACKAGE.format("")}){service}("$|/)', item))


def with_values(values: str, service: str) -> str:
    """The text of a chart's values in which the service is deployed as a gRPC server.

    Raises:
        ConfigurationError: it has no map of services.
    """
    found = re.search(r"^( *)services:\n(?:\1 +\S.*\n)+", values, re.MULTILINE)
    if not found:
        raise ConfigurationError(
            "charts/shop/values.yaml has no map `services`; a service is deployed by its entry there."
        )
    step = f"{found[1]}  "
    return f"{values[: found.end()]}{step}{service}:\n{step}  grpc: {{}}\n{values[found.end() :]}"
