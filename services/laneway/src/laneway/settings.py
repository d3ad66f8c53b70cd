"""Where things are: the `LANEWAY_*` environment variables.

How calls behave is the contract's and the policy's business, never a setting's.
"""

import os
import socket
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from laneway.errors import ConfigurationError


class Settings(BaseSettings):
    """One process's surroundings. Unknown `LANEWAY_*` variables are refused by `load`."""

    model_config = SettingsConfigDict(env_prefix="LANEWAY_", env_nested_delimiter="__", frozen=True)

    broker_url: str = Field(default="redis://127.0.0.1:6379/0", pattern=r"^rediss?://")
    database_url: str = Field(default="sqlite:///var/laneway/{service}.db", pattern=r"^(sqlite|postgres(ql)?)://")
    databases: dict[str, str] = Field(default_factory=dict)
    """URLs of single services, over `database_url`: `LANEWAY_DATABASES__orders`."""
    host: str = "127.0.0.1"
    grpc_port: int = Field(default=50051, ge=0, le=65535)
    rest_port: int = Field(default=8080, ge=0, le=65535)
    admin_port: int | None = Field(default=None, ge=0, le=65535)
    targets: dict[str, str] = Field(default_factory=dict)
    target_pattern: str = "dns:///{service}:50051"
    otlp_endpoint: str | None = Field(default=None, pattern=r"^https?://")
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    worker_slots: int = Field(default=16, ge=1, le=1000)
    queue_window: int = Field(default=256, ge=1, le=100_000)
    database_pool: int = Field(default=8, ge=1, le=100)
    grace_seconds: float = Field(default=20.0, gt=0, le=3600)
    drain_seconds: float = Field(default=0.0, ge=0, le=3600)
    """How long a server that is told to stop goes on taking calls, until those who route to it have noticed."""
    database_wait: float = Field(default=0.0, ge=0, le=3600)
    """Seconds that a process waits at its start for a database that is not there or not migrated yet."""
    policy_folder: Path | None = None
    """Where `policy.yaml` lies: see `laneway.contract.tuning`."""
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
            name = f"LANEWAY_{str(first['loc'][0]).upper()}" if first["loc"] else "LANEWAY_*"
            raise ConfigurationError(f"{name} cannot be used: {first['msg']}.") from None
        except Exception as error:  # pydantic-settings raises its own type for values that are not JSON
            raise ConfigurationError(f"A LANEWAY_* value cannot be read: {error}.") from None

    def target(self, service: str) -> str:
        """The gRPC address of a service."""
        return self.targets.get(service) or self.target_pattern.format(service=service)

    def database(self, service: str) -> str:
        """The database URL of a service."""
        return self.databases.get(service) or self.database_url.format(service=service)


_OTHERS = {"LANEWAY_TEST_POSTGRES_URL"}
