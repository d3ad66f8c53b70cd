"""SQLAlchemy Core expressions → SQL and parameters for a driver, and a driver's rows → rows with names.

Statements are compiled once for each shape, as SQLAlchemy's own engine does it (`DefaultExecutionContext` is the
model; the few underscored names used here are the ones it uses). Values pass the bind processors of their types, so
authors may use `DateTime`, `JSON`, `Boolean` and the rest. This module must not know connections.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, cast
from weakref import WeakKeyDictionary

from sqlalchemy import ClauseElement, Executable
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import ExecutableDDLElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from laneway.errors import Internal

Parameters = tuple[Any, ...]
_KEPT = 1_000  # compiled statements; the oldest goes first


class Row(tuple[Any, ...]):
    """One row: a tuple whose columns are attributes as well. A column named `count` hides the tuple's method."""

    __slots__ = ()
    columns_: ClassVar[tuple[str, ...]] = ()

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def as_dict(self) -> dict[str, Any]:
        """The row by column name."""
        return dict(zip(self.columns_, self, strict=True))

    def __repr__(self) -> str:
        return f"Row({', '.join(f'{name}={value!r}' for name, value in self.as_dict().items())})"


@dataclass(slots=True)
class Shape:
    """The columns of a statement's result: names and result processors, found at the first result."""

    dialect: Dialect
    columns: Sequence[tuple[str, TypeEngine[Any]]]
    _row: type[Row] | None = None
    _processors: list[Callable[[Any], Any] | None] = field(default_factory=list)

    def rows(self, description: Sequence[Any] | None, values: Sequence[Parameters]) -> list[Row]:
        """The driver's rows with names and Python values."""
        row = self._row or self._learn(description or ())
        if not any(self._processors):
            return [row(each) for each in values]
        return [
            row(value if process is None else process(value) for process, value in zip(self._processors, each))  # noqa: B905 (hot)
            for each in values
        ]

    def _learn(self, description: Sequence[Any]) -> type[Row]:
        names = [str(column[0]) for column in description]
        if len(self.columns) == len(names):  # a textual statement does not know its columns
            names = [name for name, _ in self.columns]
            self._processors = [
                type_.dialect_impl(self.dialect).result_processor(self.dialect, column[1])
                for (_, type_), column in zip(self.columns, description, strict=True)
            ]
        attributes: dict[str, Any] = {name: property(itemgetter(at)) for at, name in enumerate(names)}
        self._row = type("Row", (Row,), {**attributes, "__slots__": (), "columns_": tuple(names)})
        return self._row


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement for a driver, with the positional parameters of each row."""

    sql: str
    parameters: Sequence[Parameters]
    shape: Shape


@dataclass(frozen=True, slots=True)
class _Compiled:
    compiled: SQLCompiler
    shape: Shape
    defaults: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the value of one parameter comes from: a row's value of that name, or what the statement itself has."""

    name: str | None
    own: Any
    process: Callable[[Any], Any] | None


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a statement that has been seen before gets its values, without SQLAlchemy's help."""

    sql: str
    places: Sequence[_Place]
    shape: Shape

    def prepared(self, rows: Sequence[Mapping[str, object]]) -> Prepared:
        return Prepared(self.sql, [self._parameters(row) for row in rows or ({},)], self.shape)

    def _parameters(self, row: Mapping[str, object]) -> Parameters:
        values = []
        for place in self.places:
            value = place.own if place.name is None else row[place.name]
            values.append(value if place.process is None else place.process(value))
        return tuple(values)


