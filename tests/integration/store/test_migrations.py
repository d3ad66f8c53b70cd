"""Migrating up, twice, at once; and refusing a database that this code cannot run on."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from laneway.errors import ConfigurationError
from laneway.store import Store, inbox, location, migrations
from laneway.store.schema import Xid8, metadata
from laneway.store.sqlite import connect

_REVISION = """
import sqlalchemy as sa
from alembic import op
revision = "{number:04}"
down_revision = {down}
def upgrade():
    op.create_table("authors_{number}", sa.Column("id", sa.Text, primary_key=True))
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/not/yet/there/orders.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def author(tmp_path: Path) -> Path:
    """A service's own migrations: one revision."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    add_revision(folder, 1)
    return folder


def add_revision(folder: Path, number: int) -> None:
    down = f'"{number - 1:04}"' if number > 1 else "None"
    (folder / f"{number:04}_more.py").write_text(_REVISION.format(number=number, down=down))


def after_newest(number: int) -> str:
    """The revision that is so many after the newest of this code."""
    files = Path(migrations.__file__).with_name("versions").glob("[0-9]*.py")
    return f"{max(int(file.stem.partition('_')[0]) for file in files) + number:04}"


def execute(url: str, *statements: str) -> list[object]:
    place = make_url(url)
    driver = "postgresql+psycopg" if place.get_backend_name() == "postgresql" else "sqlite"
    engine = create_engine(place.set(drivername=driver), poolclass=NullPool)
    with engine.begin() as connection:
        results = [connection.execute(text(statement)) for statement in statements]
        return [row[0] for result in results if result.returns_rows for row in result]


def be_at(url: str, revision: str, table: str = "laneway_version") -> None:
    execute(url, f"UPDATE {table} SET version_num = '{revision}'")


def test_an_empty_database_gets_all_tables(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ischema_names, "xid8", Xid8)
    migrations.migrate(empty_url)

    place = make_url(empty_url)
    driver = "postgresql+psycopg" if place.get_backend_name() == "postgresql" else "sqlite"
    with create_engine(place.set(drivername=driver), poolclass=NullPool).connect() as connection:
        only_postgres = {"events_by_order"} if driver == "sqlite" else set()
        options = {
            "version_table": "laneway_version",
            "include_object": lambda _, name, *others: name not in only_postgres,
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == [], "the migrations make what schema.py describes"


def test_migrating_twice_changes_nothing(empty_url: str) -> None:
    migrations.migrate(empty_url)
    execute(empty_url, "INSERT INTO inbox (message_id, method, processed_at) VALUES ('m-1', 'Ship', 1.0)")

    migrations.migrate(empty_url)

    assert execute(empty_url, "SELECT message_id FROM inbox") == ["m-1"]
    migrations.check(empty_url)


def test_processes_that_migrate_at_once_take_turns(empty_url: str, author: Path) -> None:
    script = "import sys, pathlib; from laneway.store.migrations import migrate; "
    script += "migrate(sys.argv[1], author=pathlib.Path(sys.argv[2]), service='orders')"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", script, empty_url, str(author)]
    processes = [subprocess.Popen(command, env=environment) for _ in range(3)]

    assert [process.wait(60) for process in processes] == [0, 0, 0]
    migrations.check(empty_url, author=author, service="orders")


def test_a_second_migration_waits_for_the_first_on_postgres(postgres_url: str) -> None:
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with psycopg.connect(postgres_url) as first, ThreadPoolExecutor() as threads:
        first.execute("SELECT pg_advisory_xact_lock(%s)", (migrations.LOCK,))
        second = threads.submit(migrations.migrate, postgres_url)
        while first.execute(waiting).fetchone() == (0,):
            assert not second.done(), "it did not wait"
        first.commit()
        second.result(timeout=30)

    migrations.check(postgres_url)


def test_authors_have_revisions_of_their_own(empty_url: str, author: Path) -> None:
    migrations.migrate(empty_url, author=author, service="order-desk")
    add_revision(author, 2)
    migrations.migrate(empty_url, author=author, service="order-desk")

    assert execute(empty_url, "SELECT version_num FROM order_desk_version") == ["0002"]
    assert execute(empty_url, "SELECT version_num FROM laneway_version") == [after_newest(0)]
    execute(empty_url, "INSERT INTO authors_2 VALUES ('x')")


def test_a_database_that_was_never_migrated_names_the_remedy(empty_url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"run `laneway migrate`"):
        migrations.check(empty_url)


def test_checking_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"run `laneway migrate`"):
        migrations.check(f"sqlite:///{tmp_path}/orders.db")

    assert list(tmp_path.iterdir()) == []


def test_an_author_s_older_database_names_the_remedy(empty_url: str, author: Path) -> None:
    migrations.migrate(empty_url, author=author, service="orders")
    add_revision(author, 2)

    with pytest.raises(ConfigurationError, match=r"0001 in orders_version and this code needs 0002; run"):
        migrations.check(empty_url, author=author, service="orders")


def test_a_database_of_the_next_version_is_accepted(empty_url: str) -> None:
    migrations.migrate(empty_url)
    be_at(empty_url, after_newest(1))

    migrations.check(empty_url)
    migrations.migrate(empty_url)

    assert execute(empty_url, "SELECT version_num FROM laneway_version") == [after_newest(1)]


def test_a_database_that_is_two_versions_ahead_is_refused(empty_url: str) -> None:
    migrations.migrate(empty_url)
    be_at(empty_url, after_newest(2))

    for refused in (migrations.check, migrations.migrate):
        with pytest.raises(
            ConfigurationError, match=rf"revision {after_newest(2)} .* newer version of the code"
        ) as raised:
            refused(empty_url)
        assert str(raised.value).startswith(
            f"{location.name(location.parsed(empty_url))} has revision {after_newest(2)}"
        )
        assert "\n" not in str(raised.value)


def test_a_migration_that_fails_leaves_the_database_as_it_was(empty_url: str, author: Path) -> None:
    (author / "0002_broken.py").write_text(
        _REVISION.format(number=2, down='"0001"') + "    raise LookupError('author')\n"
    )

    with pytest.raises(LookupError):
        migrations.migrate(empty_url, author=author, service="orders")

    with pytest.raises(ConfigurationError, match=r"revision 0000 in laneway_version"):
        migrations.check(empty_url)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql://localhost/x", "does not know"),
        ("no url at all", "not a URL"),
        ("sqlite://", "migrated when it is opened"),
        ("sqlite:////proc/nowhere/orders.db", "cannot be made"),
    ],
)
def test_a_wrong_url_is_one_sentence(url: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        migrations.migrate(url)


async def test_a_file_that_is_no_database_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "orders.db").write_text("these are not the pages you are looking for" * 50)
    url = f"sqlite:///{tmp_path}/orders.db"

    with pytest.raises(ConfigurationError, match="not a database"):
        migrations.migrate(url)
    with pytest.raises(ConfigurationError, match="not a database"):
        migrations.check(url)
    with pytest.raises(ConfigurationError, match="not a database"):
        await Store.open(url, pool=1)


def test_a_folder_without_migrations_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no folder"):
        migrations.migrate(f"sqlite:///{tmp_path}/orders.db", author=tmp_path / "gone", service="orders")


async def test_a_store_migrates_itself_for_tests(store: Store, author: Path) -> None:
    await store.migrate(author, "orders")

    await store.commit([inbox.record("m-1", "Ship", 1.0)])
    assert await store.fetch(text("SELECT id FROM authors_1")) == []


def test_a_database_in_memory_begins_as_the_revisions_make_a_file(tmp_path: Path) -> None:
    migrations.migrate(f"sqlite:///{tmp_path}/orders.db")
    with closing(connect(tmp_path / "orders.db")) as file, closing(connect(None)) as memory:
        migrations.begin(memory)

        assert list(memory.iterdump()) == list(file.iterdump())
        memory.execute("DELETE FROM laneway_version")
        with closing(connect(None)) as another:
            migrations.begin(another)
            assert list(another.iterdump()) == list(file.iterdump()), "one is a copy of what another has done"
