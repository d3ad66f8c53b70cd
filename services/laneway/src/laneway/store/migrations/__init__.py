"""Tables by revision: Alembic, without its command line and environment script.

Laneway's revisions are in `versions/`, an author's in a folder of their own with a version table of its own. A
revision is numbered, `0001_what_it_does.py` with `revision = "0001"`: so code of version N can tell a database that is
one revision newer, which it must run on while N+1 is rolled out, from one that it does not know.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, create_engine, exc, text
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool, StaticPool

from laneway.errors import ConfigurationError
from laneway.store import location
from laneway.store.sqlite import connect
from laneway.store.writer import begin_immediate

LOCK = 0x1A9E_3A7
"""The key of `pg_advisory_xact_lock`: one process at a time migrates a database."""

_IN_PROCESS = threading.Lock()  # `alembic.op` is one per process


def migrate(url: str, *, author: Path | None = None, service: str = "") -> None:
    """Bring a database to the newest revision of this code; one that is a revision ahead stays as it is.

    Args:
        author: the folder of the author's revisions.
        service: names the author's version table.

    Raises:
        ConfigurationError: the database cannot be reached, or is newer by more than one revision.
    """
    place = location.parsed(url)
    if place.get_backend_name() == "postgresql":
        _migrate_postgres(place, _histories(author, service))
    elif (file := location.sqlite_file(place)) is None:
        raise ConfigurationError("A database in memory is migrated when it is opened; call migrate() of its store.")
    else:
        location.make_parent(file)
        try:
            with closing(connect(file)) as connection:
                upgrade(connection, author=author, service=service, name=location.name(place))
        except sqlite3.Error as error:
            raise ConfigurationError(
                f"The database {file} cannot be migrated ({error}); correct {location.SETTINGS}, or the file."
            ) from error


def upgrade(
    connection: sqlite3.Connection, *, author: Path | None = None, service: str = "", name: str = "SQLite in memory"
) -> None:
    """Migrate over an open SQLite connection; `name` is how people know the database."""
    histories = _histories(author, service)
    engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
    try:
        with engine.connect() as bound:  # this rolls back what is open, so the transaction begins after it
            begin_immediate(connection)
            for history in histories:
                history.upgrade(bound, name)
            bound.commit()
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def begin(connection: sqlite3.Connection) -> None:
    """Give a new database in memory the tables of this code; the revisions run once in a process, and are copied."""
    with closing(sqlite3.connect(":memory:")) as made:
        made.deserialize(_new())
        made.backup(connection)


@cache
def _new() -> bytes:
    with closing(connect(None)) as connection:
        upgrade(connection)
        return connection.serialize()


def check(url: str, *, author: Path | None = None, service: str = "") -> None:
    """Refuse a database that this code cannot run on.

    Raises:
        ConfigurationError: it is older, newer by more than one revision, or cannot be reached.
    """
    place = location.parsed(url)
    with _reading(place) as connection:
        for history in _histories(author, service):
            history.check(history.revision_of(connection), location.name(place))


@dataclass(frozen=True, slots=True)
class _History:
    """The revisions of one folder, and the table that says how far a database has come."""

    folder: Path
    table: str
    newest: int

    def upgrade(self, connection: Connection, database: str) -> None:
        revision = self.revision_of(connection)
        if revision > self.newest + 1:
            raise self._too_new(revision, database)
        if revision >= self.newest:
            return
        # Imported here: checking a database, which every process does at its start, needs no Alembic.
        from alembic.config import Config
        from alembic.runtime.environment import EnvironmentContext
        from alembic.script import ScriptDirectory

        script = ScriptDirectory(str(self.folder), version_locations=[str(self.folder)])
        with (
            _IN_PROCESS,
            EnvironmentContext(Config(), script, fn=lambda at, _: script._upgrade_revs("head", at)) as environment,
        ):
            environment.configure(connection=connection, version_table=self.table)
            environment.run_migrations()

    def revision_of(self, connection: Connection | None) -> int:
        """The number of the database's revision; 0 before the first."""
        if connection is None or not connection.dialect.has_table(connection, self.table):
            return 0
        found = connection.execute(text(f"SELECT version_num FROM {self.table}")).scalar()  # noqa: S608 (our name)
        return 0 if found is None else _number(str(found))

    def check(self, revision: int, database: str) -> None:
        if revision < self.newest:
            raise ConfigurationError(
                f"{database} has revision {revision:04} in {self.table} and this code needs {self.newest:04}; "
                "run `laneway migrate`."
            )
        if revision > self.newest + 1:
            raise self._too_new(revision, database)

    def _too_new(self, revision: int, database: str) -> ConfigurationError:
        return ConfigurationError(
            f"{database} has revision {revision:04} in {self.table}, made by a newer version of the code, and this one "
            f"knows up to {self.newest:04} and runs on {self.newest + 1:04} at most; deploy the newer version."
        )


def _histories(author: Path | None, service: str) -> Sequence[_History]:
    histories = [_History(_VERSIONS, "laneway_version", _newest(_VERSIONS))]
    if author is not None:
        table = f"{service.replace('-', '_') or 'author'}_version"
        if not table.isidentifier():
            raise ConfigurationError(
                f"The service name {service!r} cannot name a version table; use letters, digits and dashes."
            )
        histories.append(_History(author, table, _newest(author)))
    return histories


_VERSIONS = Path(__file__).parent / "versions"


def _newest(folder: Path) -> int:
    if not folder.is_dir():
        raise ConfigurationError(f"There is no folder {folder} with migrations; correct the path given to the service.")
    return max((_number(file.stem.partition("_")[0], file) for file in folder.glob("[!_]*.py")), default=0)


def _number(revision: str, file: Path | None = None) -> int:
    if not revision.isdecimal():
        where = f"The migration {file}" if file else f"The database's revision {revision!r}"
        raise ConfigurationError(f"{where} has no number; name revisions 0001, 0002 and so on.")
    return int(revision)


def _migrate_postgres(place: URL, histories: Sequence[_History]) -> None:
    with _postgres(place) as connection, connection.begin():
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        for history in histories:
            history.upgrade(connection, location.name(place))


@contextmanager
def _reading(place: URL) -> Iterator[Connection | None]:
    """A connection to read with; none when there is no file yet."""
    if place.get_backend_name() == "postgresql":
        with _postgres(place) as connection:
            yield connection
        return
    file = location.sqlite_file(place)
    if file is None or not file.exists():
        yield None
        return
    engine = create_engine("sqlite://", creator=lambda: connect(file), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    except (sqlite3.Error, exc.DBAPIError) as error:
        raise ConfigurationError(
            f"{location.name(place)} cannot be opened as a database ({getattr(error, 'orig', error)}); "
            f"correct {location.SETTINGS}."
        ) from None


@contextmanager
def _postgres(place: URL) -> Iterator[Connection]:
    engine = create_engine(
        place.set(drivername="postgresql+psycopg"), poolclass=NullPool, connect_args={"connect_timeout": 5}
    )
    try:
        connection = engine.connect()
    except exc.OperationalError as error:
        raise location.unreachable(place, error.orig or error) from None
    try:
        yield connection
    finally:
        connection.close()
        engine.dispose()
