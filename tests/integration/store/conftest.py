"""One store for each adapter: every suite that asks for `store` runs on all of them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from laneway.store import Store, migrations
from tests.fixtures.postgres import database

ADAPTERS = ("sqlite-file", "sqlite-memory", "postgresql")


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """The name of a migrated database, to be copied."""
    with database(postgres_server) as url:
        migrations.migrate(url)
        yield str(make_url(url).database)


@pytest.fixture
def migrated_postgres_url(postgres_server: str, postgres_template: str) -> Iterator[str]:
    with database(postgres_server, postgres_template) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/orders.db"
    migrations.migrate(url)
    return url


@pytest.fixture(params=ADAPTERS)
def store_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated database; that of one in memory is migrated when it is opened."""
    match request.param:
        case "sqlite-file":
            return str(request.getfixturevalue("sqlite_url"))
        case "sqlite-memory":
            return "sqlite://"
        case _:
            return str(request.getfixturevalue("migrated_postgres_url"))


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    opened = await Store.open(store_url, pool=4)
    yield opened
    await opened.close()


@pytest.fixture
async def postgres_store(migrated_postgres_url: str) -> AsyncIterator[Store]:
    opened = await Store.open(migrated_postgres_url, pool=4)
    yield opened
    await opened.close()


@pytest.fixture
async def sqlite_store(sqlite_url: str) -> AsyncIterator[Store]:
    opened = await Store.open(sqlite_url, pool=4)
    yield opened
    await opened.close()
