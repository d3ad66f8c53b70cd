"""How a pool is read: the commands it asks in two rounds, and what it makes of the answers. Knows no connection."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from laneway.scaling.model import Reading, Share, Unknown, WorkerReading
from laneway.scaling.signals import Source
from laneway.scaling.wire import Report, drain_key, paused_key, worker_key

Question = tuple[str | int, ...]
Answers = Mapping[Question, Any]


class Pool(Protocol):
    """Reads one pool, and may remember what it saw."""

    def continues(self, source: Source) -> bool:
        """Whether this reader serves a source; takes over what may change in it: its pods."""
        ...

    def first(self) -> Sequence[Question]:
        """What is asked first."""
        ...

    def second(self, first: Answers) -> Sequence[Question]:
        """What is asked then."""
        ...

    def reading(self, first: Answers, second: Answers, now: float) -> Reading | Unknown:
        """What it comes to.

        Raises:
            KeyError, ValueError, TypeError: something in the broker is not what it should be.
        """
        ...


STAMP_OF_HEAD = """
local head = redis.call('LINDEX', KEYS[1], -1)
return head and string.match(head, '"laneway%-enqueued%-at": ?"?([%d.]+)') or ''
"""
"""When the next message of a list was enqueued, if its producer says so."""

TIME: Question = ("TIME",)


def head_of(key: str) -> Question:
    """Asks since when the next message of a list waits; empty if nobody says so."""
    return ("EVAL", STAMP_OF_HEAD, 1, key)


def time_in(answer: Any) -> float:
    """The broker's clock, with which all stamps are compared."""
    seconds, micro = answer
    return int(seconds) + int(micro) / 1e6


def of_workers(source: Source) -> list[Question]:
    """What workers say, and what they are told."""
    prefix = source.prefix
    asked: list[Question] = []
    for queue in source.queues:
        asked += [("SMEMBERS", prefix + drain_key(queue)), ("EXISTS", prefix + paused_key(queue))]
        asked += [("HGETALL", prefix + worker_key(queue, pod)) for pod in source.pods]
    return asked


def workers_in(source: Source, answers: Answers) -> tuple[WorkerReading, ...]:
    """The workers that report."""
    return tuple(worker for pod in source.pods if (worker := _worker(source, pod, answers)) is not None)


def drained_in(source: Source, answers: Answers) -> frozenset[str]:
    """The pods in the drain set of any of the queues."""
    members = (answers["SMEMBERS", source.prefix + drain_key(queue)] for queue in source.queues)
    return frozenset(pod.decode() for each in members for pod in each)


def paused_in(source: Source, queue: str, answers: Answers) -> bool:
    """Whether a queue is paused."""
    return bool(answers["EXISTS", source.prefix + paused_key(queue)])


def _worker(source: Source, pod: str, answers: Answers) -> WorkerReading | None:
    reports: dict[str, Report] = {}
    for queue in source.queues:
        fields = answers["HGETALL", source.prefix + worker_key(queue, pod)]
        if fields:
            reports[queue] = Report.decode(_mapping(fields))
    if not reports:
        return None
    shares: dict[str, Share] = {queue: report.share for queue, report in reports.items()}
    startups = [each.startup_seconds for each in reports.values() if each.startup_seconds is not None]
    return WorkerReading(
        pod=pod,
        slots=max(each.slots for each in reports.values()),
        shares=shares,
        startup_seconds=max(startups, default=None),
        draining=all(each.draining for each in reports.values()),
        breakers_open=max(each.breakers_open for each in reports.values()),
    )


def _mapping(fields: Any) -> Mapping[bytes, bytes]:
    """A pipeline gives pairs where the client has no callback for the command."""
    return fields if isinstance(fields, Mapping) else dict(zip(fields[::2], fields[1::2], strict=True))
