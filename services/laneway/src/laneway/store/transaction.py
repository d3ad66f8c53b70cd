"""What a caller says to a store: the writes of one commit, an explicit transaction, and how either can fail.

Everything a call writes is collected as `Write`s and committed in one short transaction. This module must not know
any database.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self

from sqlalchemy import Executable

from laneway.errors import Aborted, AlreadyExists, FailedPrecondition, Unavailable
from laneway.store.compile import Row

Dialect = Literal["sqlite", "postgresql"]


class VersionConflict(Aborted):
    """Somebody else committed first; what was read is out of date. Running the handler again may succeed."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="VERSION_CONFLICT")


class DuplicateKey(AlreadyExists):
    """A row of this key exists: a claim is taken, a message was seen."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="DUPLICATE_KEY")


class LeaseHeld(Aborted):
    """Another holder's lease has not expired."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message, reason="LEASE_HELD", retry_after=retry_after)


class LeaseLost(Aborted):
    """The lease expired and went to another holder, whose fencing token is higher."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="LEASE_LOST")


class ConstraintViolated(FailedPrecondition):
    """A NOT NULL, CHECK or FOREIGN KEY of the author's tables refused the row."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="CONSTRAINT_VIOLATED")


class StoreUnavailable(Unavailable):
    """The database cannot be reached, is locked for too long, is full, or the store is closed."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="STORE_UNAVAILABLE", retry_after=1.0)


@dataclass(frozen=True, slots=True)
class Write:
    """One statement of a commit.

    Attributes:
        statement: an insert, update or delete of SQLAlchemy Core.
        rows: its values, one mapping for each row; none when the statement carries its values.
        expect: how many rows it must change over all `rows`, or the whole commit is rolled back.
        otherwise: what is raised then; a `VersionConflict` by default.
    """

    statement: Executable
    rows: Sequence[Mapping[str, object]] = ()
    expect: int | None = None
    otherwise: Exception | None = None

    def check(self, changed: int) -> None:
        """Raise `otherwise` when another number of rows was changed than expected."""
        if self.expect is not None and changed != self.expect:
            raise self.otherwise or VersionConflict(
                f"A statement was to change {self.expect} rows and changed {changed}."
            )


class Reader(Protocol):
    """Where rows are read: a store, or an open transaction of it."""

    @property
    def dialect(self) -> Dialect:
        """Which SQL the database speaks."""
        ...

    async def fetch(self, query: Executable, values: Mapping[str, object] | None = None) -> list[Row]:
        """The rows of a select, or of a statement with RETURNING.

        Args:
            values: values of the query's named parameters.
        """
        ...


class Transaction(Reader, Protocol):
    """An explicit transaction. As a context manager it rolls back unless it was committed.

    SQLite lets one transaction write at a time, so a reader's values hold until the commit; on PostgreSQL the
    isolation level is REPEATABLE READ, and a row changed meanwhile is a `VersionConflict`.
    """

    async def execute(self, statement: Executable, rows: Sequence[Mapping[str, object]] = ()) -> int:
        """Run a statement now; the number of rows it changed."""
        ...

    async def commit(self, writes: Sequence[Write] = ()) -> None:
        """Run `writes`, then commit. A missed expectation rolls everything back."""
        ...

    async def rollback(self) -> None:
        """Undo everything. Nothing happens when the transaction has ended."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def ended() -> FailedPrecondition:
    """The error for using a transaction after its end."""
    return FailedPrecondition("The transaction has ended; open another one.", reason="TRANSACTION_ENDED")