class Compiler:
    """Statements for one dialect of positional parameters. Belongs to one thread."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._known: dict[object, _Compiled] = {}
        # By the statement itself: most are made once, and finding out what SQLAlchemy knows of one costs more than
        # running it.
        self._plans: WeakKeyDictionary[Executable, dict[tuple[str, ...], _Plan | None]] = WeakKeyDictionary()

    def prepare(self, statement: Executable, rows: Sequence[Mapping[str, object]] = ()) -> Prepared:
        """The statement with its values.

        Args:
            rows: values of named parameters and, in an insert or update, of columns; each row has the same names.
        """
        plans = self._plans.setdefault(statement, {})
        names = tuple(rows[0]) if rows else ()
        if names in plans and (plan := plans[names]) is not None:
            return plan.prepared(rows)
        return self._prepare(statement, rows, plans)

    def _prepare(
        self, statement: Executable, rows: Sequence[Mapping[str, object]], plans: dict[tuple[str, ...], _Plan | None]
    ) -> Prepared:
        element = cast(ClauseElement, statement)
        names = sorted(rows[0]) if rows else []
        cache_key = element._generate_cache_key()
        found = self._compiled(element, names, cache_key)
        collected = getattr(cache_key, "params", None) or {}  # `statement.params(...)` of SQLAlchemy ≥ 2.1
        expanded: list[Prepared] = []
        parameters: list[Parameters] = []
        for row in rows or ({},):
            values = found.compiled.construct_params(
                {**_made(found.defaults), **collected, **row},
                extracted_parameters=cache_key.bindparams if cache_key else None,
                escape_names=False,
            )
            if found.compiled.post_compile_params:
                expanded.append(self._expand(found, values))
            else:
                parameters.append(_positional(found.compiled, values))
        if not expanded:
            given = tuple(rows[0]) if rows else ()
            if given not in plans:
                plans[given] = None  # many are run once
            elif not collected and not _asks_each_time(found, cache_key):
                plans[given] = _plan(found, values, names)
            return Prepared(found.compiled.string, parameters, found.shape)
        if len(expanded) > 1:
            raise Internal("A statement with an IN list takes one row of values; write one statement for each.")
        return expanded[0]

    def _compiled(self, statement: ClauseElement, names: list[str], cache_key: Any) -> _Compiled:
        key = (cache_key.key, tuple(names)) if cache_key else None
        if key is not None and key in self._known:
            return self._known[key]
        if isinstance(statement, ExecutableDDLElement):
            raise Internal("Tables are made by migrations; execute selects, inserts, updates and deletes here.")
        compiled = statement.compile(
            dialect=self.dialect,
            cache_key=cache_key,
            column_keys=names,
            for_executemany=True,  # no RETURNING of generated keys that nobody asked for
        )
        assert isinstance(compiled, SQLCompiler)  # noqa: S101 (only DDL has another)
        columns = [(entry.keyname, entry.type) for entry in compiled._result_columns]
        found = _Compiled(compiled, Shape(self.dialect, columns), _column_defaults(compiled))
        if key is not None:
            if len(self._known) >= _KEPT:
                del self._known[next(iter(self._known))]
            self._known[key] = found
        return found

    def _expand(self, found: _Compiled, values: Mapping[str, Any]) -> Prepared:
        state = found.compiled.construct_expanded_state(values, escape_names=False)
        processors = {**found.compiled._bind_processors, **state.processors}
        parameters = tuple(
            processors[name](state.parameters[name]) if name in processors else state.parameters[name]  # type: ignore[operator]
            for name in state.positiontup or ()
        )
        return Prepared(state.statement, [parameters], found.shape)


def _asks_each_time(found: _Compiled, cache_key: Any) -> bool:
    """Whether a value comes from a function, which is called for each execution."""
    own = cache_key.bindparams if cache_key else found.compiled.bind_names
    return any(each.callable for each in own) or any(each.is_callable for each in found.defaults.values())


def _plan(found: _Compiled, values: Mapping[str, Any], names: Sequence[str]) -> _Plan:
    """`values` are those of one row, by the names of the parameters, which are not always the keys of the row."""
    processors, keys = found.compiled._bind_processors, {}
    for parameter, name in found.compiled.bind_names.items():
        keys[name] = next((key for key in (parameter.key, name) if key in names), None)
    places = [
        _Place(keys[name], None if keys[name] else values[name], cast(Any, processors.get(name)))
        for name in found.compiled.positiontup or ()
    ]
    return _Plan(found.compiled.string, places, found.shape)


def _positional(compiled: SQLCompiler, values: Mapping[str, Any]) -> Parameters:
    processors = compiled._bind_processors
    return tuple(
        processors[name](values[name]) if name in processors else values[name]  # type: ignore[operator]
        for name in compiled.positiontup or ()
    )


def _column_defaults(compiled: SQLCompiler) -> dict[str, Any]:
    """`default=` and `onupdate=` of columns that the statement leaves out; SQL expressions are in its text already."""
    defaults = {column.key: column.default for column in compiled.insert_prefetch}
    defaults |= {column.key: column.onupdate for column in compiled.update_prefetch}
    return {name: default for name, default in defaults.items() if default is not None}


def _made(defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {name: each.arg(None) if each.is_callable else each.arg for name, each in defaults.items()}
