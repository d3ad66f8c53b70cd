"""Where a database is: its URL, read once for both engines and for migrations. Opens nothing."""

from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from laneway.errors import ConfigurationError

SETTINGS = "LANEWAY_DATABASE_URL or LANEWAY_DATABASES__<service>"
"""The variables that may have said where a database is."""

_EXPECTED = "write sqlite:///path/to/file.db or postgresql://user@host/database"


def parsed(url: str) -> URL:
    """The parts of a database URL.

    Raises:
        ConfigurationError: it is none, or not of SQLite or PostgreSQL.
    """
    if url.startswith("postgres://"):
        url = url.replace("postgres://", "postgresql://", 1)
    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(f"{SETTINGS} is not a URL; {_EXPECTED}.") from None
    if parts.get_backend_name() not in ("sqlite", "postgresql"):
        raise ConfigurationError(
            f"{SETTINGS} names {parts.drivername!r}, a database that Laneway does not know; {_EXPECTED}."
        )
    return parts


def sqlite_file(url: URL) -> Path | None:
    """The file of an SQLite database; none when it is in memory."""
    return None if url.database in (None, "", ":memory:") else Path(str(url.database))


def make_parent(file: Path) -> None:
    """Make the folder that a database file goes into.

    Raises:
        ConfigurationError: it cannot be made.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"The folder {file.parent} for the database cannot be made ({error.strerror}); "
            f"correct {SETTINGS}, or the folder's owner."
        ) from None


def conninfo(url: URL) -> str:
    """The URL as libpq reads it."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def name(url: URL) -> str:
    """The database as people know it, without a password."""
    if url.get_backend_name() == "sqlite":
        return str(sqlite_file(url) or "SQLite in memory")
    host = url.host or url.query.get("host") or "the local socket"
    return f"PostgreSQL at {host}{f':{url.port}' if url.port else ''}, database {url.database or 'postgres'}"


def unreachable(url: URL, error: BaseException) -> ConfigurationError:
    """The one sentence for a PostgreSQL that does not answer."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = lines[0].rstrip(".") if lines else type(error).__name__
    return ConfigurationError(f"{name(url)}, cannot be reached ({cause}); start it or correct {SETTINGS}.")
