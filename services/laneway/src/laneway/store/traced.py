"""What a call asks of its database, as spans: each read, and the commit. Never the statement's text or a value.

Must not know what a call is.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from opentelemetry.trace import Span, SpanKind
from sqlalchemy import Executable

from laneway.store.compile import Row
from laneway.store.transaction import Dialect, Reader
from laneway.telemetry import names
from laneway.telemetry.tracing import Tracing


class TracedReader:
    """A reader each of whose reads is a span."""

    def __init__(self, reader: Reader, tracing: Tracing) -> None:
        self._reader = reader
        self._tracing = tracing

    @property
    def dialect(self) -> Dialect:
        """Which SQL the database speaks."""
        return self._reader.dialect

    async def fetch(self, query: Executable, values: Mapping[str, object] | None = None) -> list[Row]:
        """The rows of a select."""
        tables = _tables(query)
        attributes = names.database(self.dialect, "SELECT", tables)
        with self._tracing.span(names.database_span("SELECT", tables), SpanKind.CLIENT, attributes):
            return await self._reader.fetch(query, values)


def committing(tracing: Tracing, dialect: Dialect, writes: int) -> AbstractContextManager[Span]:
    """The span of a commit of so many writes."""
    attributes = names.database(dialect, "COMMIT", batch=writes)
    return tracing.span(names.database_span("COMMIT"), SpanKind.CLIENT, attributes)


def _tables(query: Any) -> list[str]:
    """Those whose columns are asked for: the others cost a compilation to find."""
    named = (getattr(each, "name", None) for each in getattr(query, "columns_clause_froms", ()))
    return [str(name) for name in named if name]
