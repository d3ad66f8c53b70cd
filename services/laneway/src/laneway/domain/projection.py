"""Projections: views over the log, kept by what has happened, whoever it happened to.

    bestsellers = Table(
        "bestsellers",
        MetaData(),
        Column("generation", Integer, primary_key=True),
        Column("product", Text, primary_key=True),
        Column("units", Integer, nullable=False),
    )

    class Bestsellers(Projection):
        tables = (bestsellers,)

        @projects(OrderPlaced)
        def _placed(self, event: Recorded[OrderPlaced]) -> Iterator[Change]:
            for line in event.message.lines:
                yield Add(bestsellers, {"product": line.product}, {"units": line.quantity})

    Service("orders", handlers, projections=[Bestsellers()])

    rows = await call.fetch(select(Bestsellers.view(bestsellers)).order_by(...))     # in a handler

A view is a little behind the log: what must be true with a handler's return is written by the handler. It is for what
would make handlers wait for each other (a row that every call counts in), and for what is thought of later: it begins
at the first event.

Each table has a `generation` in its primary key, so that a view is rebuilt beside the one that is read, and readers
change over in one commit. When a projection changes, raise its `version`: the next process that runs it rebuilds it.
An event whose changes fail holds its stream, and no other; the log goes on.

Methods are pure: given an event, they say what changes. Must not know the store's engine: a change is data.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

from google.protobuf.message import Message
from sqlalchemy import Subquery, Table, select

from laneway.domain.changes import GENERATION, Change
from laneway.domain.recorded import Recorded
from laneway.errors import ConfigurationError
from laneway.store.projections import live_generation

P = TypeVar("P", bound="Projection")
E = TypeVar("E", bound=Message)

_PROJECTS = "_laneway_projects"


def projects(
    event: type[E],
) -> Callable[[Callable[[P, Recorded[E]], Iterable[Change]]], Callable[[P, Recorded[E]], Iterable[Change]]]:
    """Register a method as what an event changes in a view."""
    if not (isinstance(event, type) and issubclass(event, Message)):
        raise ConfigurationError(f"@projects needs the class of a protobuf message, not {event!r}.")

    def register(method: Callable[[P, Recorded[E]], Iterable[Change]]) -> Callable[[P, Recorded[E]], Iterable[Change]]:
        setattr(method, _PROJECTS, event)
        return method

    return register


class Projection:
    """A view over the log. Its `name`, if none is set, is the class's in snake case."""

    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    tables: ClassVar[tuple[Table, ...]] = ()
    _methods: ClassVar[Mapping[str, tuple[type[Message], str]]] = MappingProxyType({})
    _by_class: ClassVar[Mapping[type[Message], Callable[..., Iterable[Change]]]] = MappingProxyType({})

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls.name = vars(cls).get("name") or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
        found = {name: event for name, member in vars(cls).items() if (event := getattr(member, _PROJECTS, None))}
        own = {event.DESCRIPTOR.full_name: (event, name) for name, event in found.items()}
        cls._methods = MappingProxyType({**cls._methods, **own})
        cls._by_class = {event: getattr(cls, name) for event, name in cls._methods.values()}
        if len(own) < len(found):
            raise ConfigurationError(f"{cls.__name__} projects an event twice; keep one method for each.")
        for table in cls.tables:
            if GENERATION not in table.primary_key.columns:
                raise ConfigurationError(
                    f"The table {table.name} of the projection {cls.__name__} has no `{GENERATION}` in its primary "
                    f"key; add Column({GENERATION!r}, Integer, primary_key=True), and a migration."
                )

    @classmethod
    def event_types(cls) -> Mapping[str, type[Message]]:
        """The events that change the view, by the full names of their types."""
        return {name: event for name, (event, _) in cls._methods.items()}

    @classmethod
    def view(cls, table: Table) -> Subquery:
        """The rows of a table as readers see them: those of the generation in use, without its column."""
        columns = [column for column in table.c if column.name != GENERATION]
        return select(*columns).where(table.c[GENERATION] == live_generation(cls.name)).subquery(table.name)

    def changes(self, event: Recorded[Any]) -> Iterable[Change]:
        """What an event changes."""
        method: Callable[..., Iterable[Change]] = self._by_class[type(event.message)]
        return method(self, event)
