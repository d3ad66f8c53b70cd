"""Reads and commits as spans: which table, how many statements; no statement's text and no value."""

from collections.abc import Mapping

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from sqlalchemy import Column, Executable, MetaData, Table, Text, func, select, text

from laneway.store import Row, StoreUnavailable
from laneway.store.traced import TracedReader, committing
from laneway.store.transaction import Dialect
from laneway.telemetry.tracing import Tracing

metadata = MetaData()
orders = Table("orders", metadata, Column("name", Text), Column("email", Text))
lines = Table("lines", metadata, Column("order_name", Text))


class Away:
    """A database that does not answer."""

    dialect: Dialect = "postgresql"

    async def fetch(self, query: Executable, values: Mapping[str, object] | None = None) -> list[Row]:
        raise StoreUnavailable("the text of an error is nobody's business")


class Empty(Away):
    """A database that has nothing."""

    async def fetch(self, query: Executable, values: Mapping[str, object] | None = None) -> list[Row]:
        return []


@pytest.fixture
def memory() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(memory: InMemorySpanExporter) -> Tracing:
    return Tracing("orders", "orders-1", memory)


async def test_a_read_tells_its_table_and_none_of_its_values(tracing: Tracing, memory: InMemorySpanExporter) -> None:
    await TracedReader(Empty(), tracing).fetch(select(orders).where(orders.c.email == "ada@example.org"))

    [span] = memory.get_finished_spans()
    assert (span.name, span.kind) == ("SELECT orders", SpanKind.CLIENT)
    assert dict(span.attributes or {}) == {
        "db.system.name": "postgresql", "db.operation.name": "SELECT", "db.collection.name": "orders",
        "laneway.lane": "sql",
    }  # fmt: skip
    assert "ada@example.org" not in span.to_json()


@pytest.mark.parametrize(
    ("query", "name"),
    [
        (select(orders, lines), "SELECT orders lines"),
        (select(func.count()).select_from(orders), "SELECT"),
        (text("SELECT 1"), "SELECT"),
    ],
)
async def test_a_read_is_named_by_what_is_known_of_it(
    tracing: Tracing, memory: InMemorySpanExporter, query: Executable, name: str
) -> None:
    await TracedReader(Empty(), tracing).fetch(query)

    [span] = memory.get_finished_spans()
    assert span.name == name
    assert "db.collection.name" not in (span.attributes or {})


async def test_a_read_that_fails_says_how(tracing: Tracing, memory: InMemorySpanExporter) -> None:
    with pytest.raises(StoreUnavailable):
        await TracedReader(Away(), tracing).fetch(select(orders))

    [span] = memory.get_finished_spans()
    assert (span.attributes or {})["error.type"] == "StoreUnavailable"
    assert "nobody's business" not in span.to_json()


def test_a_commit_says_how_many_statements_it_has(tracing: Tracing, memory: InMemorySpanExporter) -> None:
    for writes in (1, 3):
        with committing(tracing, "sqlite", writes):
            pass

    one, three = (dict(span.attributes or {}) for span in memory.get_finished_spans())
    assert one == {"db.system.name": "sqlite", "db.operation.name": "COMMIT", "laneway.lane": "sql"}
    assert three == {**one, "db.operation.batch.size": 3}
