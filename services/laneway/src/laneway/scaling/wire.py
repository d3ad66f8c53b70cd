"""The keys through which workers, relays and scalers know of each other in the broker, and what is in them.

| key | kind | written by | says |
|---|---|---|---|
| `laneway:demand:<queue>` | hash, a field a producer | relays | what is due and not with the broker, what is parked |
| `laneway:worker:<queue>:<pod>` | hash with a time to live | workers | slots, and what the pod does for the queue |
| `laneway:drain:<queue>` | set | scalers | the pods that must not consume; durable |
| `laneway:paused:<queue>` | string | scalers | nobody may consume; durable |
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from laneway.scaling.model import Share

FieldName = bytes | bytearray | memoryview | str | int | float

WORKER_TTL = 5
"""Seconds for which a worker's last word counts."""

DEMAND_STALE = 10.0
"""Seconds after which a relay that says nothing makes its queues' demand unknown."""

DEMAND_GONE = 600.0
"""Seconds after which a producer that says nothing is believed to be no more."""

DEMAND_TTL = 86_400


PRIORITIES = (0, 3, 6)
"""Of our messages; kombu's Redis transport takes from the lists of lower numbers first."""


def lists_of(queue: str) -> tuple[str, ...]:
    """The lists that a queue is in the broker, by priority (`kombu/transport/redis.py`, `_q_for_pri`)."""
    return tuple(list_of(queue, priority) for priority in PRIORITIES)


def list_of(queue: str, priority: int) -> str:
    """The list of a queue's messages of one priority."""
    return f"{queue}\x06\x16{priority}" if priority else queue


def demand_key(queue: str) -> str:
    return f"laneway:demand:{queue}"


def worker_key(queue: str, pod: str) -> str:
    return f"laneway:worker:{queue}:{pod}"


def drain_key(queue: str) -> str:
    return f"laneway:drain:{queue}"


def paused_key(queue: str) -> str:
    return f"laneway:paused:{queue}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one producer has for a queue: due and not with the broker, and parked. Times are seconds since the epoch."""

    at: float
    due: int = 0
    oldest_at: float | None = None
    parked: int = 0
    oldest_parked_at: float | None = None

    def encode(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, value: bytes) -> "Demand":
        """Raises ValueError or TypeError for what was not written by `encode`."""
        return cls(**json.loads(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a worker says of itself and of one queue."""

    slots: int
    share: Share
    draining: bool = False
    startup_seconds: float | None = None
    breakers_open: int = 0

    def encode(self) -> dict[FieldName, str]:
        """The fields of the hash."""
        return {
            "slots": str(self.slots),
            "active": str(self.share.active),
            "reserved": str(self.share.reserved),
            "processed": str(self.share.processed),
            "busy_seconds": f"{self.share.busy_seconds:.3f}",
            "draining": str(int(self.draining)),
            "startup_seconds": "" if self.startup_seconds is None else f"{self.startup_seconds:.3f}",
            "breakers_open": str(self.breakers_open),
        }

    @classmethod
    def decode(cls, fields: Mapping[bytes, bytes]) -> "Report":
        """Raises KeyError or ValueError for what was not written by `encode`."""
        startup = fields[b"startup_seconds"]
        return cls(
            slots=int(fields[b"slots"]),
            share=Share(
                active=int(fields[b"active"]),
                reserved=int(fields[b"reserved"]),
                processed=int(fields[b"processed"]),
                busy_seconds=float(fields[b"busy_seconds"]),
            ),
            draining=fields[b"draining"] == b"1",
            startup_seconds=float(startup) if startup else None,
            breakers_open=int(fields[b"breakers_open"]),
        )
