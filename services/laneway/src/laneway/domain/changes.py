"""What a projection wants changed in its view, and how many changes become few statements.

Changes are data, so a projection needs no database to be tested. Those of one batch are condensed: a row that a
thousand events count in is written once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlalchemy import Executable, Table, bindparam, delete, func
from sqlalchemy.dialects.postgresql import insert  # its ON CONFLICT is compiled for SQLite as well

from laneway.store import Write

GENERATION = "generation"
"""The column of a view's tables that tells the rows of a rebuilt view from those of the one in use."""


@dataclass(frozen=True, slots=True)
class Add:
    """Add amounts to a row, which begins with them when it is not there."""

    table: Table
    key: Mapping[str, object]
    amounts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Put:
    """Set columns of a row, which begins with them when it is not there."""

    table: Table
    key: Mapping[str, object]
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a row, if it is there."""

    table: Table
    key: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Execute:
    """Run a statement after all changes before this one: for what depends on rows that are there.

    It must keep to the rows whose generation is `bindparam("of_generation")`.
    """

    statement: Executable
    values: Mapping[str, object] = field(default_factory=dict)


Change: TypeAlias = Add | Put | Remove | Execute


@dataclass(slots=True)
class _Row:
    """What becomes of one row: perhaps removed, then columns set, then amounts added."""

    key: Mapping[str, object]
    removed: bool = False
    values: dict[str, object] = field(default_factory=dict)
    amounts: dict[str, float] = field(default_factory=dict)

    def take(self, change: Add | Put | Remove) -> None:
        if isinstance(change, Add):
            self._add(change.amounts)
        elif isinstance(change, Put):
            self.values |= change.values
            self.amounts = {name: amount for name, amount in self.amounts.items() if name not in change.values}
        else:
            self.removed, self.values, self.amounts = True, {}, {}

    def _add(self, amounts: Mapping[str, float]) -> None:
        values, own = self.values, self.amounts
        for name, amount in amounts.items():
            if name in values:
                values[name] = (values[name] or 0) + amount  # type: ignore[operator]
            else:
                own[name] = own.get(name, 0) + amount


def condensed(changes: Iterable[Change], generation: int) -> Iterator[Write]:
    """The writes that make these changes in one generation of a view."""
    rows: dict[tuple[int, Any], _Row] = {}
    tables: dict[int, Table] = {}
    for change in changes:
        if isinstance(change, Execute):
            yield from _written(rows, tables, generation)
            rows = {}
            yield Write(change.statement, [{**change.values, "of_generation": generation}])
            continue
        table, key = change.table, change.key
        tables[id(table)] = table
        where = id(table), tuple(key.values()) if len(key) > 1 else next(iter(key.values()))
        row = rows.get(where)
        if row is None:
            row = rows[where] = _Row(key)
        row.take(change)
    yield from _written(rows, tables, generation)


def _written(rows: Mapping[tuple[int, Any], _Row], tables: Mapping[int, Table], generation: int) -> Iterator[Write]:
    removed: dict[int, list[Mapping[str, object]]] = {}
    written: dict[tuple[int, tuple[str, ...], tuple[str, ...]], list[Mapping[str, object]]] = {}
    for (table, _), row in rows.items():
        if row.removed:
            removed.setdefault(table, []).append({f"of_{name}": value for name, value in row.key.items()})
        if row.values or row.amounts:
            shape = table, tuple(sorted(row.values)), tuple(sorted(row.amounts))
            values = {GENERATION: generation, **row.key, **row.values, **row.amounts}
            written.setdefault(shape, []).append(values)
    for table, keys in removed.items():
        yield Write(_delete(tables[table], keys[0]), [{**key, f"of_{GENERATION}": generation} for key in keys])
    for (table, values_of, amounts_of), of_shape in written.items():
        yield Write(_upsert(tables[table], values_of, amounts_of), of_shape)


def _delete(table: Table, key: Iterable[str]) -> Executable:
    names = [f"of_{GENERATION}", *key]
    return delete(table).where(*(table.c[name.removeprefix("of_")] == bindparam(name) for name in names))


def _upsert(table: Table, values: Sequence[str], amounts: Sequence[str]) -> Executable:
    statement = insert(table)
    new = statement.excluded
    changed = {name: new[name] for name in values} | {
        name: func.coalesce(table.c[name], 0) + new[name] for name in amounts
    }
    return statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=changed)
