"""Changes of a view: many become few statements, and mean what one after the other would have meant."""

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Connection, Integer, MetaData, Table, Text, bindparam, create_engine, select, update

from laneway.domain.changes import Add, Change, Execute, Put, Remove, condensed

counts = Table(
    "counts",
    MetaData(),
    Column("generation", Integer, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("number", Integer),
    Column("note", Text),
)


@pytest.fixture(scope="module")
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    counts.create(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def made(connection: Connection, *batches: Iterable[Change], generation: int = 1) -> dict[str, tuple[object, object]]:
    """The rows of a generation after some batches, which are undone then."""
    try:
        for batch in batches:
            for write in condensed(batch, generation):
                connection.execute(write.statement, [dict(row) for row in write.rows])
        rows = connection.execute(select(counts).where(counts.c.generation == generation))
        return {row.key: (row.number, row.note) for row in rows}
    finally:
        connection.rollback()


def add(key: str, number: int) -> Add:
    return Add(counts, {"key": key}, {"number": number})


def put(key: str, **values: object) -> Put:
    return Put(counts, {"key": key}, values)


def remove(key: str) -> Remove:
    return Remove(counts, {"key": key})


def test_a_thousand_additions_to_a_row_are_one_statement_with_one_row() -> None:
    [write] = condensed([add("a", 1)] * 1_000, generation=1)
    assert write.rows == [{"generation": 1, "key": "a", "number": 1_000}]


def test_rows_of_one_shape_share_a_statement() -> None:
    writes = list(condensed([add("a", 1), add("b", 2), put("c", note="x")], generation=1))
    assert [len(write.rows) for write in writes] == [2, 1]


_CHANGES = st.one_of(
    st.builds(add, st.sampled_from("abc"), st.integers(-5, 5)),
    st.builds(lambda key, number: put(key, number=number), st.sampled_from("abc"), st.integers(-5, 5)),
    st.builds(lambda key, note: put(key, note=note), st.sampled_from("abc"), st.sampled_from("xyz")),
    st.builds(remove, st.sampled_from("abc")),
)


@given(before=st.lists(_CHANGES, max_size=4), changes=st.lists(_CHANGES, max_size=12))
def test_a_batch_comes_to_what_its_changes_come_to_one_by_one(
    connection: Connection, before: list[Change], changes: list[Change]
) -> None:
    assert made(connection, before, changes) == made(connection, before, *([change] for change in changes))


def test_a_statement_runs_after_the_changes_before_it_and_keeps_to_its_generation(connection: Connection) -> None:
    doubled = update(counts).where(counts.c.generation == bindparam("of_generation"))
    double = Execute(doubled.values(number=counts.c.number * 2))
    assert made(connection, [add("a", 3), double, add("a", 1)]) == {"a": (7, None)}


def test_a_generation_does_not_see_another(connection: Connection) -> None:
    for write in condensed([add("a", 5)], generation=1):
        connection.execute(write.statement, [dict(row) for row in write.rows])
    assert made(connection, [add("a", 1), remove("b")], generation=2) == {"a": (1, None)}
