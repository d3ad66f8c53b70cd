"""Statements become SQL once for each shape, and their values follow them."""

import gc
import sqlite3
from typing import Any

import psycopg
import pytest
from sqlalchemy import JSON, Boolean, Column, Integer, MetaData, Table, Text, bindparam, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as insert_once
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.schema import CreateTable

from laneway.errors import Internal
from laneway.store.compile import Compiler

lamps = Table(
    "lamps",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("name", Text),
    Column("lit", Boolean, default=False, onupdate=True),
    Column("wiring", JSON),
)


@pytest.fixture
def sqlite() -> Compiler:
    return Compiler(SQLiteDialect_pysqlite(paramstyle="qmark", dbapi=sqlite3))


@pytest.fixture
def postgres() -> Compiler:
    return Compiler(PGDialect_psycopg(paramstyle="format", dbapi=psycopg))


def test_values_follow_a_statement_of_a_known_shape(sqlite: Compiler) -> None:
    prepared = [sqlite.prepare(select(lamps.c.id).where(lamps.c.name == name).limit(2)) for name in ("a", "b")]

    assert [each.parameters[0][:2] for each in prepared] == [("a", 2), ("b", 2)]
    assert prepared[0].shape is prepared[1].shape, "compiled once"


def test_an_in_list_has_as_many_places_as_values(sqlite: Compiler, postgres: Compiler) -> None:
    for ids in ([1], [1, 2, 3], []):
        query = select(lamps.c.id).where(lamps.c.id.in_(ids))

        assert sqlite.prepare(query).parameters == [tuple(ids)]
        assert postgres.prepare(query).sql.count("%s::INTEGER") == len(ids)


def test_rows_are_bound_by_name_in_the_statement_s_order(sqlite: Compiler) -> None:
    prepared = sqlite.prepare(
        insert(lamps), [{"name": "a", "id": 1, "lit": True}, {"lit": False, "id": 2, "name": "b"}]
    )

    assert prepared.sql == "INSERT INTO lamps (id, name, lit) VALUES (?, ?, ?)"
    assert prepared.parameters == [(1, "a", 1), (2, "b", 0)]


def test_columns_that_are_left_out_get_their_defaults(sqlite: Compiler) -> None:
    assert sqlite.prepare(insert(lamps), [{"id": 1}]).parameters == [(1, 0)]
    assert sqlite.prepare(insert(lamps).values(id=1)).parameters == [(1, 0)]
    assert sqlite.prepare(update(lamps).values(name="a")).parameters == [("a", 1)]


def test_no_generated_key_is_asked_for(postgres: Compiler) -> None:
    assert "RETURNING" not in postgres.prepare(insert(lamps).values(name="a")).sql
    assert "RETURNING lamps.id" in postgres.prepare(insert(lamps).values(name="a").returning(lamps.c.id)).sql


def test_values_pass_the_processors_of_their_types(sqlite: Compiler) -> None:
    assert sqlite.prepare(insert(lamps).values(id=1, lit=True, wiring={"a": [1]})).parameters == [(1, 1, '{"a": [1]}')]


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_on_conflict_is_written_once_for_both(engine: str, request: pytest.FixtureRequest) -> None:
    compiler: Compiler = request.getfixturevalue(engine)
    ignore = insert_once(lamps).on_conflict_do_nothing(index_elements=["id"])
    upsert = insert_once(lamps).on_conflict_do_update(
        index_elements=["id"], set_={"name": "new"}, where=lamps.c.name == bindparam("old")
    )

    assert compiler.prepare(ignore, [{"id": 1}]).sql.endswith("ON CONFLICT (id) DO NOTHING")
    assert compiler.prepare(upsert, [{"id": 1, "old": "old"}]).parameters == [(1, False, "new", "old")]


def test_values_inside_on_conflict_follow_too(sqlite: Compiler) -> None:
    def upsert(name: str) -> list[tuple[object, ...]]:
        statement = insert_once(lamps).values(id=1, lit=True)
        return list(
            sqlite.prepare(statement.on_conflict_do_update(index_elements=["id"], set_={"name": name})).parameters
        )

    assert [upsert("a"), upsert("b")] == [[(1, 1, "a")], [(1, 1, "b")]]


