"""What the queue lane asks of a broker. It is advisory: copies, markers of copies, counters of attempts, reports.

The rows are the truth, so losing all a broker holds costs deliveries that the inbox drops, and nothing else.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Protocol

from laneway.scaling.wire import Demand
from laneway.store.outbox import OutboxMessage

COPY_TTL = 30.0
"""Seconds for which a copy is believed to be on its way; while it runs, its worker refreshes the marker."""

LONGEST_DELAY = 366 * 86_400.0
"""Seconds that a report can ask the relay to wait."""

_MOST_ATTEMPTS = 2**31 - 1


class Published(StrEnum):
    """What became of a copy: pushed, not needed because one is on its way, or refused by the window."""

    SENT = "sent"
    KNOWN = "known"
    FULL = "full"


class Outcome(StrEnum):
    """How a delivery ended for its row."""

    DONE = "done"
    RETRY = "retry"
    PARK = "park"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a worker tells the relay of the message's producer: how attempt `attempt` ended. `delay` is in seconds."""

    id: str
    outcome: Outcome
    attempt: int = 1
    delay: float = 0.0
    error: str = ""

    def encode(self) -> str:
        """As it lies in the broker."""
        return json.dumps(asdict(self))


def decode_report(item: bytes) -> Report:
    """What `Report.encode` wrote, or a plain application (docs/celery.md); fields that a later worker may add are left.

    Raises:
        ValueError: it is no report that a row can take.
    """
    told = json.loads(item)
    if not isinstance(told, dict):
        raise ValueError("a report is an object")
    id, attempt, delay, error = told.get("id"), told.get("attempt", 1), told.get("delay", 0.0), told.get("error", "")
    if not isinstance(id, str) or not isinstance(error, str):
        raise ValueError("id and error are texts")
    if type(attempt) is not int or not 1 <= attempt <= _MOST_ATTEMPTS:
        raise ValueError("attempt counts from 1")
    if type(delay) not in (int, float) or not 0 <= delay <= LONGEST_DELAY:
        raise ValueError("delay is in seconds, a year at most")
    outcome = Outcome(str(told.get("outcome")))
    return Report(id=_storable(id), outcome=outcome, attempt=attempt, delay=float(delay), error=_storable(error))


def _storable(text: str) -> str:
    """As every database takes it: PostgreSQL takes no NUL, and no driver half a surrogate pair."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


class Broker(Protocol):
    """Carries copies of messages to workers and their reports back. One that does not answer is `Unavailable`."""

    copy_ttl: float

    async def publish(self, messages: Sequence[OutboxMessage], *, producer: str, now: float) -> list[Published]:
        """Push copies, each unless one is on its way already or the queue's window is full."""
        ...

    async def room(self, queues: Sequence[str]) -> list[int]:
        """How many more copies the window of each queue takes."""
        ...

    async def started(self, id: str, attempt: int, enqueued_at: float) -> int:
        """A copy begins to run: how many have begun by now, itself included.

        0: it must not, for its attempt has ended, or its message was parked after this copy was enqueued. Copies of a
        message that kills its process come back for as long as a worker finds them where it died.
        """
        ...

    async def refresh(self, ids: Sequence[str]) -> None:
        """These copies are still running."""
        ...

    async def report(self, producer: str, report: Report, *, enqueued_at: float) -> None:
        """Tell the producer's relay how the delivery of a copy ended, which is not on its way any more."""
        ...

    async def forget(self, id: str) -> None:
        """A copy was handed back without an end: another may be pushed at once."""
        ...

    async def wake(self, service: str) -> None:
        """Tell a service's relay that there is something to do."""
        ...

    async def tell(self, producer: str, demands: Mapping[str, Demand]) -> None:
        """Say, for who scales workers, what a producer has for each queue."""
        ...

    def reports(self, service: str, *, wait: float) -> AbstractAsyncContextManager[list[Report]]:
        """What has been reported; waits up to `wait` seconds for the first. A wake ends the wait with nothing.

        They go when the block ends. A block that raises, or whose process dies, leaves them to be told again.
        """
        ...
