"""Old events in today's shape: what the log keeps is never rewritten, what reads it sees the newest version only.

    def _outcome_told(event: OrderClosed) -> OrderClosed:
        event.outcome = OrderClosed.SHIPPED if event.shipped else OrderClosed.REJECTED
        return event

    Service("orders", handlers, upcasters=Upcasters([Upcaster(OrderClosed, 1, _outcome_told)]))

Adding a field needs none of this: protobuf reads old bytes. An upcaster is for a change of meaning. It makes of version
n of an event version n + 1, or another event. Each version of an event has its upcaster, so that any of them comes to
the newest, which is the one that is written. Pure functions: they are given a message of their own, may change it, and
know nothing but it.

Must not know the store: the version of an event is a number beside its bytes.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from google.protobuf.message import DecodeError, Message

from laneway.errors import ConfigurationError, DataLoss, Internal, Unavailable

E = TypeVar("E", bound=Message)

VERSION = "laneway-event-version"
"""The entry of an event's metadata that has its version; the first version has none."""

_NO_TYPES: Mapping[str, type[Message]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Upcaster(Generic[E]):
    """Makes of an event of one version one of the next; or another event, in its first version, if it `becomes` one."""

    event: type[E]
    version: int
    lift: Callable[[E], Message]
    becomes: type[Message] | None = None

    @property
    def name(self) -> str:
        """The full name of the event's type."""
        return _name(self.event)


class Upcasters:
    """All upcasters of a service."""

    def __init__(self, upcasters: Iterable[Upcaster[Any]] = ()) -> None:
        """Raises `ConfigurationError` when the upcasters of an event leave a version out, or have one twice."""
        self._steps: dict[tuple[str, int], Upcaster[Any]] = {}
        self._types: dict[str, type[Message]] = {}
        self._newest: dict[str, int] = {}
        for each in sorted(upcasters, key=lambda upcaster: (upcaster.name, upcaster.version)):
            expected = self._newest.get(each.name, 1)
            if each.version != expected:
                raise ConfigurationError(
                    f"The upcasters of {each.name} have version {each.version} where {expected} was to come; "
                    "write one for each version, from 1."
                )
            self._steps[each.name, each.version] = each
            self._types[each.name] = each.event
            self._newest[each.name] = each.version + 1

    def newest(self, type_name: str) -> int:
        """The version in which events of a type are written now."""
        return self._newest.get(type_name, 1)

    def stamp(self, type_name: str) -> Mapping[str, str]:
        """What an event that is written now has in its metadata of its version."""
        version = self.newest(type_name)
        return {} if version == 1 else {VERSION: str(version)}

    def read(
        self,
        type_name: str,
        payload: bytes,
        version: int,
        types: Mapping[str, type[Message]] = _NO_TYPES,
    ) -> Message:
        """An event of the log as it would be written today.

        Args:
            version: in which it was written; see `version_of`.
            types: the classes that may be met, by full name, besides those of the upcasters.

        Raises:
            Internal: this code does not know the type.
            Unavailable: a newer version of the code wrote the event; it can be read when this one is replaced.
            DataLoss: the bytes are no such message.
        """
        event = types.get(type_name) or self._types.get(type_name)
        if event is None:
            raise unknown(type_name)
        try:
            message: Message = event.FromString(payload)
        except DecodeError as error:
            raise DataLoss(f"The log holds a {type_name} that cannot be decoded.", reason="EVENT_CORRUPT") from error
        return message if version == 1 and not self._steps else self.lift(message, version)

    def lift(self, message: Message, version: int) -> Message:
        """A message of a version, in its newest."""
        name = _name(type(message))
        if version > self.newest(name):
            raise Unavailable(
                f"The log holds a {name} of version {version}, and this code knows {self.newest(name)}: a newer "
                "version of it wrote the event.",
                reason="EVENT_NEWER",
                retry_after=5.0,
            )
        while (step := self._steps.get((name, version))) is not None:
            message, wanted = step.lift(message), step.becomes or step.event
            if not isinstance(message, wanted):
                raise Internal(
                    f"The upcaster of version {version} of {name} gave {type(message).__name__} instead of "
                    f"{wanted.__name__}; correct it, or say what the event `becomes`."
                )
            name, version = _name(wanted), 1 if step.becomes else version + 1
        return message

    def sources(self, names: Iterable[str]) -> Collection[str]:
        """The types under which the log may hold events of some types: these, and those that became them."""
        found = set(names)
        while (
            more := {name for (name, _), step in self._steps.items() if step.becomes and _name(step.becomes) in found}
            - found
        ):
            found |= more
        return sorted(found)


def version_of(metadata_text: str) -> int:
    """The version in which an event was written, by its metadata, which most of the time has nothing of it."""
    return int(json.loads(metadata_text)[VERSION]) if VERSION in metadata_text else 1


def unknown(type_name: str) -> Internal:
    """The error for an event that this code has no class or no applier for."""
    return Internal(
        f"The log holds a {type_name}, which this code cannot apply: "
        "it is older than the log, or an applier was removed.",
        reason="EVENT_UNKNOWN",
    )


def _name(event: type[Message]) -> str:
    return event.DESCRIPTOR.full_name
