"""What a broker knows of pools, and what it is to tell their workers. Implementations: `valkey` (Valkey and Redis)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from laneway.scaling.model import Reading, Unknown


class Workers(StrEnum):
    """Whose workers consume a pool's queues."""

    LANEWAY = "Laneway"
    """Ours: what waits is rows, told by relays."""
    CELERY = "Celery"
    """Any Celery application: what waits is in kombu's lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How an application has configured kombu's transport; the defaults are kombu's.

    For Laneway's own workers the unacked keys follow from the service, and these fields are not used.
    """

    global_keyprefix: str = ""
    priority_steps: tuple[int, ...] = (0, 3, 6, 9)
    separator: str = "\x06\x16"
    unacked_key: str = "unacked"
    unacked_index_key: str = "unacked_index"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where one pool's signals are: its queues in the broker and the pods that live."""

    pool: str
    queues: tuple[str, ...]
    pods: tuple[str, ...] = ()
    workers: Workers = Workers.CELERY
    layout: Layout = field(default_factory=Layout)

    @property
    def prefix(self) -> str:
        """What stands before every key of the application."""
        return self.layout.global_keyprefix if self.workers is Workers.CELERY else ""


class Signals(Protocol):
    """One broker. Reading never raises for a broker that does not answer: every pool is then `Unknown`."""

    async def read(self, sources: Sequence[Source]) -> Mapping[str, Reading | Unknown]:
        """The readings of many pools at once, by pool."""
        ...

    async def drain(self, source: Source, pods: Iterable[str]) -> None:
        """Tell pods to stop consuming, and remember it until `undrain`.

        Raises:
            Unavailable: the broker does not answer.
        """
        ...

    async def undrain(self, source: Source, pods: Iterable[str]) -> None:
        """Tell pods to consume again; also forgets pods that are gone.

        Raises:
            Unavailable: the broker does not answer.
        """
        ...

    async def pause(self, source: Source) -> None:
        """Tell every worker to stop taking from the pool's queues.

        Raises:
            Unavailable: the broker does not answer.
        """
        ...

    async def resume(self, source: Source) -> None:
        """Undo `pause`.

        Raises:
            Unavailable: the broker does not answer.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
