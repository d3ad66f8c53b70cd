"""Where things are: the `LANEWAY_*` environment variables.

How calls behave is the contract's and the policy's business, never a setting's.
"""

import json
import os
import re
import shlex
import socket
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from laneway.errors import ConfigurationError

PLACE = "{service}"
"""What stands in a pattern for the name of a service."""


def _pattern(value: str) -> str:
    if set("{}") & set(value.replace(PLACE, "")):
        raise ValueError(f"its only braces are those of {PLACE}, which stands for the name of a service")
    return value


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise ValueError(f"there is no folder {path}; make it, or unset the variable")
    return path


def _url(*schemes: str) -> AfterValidator:
    """A URL of one of some schemes, whose port is one."""

    def check(value: str) -> str:
        if not value.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise ValueError(f"it begins with none of {', '.join(f'{scheme}://' for scheme in schemes)}")
        try:
            urlsplit(value).port  # noqa: B018 reading it is what checks it
        except ValueError:
            raise ValueError("the port in it is no number from 0 to 65535") from None
        return value

    return AfterValidator(check)


Pattern = Annotated[str, AfterValidator(_pattern)]
DatabaseUrl = Annotated[str, _url("sqlite", "postgresql", "postgres")]


class Settings(BaseSettings):
    """One process's surroundings. Unknown `LANEWAY_*` variables are refused by `load`."""

    model_config = SettingsConfigDict(env_prefix="LANEWAY_", env_nested_delimiter="__", frozen=True)

    broker_url: Annotated[str, _url("redis", "rediss")] = Field(
        default="redis://127.0.0.1:6379/0", examples=["redis://127.0.0.1:6379/0"]
    )
    database_url: Annotated[DatabaseUrl, AfterValidator(_pattern)] = Field(
        default=f"sqlite:///var/laneway/{PLACE}.db",
        examples=[f"sqlite:///path/to/{PLACE}.db", f"postgresql://user@host/{PLACE}"],
    )
    databases: dict[str, DatabaseUrl] = Field(
        default_factory=dict, examples=['{"orders": "postgresql://user@host/orders"}']
    )
    """URLs of single services, over `database_url`: `LANEWAY_DATABASES__orders`."""
    host: str = "127.0.0.1"
    grpc_port: int = Field(default=50051, ge=0, le=65535)
    rest_port: int = Field(default=8080, ge=0, le=65535)
    admin_port: int | None = Field(default=None, ge=0, le=65535)
    targets: dict[str, str] = Field(default_factory=dict, examples=['{"orders": "dns:///orders:50051"}'])
    target_pattern: Pattern = Field(default=f"dns:///{PLACE}:50051", examples=[f"dns:///{PLACE}:50051"])
    otlp_endpoint: Annotated[str, _url("http", "https")] | None = Field(
        default=None, examples=["http://127.0.0.1:4318"]
    )
    trace_share: float = Field(default=1.0, ge=0, le=1)
    """Share of the traces that are kept; decided where one begins, and obeyed by all whom it leads to."""
    trace_errors: bool = False
    """Keep of the other traces each process's part in which something failed."""
    trace_slow_seconds: float | None = Field(default=None, gt=0)
    """Keep of the other traces each process's part that took so long."""
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    worker_slots: int = Field(default=16, ge=1, le=1000)
    cpu_slots: int = Field(default=1, ge=1, le=256)
    """Processes in which a `cpu-worker` runs messages, one in each."""
    queue_window: int = Field(default=256, ge=1, le=100_000)
    outbox_max_rows: int = Field(default=200_000, ge=1)
    """Messages of one queue in a service's outbox, dead letters included, from which on callers are told to wait."""
    outbox_max_seconds: float = Field(default=7 * 86_400, gt=0)
    """How long the oldest due message of a queue may have waited before callers are told to wait."""
    operations_keep_seconds: float = Field(default=7 * 86_400, gt=0)
    """How long the operation of a queued call can be asked for after its end."""
    inbox_keep_seconds: float = Field(default=7 * 86_400, ge=2 * 86_400)
    """How long a processed message is remembered once its producer cannot deliver it any more: longer than copies are
    run, and than a backup is old from which an outbox may be restored."""
    database_pool: int = Field(default=8, ge=1, le=100)
    grace_seconds: float = Field(default=20.0, gt=0, le=3600)
    drain_seconds: float = Field(default=0.0, ge=0, le=3600)
    """How long a server that is told to stop goes on taking calls, until those who route to it have noticed."""
    database_wait: float = Field(default=0.0, ge=0, le=3600)
    """Seconds that a process waits at its start for a database that is not there or not migrated yet."""
    policy_folder: Annotated[Path, AfterValidator(_folder)] | None = None
    """Where `policy.yaml` lies, or may come to lie: see `laneway.contract.tuning`. The folder itself must be there."""
    fault_folder: Annotated[Path, AfterValidator(_folder)] | None = None
    """Where `laneway fault` says what is to go wrong; nowhere but under `laneway up`."""
    instance: str = Field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}")

    @classmethod
    def load(cls) -> Self:
        """The settings of this process's environment.

        Raises:
            ConfigurationError: a value is not of its kind, or a variable does not exist.
        """
        known = {f"LANEWAY_{name.upper()}" for name in cls.model_fields}
        for variable in os.environ:
            if variable.startswith("LANEWAY_") and variable.split("__")[0] not in known | _OTHERS:
                raise ConfigurationError(
                    f"{variable} is not a setting of Laneway; the settings are {', '.join(sorted(known))}."
                )
        try:
            return cls()
        except ValidationError as error:
            first = error.errors()[0]
            raise _unusable(cls, *map(str, first["loc"]), cause=first["msg"]) from None
        except SettingsError as error:  # what should be JSON is not
            found = re.search(r'field "(\w+)"', str(error))
            raise _unusable(cls, *(found.groups() if found else ()), cause="it is not JSON") from None

    def target(self, service: str) -> str:
        """The gRPC address of a service."""
        return self.targets.get(service) or self.target_pattern.replace(PLACE, service)

    def database(self, service: str) -> str:
        """The database URL of a service."""
        return self.databases.get(service) or self.database_url.replace(PLACE, service)

    def refuse_unknown_databases(self, services: Iterable[str]) -> None:
        """Make sure that `databases` names none but these services.

        Raises:
            ConfigurationError: it names another.
        """
        known = sorted(services)
        for name in sorted(self.databases.keys() - set(known)):
            raise ConfigurationError(
                f"LANEWAY_DATABASES__{name} is of no service that is installed; installed are: {', '.join(known)}."
            )

    def refuse_shared_database(self, services: Iterable[str]) -> None:
        """Make sure that each of these services has a database of its own: their tables are not told apart.

        Raises:
            ConfigurationError: two have the same.
        """
        owners = defaultdict(list)
        for service in services:
            owners[self.database(service)].append(service)
        for first, second, *others in (names for names in owners.values() if len(names) > 1):
            more = f" and {len(others)} more" if others else ""
            raise ConfigurationError(
                f"LANEWAY_DATABASE_URL gives {first} and {second}{more} the same database; write {PLACE} where it "
                f"has a service's name, or set LANEWAY_DATABASES__{second} and so on."
            )


def _unusable(settings: type[BaseSettings], field: str = "*", *key: str, cause: str) -> ConfigurationError:
    """The sentence for one value: which variable, what is wrong, and how one is written that can be used."""
    known = settings.model_fields.get(field)
    examples = [str(example) for example in (known and known.examples) or ()]
    name = f"LANEWAY_{field.upper()}"
    if key:  # one entry of a mapping, said as the variable of its own that it can be
        name = f"{name}__{key[0]}"
        examples = [value for example in examples for value in json.loads(example).values()]
    remedy = (
        f"; write, for example, {' or '.join(f'{name}={shlex.quote(example)}' for example in examples)}"
        if examples
        else ""
    )
    return ConfigurationError(f"{name} cannot be used: {cause.removeprefix('Value error, ')}{remedy}.")


_OTHERS = {"LANEWAY_TEST_POSTGRES_URL", "LANEWAY_TEST_VALKEY_URL"}