def test_rows_have_names_and_python_values(sqlite: Compiler) -> None:
    with sqlite3.connect(":memory:") as connection:
        connection.execute(str(CreateTable(lamps).compile(dialect=sqlite.dialect)))
        connection.execute("INSERT INTO lamps VALUES (1, 'a', 1, '[1]')")
        query = sqlite.prepare(select(lamps, lamps.c.id.label("count")))
        cursor = connection.execute(query.sql, query.parameters[0])
        [row] = query.shape.rows(cursor.description, cursor.fetchall())
    connection.close()

    assert (row.id, row.name, row.lit, row.wiring, row.count) == (1, "a", True, [1], 1)
    assert row == (1, "a", True, [1], 1)
    assert row.as_dict() == {"id": 1, "name": "a", "lit": True, "wiring": [1], "count": 1}
    assert repr(row) == "Row(id=1, name='a', lit=True, wiring=[1], count=1)"


def test_textual_sql_takes_names_from_the_result(sqlite: Compiler) -> None:
    query = sqlite.prepare(text("SELECT :a AS a, 'x%' AS b"), [{"a": 1}])

    assert query.parameters == [(1,)]
    assert query.shape.rows([("a", None), ("b", None)], [(1, "x%")])[0].b == "x%"


ANEW = iter(range(1_000))
KNOWN: list[tuple[Any, list[dict[str, Any]]]] = [
    (insert(lamps), [{"name": "a", "id": 1}, {"id": 2, "name": "b"}]),
    (insert(lamps).values(lit=True), [{"id": 1, "wiring": {"a": 1}}]),
    (update(lamps).where(lamps.c.id == bindparam("of_id")), [{"of_id": 1, "name": "a"}]),
    (update(lamps).where(lamps.c.name == "old").values(name="new"), []),
    (select(lamps.c.id).where(lamps.c.lit == bindparam("is_lit", type_=lamps.c.lit.type)), [{"is_lit": True}]),
    (text("SELECT :a, :b, :a"), [{"a": 1, "b": 2}]),
    (
        insert_once(lamps).on_conflict_do_update(
            index_elements=["id"], set_={"name": "new"}, where=lamps.c.name == bindparam("old")
        ),
        [{"id": 1, "lit": False, "old": "old"}],
    ),
]


@pytest.mark.parametrize("place", range(len(KNOWN)))
def test_a_statement_that_is_known_gets_the_values_of_each_time(sqlite: Compiler, place: int) -> None:
    statement, rows = KNOWN[place]
    first, _, again = (sqlite.prepare(statement, rows) for _ in range(3))
    turned = [{name: row[name] for name in reversed(row)} for row in rows]

    assert any(sqlite._plans[statement].values())
    assert (again.sql, list(again.parameters)) == (first.sql, list(first.parameters))
    assert list(sqlite.prepare(statement, turned).parameters) == list(first.parameters)
    if rows:
        others = [{name: rows[-1][name] for name in row} for row in rows[:1]]
        assert list(sqlite.prepare(statement, others).parameters) == [first.parameters[-1]]


def test_a_value_that_is_made_for_each_time_is(sqlite: Compiler) -> None:
    query = select(lamps.c.id).where(lamps.c.id == bindparam("next", callable_=lambda: next(ANEW)))

    assert [sqlite.prepare(query).parameters for _ in range(4)] == [[(0,)], [(1,)], [(2,)], [(3,)]]


def test_what_nobody_has_any_more_is_not_kept(sqlite: Compiler) -> None:
    for name in "abc":
        sqlite.prepare(select(lamps.c.id).where(lamps.c.name == name))
    gc.collect()

    assert len(sqlite._plans) == 1, "what the compiled one was made of"


def test_an_in_list_takes_one_row(sqlite: Compiler) -> None:
    statement = update(lamps).where(lamps.c.id.in_([1])).values(name=bindparam("new"))

    with pytest.raises(Internal, match="one statement for each"):
        sqlite.prepare(statement, [{"new": "a"}, {"new": "b"}])


def test_tables_are_not_made_here(sqlite: Compiler) -> None:
    with pytest.raises(Internal, match="made by migrations"):
        sqlite.prepare(CreateTable(lamps))


def test_the_cache_does_not_grow_for_ever(sqlite: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("laneway.store.compile._KEPT", 3)

    for at in range(10):
        sqlite.prepare(select(lamps.c.id.label(f"column_{at}")))

    assert len(sqlite._known) <= 3
