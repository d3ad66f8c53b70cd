"""How a database is named to people, and to drivers."""

import pytest

from laneway.errors import ConfigurationError
from laneway.store import location


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("sqlite:///var/laneway/orders.db", "var/laneway/orders.db"),
        ("sqlite:////srv/orders.db", "/srv/orders.db"),
        ("sqlite://", "SQLite in memory"),
        ("postgresql://ann:secret@db:5433/orders", "PostgreSQL at db:5433, database orders"),
        ("postgres://db/orders", "PostgreSQL at db, database orders"),
        ("postgresql:///orders?host=/run/pg", "PostgreSQL at /run/pg, database orders"),
    ],
)
def test_a_database_has_a_name_without_its_password(url: str, name: str) -> None:
    assert location.name(location.parsed(url)) == name


def test_libpq_gets_the_whole_url() -> None:
    url = "postgresql://ann:secret@db:5433/orders?sslmode=require"

    assert location.conninfo(location.parsed(url)) == url


@pytest.mark.parametrize("url", ["", "orders.db", "mysql://db/orders", "redis://db"])
def test_other_urls_are_refused_with_an_example(url: str) -> None:
    with pytest.raises(ConfigurationError, match="write sqlite:///"):
        location.parsed(url)
