"""Event-sourced aggregates: state is what the events say, and a decision is the events it records.

    class Order(Aggregate):
        status = "new"

        def place(self, request: pb.PlaceOrderRequest) -> None:
            if self.exists:
                raise AlreadyExists(f"Order {self.id} was placed before.")
            self.record(pb.OrderPlaced(lines=request.lines))

        @applies(pb.OrderPlaced)
        def _placed(self, event: pb.OrderPlaced) -> None:
            self.status = "placed"

Rules are checked where events are recorded, never where they are applied: what happened has happened.
Must not know the store: it is given messages, and gives back messages and the version they follow.

Where streams are long, an aggregate may keep snapshots of its state: it sets `snapshot_every`, and says by `snapshot`
and `restore` what its state is as a message. They may be thrown away at any time; the events remain the truth.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypeVar

from google.protobuf.message import Message

from laneway.domain.upcasting import unknown
from laneway.errors import ConfigurationError, Internal

A = TypeVar("A", bound="Aggregate")
E = TypeVar("E", bound=Message)

_APPLIES = "_laneway_applies"


def applies(event: type[E]) -> Callable[[Callable[[A, E], None]], Callable[[A, E], None]]:
    """Register a method as what an event does to an aggregate's state."""
    if not (isinstance(event, type) and issubclass(event, Message)):
        raise ConfigurationError(f"@applies needs the class of a protobuf message, not {event!r}.")

    def register(applier: Callable[[A, E], None]) -> Callable[[A, E], None]:
        setattr(applier, _APPLIES, event)
        return applier

    return register


class Aggregate:
    """A thing with an identity whose every change is an event.

    A subclass sets its initial state in class attributes, or in an `__init__` that takes the id. Appliers are
    inherited. `category` begins the names of its streams; without one it is the class's name in snake case.
    """

    category: ClassVar[str] = ""
    snapshot_every: ClassVar[int] = 0
    """A snapshot is kept after so many events; 0 keeps none."""
    snapshot_type: ClassVar[type[Message] | None] = None
    """The message that `snapshot` gives and `restore` takes."""
    snapshot_schema: ClassVar[int] = 1
    """To be raised when `restore` no longer understands older snapshots: those are ignored."""
    _appliers: ClassVar[Mapping[str, tuple[type[Message], str]]] = MappingProxyType({})

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls._appliers = MappingProxyType({**cls._appliers, **_appliers_of(cls)})
        if cls.snapshot_every and cls.snapshot_type is None:
            raise ConfigurationError(f"{cls.__name__} keeps snapshots of no type; set `snapshot_type`.")

    def __init__(self, id: str) -> None:
        self._id = id
        self._stored = 0
        self._snapshot = 0
        self._recorded: list[Message] = []

    @property
    def id(self) -> str:
        return self._id

    @property
    def version(self) -> int:
        """How many events made it what it is, recorded ones included."""
        return self._stored + len(self._recorded)

    @property
    def exists(self) -> bool:
        """Whether anything has happened to it yet."""
        return self.version > 0

    @classmethod
    def fresh(cls, id: str) -> Self:
        """One to which nothing has happened."""
        return cls(id)

    @classmethod
    def replay(cls, id: str, events: Iterable[Message]) -> Self:
        """One as its log tells it: its events, oldest first.

        Raises:
            Internal: an event has no applier; a newer version of the code may have one.
        """
        return cls.fresh(id).follow(events)

    @classmethod
    def from_snapshot(cls, id: str, version: int, state: Message) -> Self:
        """One as a snapshot tells it."""
        aggregate = cls.fresh(id)
        aggregate.restore(state)
        aggregate._stored = aggregate._snapshot = version
        return aggregate

    def follow(self, events: Iterable[Message]) -> Self:
        """Let it become what later events of its log tell."""
        for event in events:
            name = event.DESCRIPTOR.full_name
            if name not in self._appliers:
                raise unknown(name)
            self._apply(event)
            self._stored += 1
        return self

    @classmethod
    def stream(cls, id: str) -> str:
        """The name of its stream in the event log."""
        return f"{cls.category or _snake_case(cls.__name__)}/{id}"

    @classmethod
    def event_types(cls) -> Mapping[str, type[Message]]:
        """The events it can apply, by the full names of their types."""
        return {name: event for name, (event, _) in cls._appliers.items()}

    def record(self, event: Message) -> None:
        """Let an event happen: apply it now, and keep it for the log.

        Raises:
            Internal: the aggregate has no applier for it.
        """
        self._apply(event)
        self._recorded.append(event)

    def snapshot(self) -> Message:
        """Its state as a message of `snapshot_type`."""
        raise NotImplementedError(f"{type(self).__name__} keeps snapshots: write `snapshot` and `restore`.")

    def restore(self, state: Message) -> None:
        """Take over the state of a snapshot."""
        raise NotImplementedError(f"{type(self).__name__} keeps snapshots: write `snapshot` and `restore`.")

    def collect_snapshot(self) -> Message | None:
        """Its state, recorded events included, if so many have happened since the last snapshot; else None."""
        if not 0 < self.snapshot_every <= self.version - self._snapshot:
            return None
        self._snapshot = self.version
        return self.snapshot()

    def collect(self) -> tuple[int, Sequence[Message]]:
        """Hand over what was recorded since the last time, and the version it follows (0: a new stream)."""
        expected, events = self._stored, self._recorded
        self._stored, self._recorded = self.version, []
        return expected, events

    def _apply(self, event: Message) -> None:
        name = event.DESCRIPTOR.full_name
        if name not in self._appliers:
            raise Internal(
                f"{type(self).__name__} has no applier for {name}; "
                f"write a method with @applies({event.DESCRIPTOR.name}).",
                reason="EVENT_UNKNOWN",
            )
        _, applier = self._appliers[name]
        getattr(self, applier)(event)


def _appliers_of(cls: type) -> dict[str, tuple[type[Message], str]]:
    """The appliers that a class itself defines, by the type of event; by name, so that overriding works."""
    found: dict[str, tuple[type[Message], str]] = {}
    for name, member in vars(cls).items():
        event = getattr(member, _APPLIES, None)
        if event is None:
            continue
        type_name = event.DESCRIPTOR.full_name
        if type_name in found:
            raise ConfigurationError(
                f"{cls.__name__} applies {type_name} twice, in {found[type_name][1]} and {name}; keep one."
            )
        found[type_name] = (event, name)
    return found


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
