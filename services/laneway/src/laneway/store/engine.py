"""The seam between the store and a database: what each engine can do. Must not know SQL."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from laneway.store.compile import Compiler, Prepared, Row
from laneway.store.transaction import Dialect, Transaction, Write

Step = tuple[Prepared, Write]
"""A write and its statement, compiled for the engine's driver."""


class Engine(Protocol):
    """A database behind its driver, used by one event loop."""

    dialect: Dialect
    compiler: Compiler

    @property
    def batches(self) -> int:
        """Transactions that the database committed; several commits may share one."""
        ...

    @property
    def commits(self) -> int:
        """Commits that were in them."""
        ...

    async def commit(self, steps: Sequence[Step]) -> None:
        """Run all steps in one transaction and check what each expects."""
        ...

    async def fetch(self, query: Prepared) -> list[Row]:
        """Read outside any transaction."""
        ...

    async def begin(self) -> Transaction:
        """Open an explicit transaction."""
        ...

    async def migrate(self, author: Path | None, service: str) -> None:
        """Bring the tables to their newest revision."""
        ...

    async def close(self) -> None:
        """Finish what has begun, then let threads and connections go."""
        ...
