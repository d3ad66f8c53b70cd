"""Where the operator runs and what it serves: the `LANEWAY_OPERATOR_*` environment variables."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, Self

from laneway.errors import ConfigurationError

_PREFIX = "LANEWAY_OPERATOR_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One operator's surroundings.

    Attributes:
        namespaces: where WorkerPools are served; empty is the whole cluster.
        interval: seconds between two looks at the brokers.
        lease: the Lease that operators contend for, in `lease_namespace`.
        identity: this process, as the Lease names its holder.
    """

    namespaces: tuple[str, ...] = ()
    interval: float = 1.0
    lease: str = "laneway-operator"
    lease_namespace: str = "default"
    identity: str = ""
    host: str = "0.0.0.0"
    admin_port: int = 9090
    log_format: Literal["text", "json"] = "text"
    log_level: str = "INFO"

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> Self:
        """The settings of this process's environment.

        Raises:
            ConfigurationError: a variable does not exist, or its value is not of its kind.
        """
        environment = os.environ if environment is None else environment
        known = {f"{_PREFIX}{each.name.upper()}": each.name for each in fields(cls)}
        given = {name: value for name, value in environment.items() if name.startswith(_PREFIX)}
        for name in given:
            if name not in known:
                raise ConfigurationError(f"{name} is not a setting; the settings are {', '.join(sorted(known))}.")
        values = {known[name]: _converted(name, value) for name, value in given.items() if value}
        return cls(**{"identity": f"{socket.gethostname()}-{os.getpid()}", **values})  # type: ignore[arg-type]


def _converted(name: str, value: str) -> object:
    match name.removeprefix(_PREFIX):
        case "NAMESPACES":
            return tuple(part.strip() for part in value.split(",") if part.strip())
        case "INTERVAL":
            return _number(name, value, 0.2, 60)
        case "ADMIN_PORT":
            return int(_number(name, value, 0, 65535))
        case "LOG_FORMAT":
            return _one_of(name, value, "text", "json")
        case "LOG_LEVEL":
            return _one_of(name, value, "DEBUG", "INFO", "WARNING", "ERROR")
    return value


def _number(name: str, value: str, lowest: float, highest: float) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1
    if not lowest <= number <= highest:
        raise ConfigurationError(f"{name} is {value!r}; it is a number from {lowest:g} to {highest:g}.")
    return number


def _one_of(name: str, value: str, *choices: str) -> str:
    if value not in choices:
        raise ConfigurationError(f"{name} is {value!r}; it is one of {', '.join(choices)}.")
    return value
