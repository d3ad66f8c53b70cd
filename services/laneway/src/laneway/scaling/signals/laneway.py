"""The signals of our own services: what waits is rows that relays tell of, and the copies in the queue's list."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from laneway.scaling.model import QueueReading, Reading, Unknown
from laneway.scaling.signals import Source
from laneway.scaling.signals.questions import (
    Answers,
    Question,
    drained_in,
    head_of,
    of_workers,
    paused_in,
    time_in,
    workers_in,
)
from laneway.scaling.wire import DEMAND_GONE, DEMAND_STALE, Demand, demand_key, lists_of


class LanewayPool:
    """One pool of our workers.

    Copies that died with a worker need no look: their rows become due again, and then they are demand.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def continues(self, source: Source) -> bool:
        if replace(source, pods=self._source.pods) != self._source:
            return False
        self._source = source
        return True

    def first(self) -> Sequence[Question]:
        asked: list[Question] = [("TIME",)]
        for queue in self._source.queues:
            asked.append(("HGETALL", demand_key(queue)))
            asked += [question for key in lists_of(queue) for question in (("LLEN", key), head_of(key))]
        return [*asked, *of_workers(self._source)]

    def second(self, first: Answers) -> Sequence[Question]:  # noqa: ARG002 the first round has all
        return []

    def reading(self, first: Answers, second: Answers, now: float) -> Reading | Unknown:  # noqa: ARG002
        moment = time_in(first[("TIME",)])
        queues = []
        for name in self._source.queues:
            demands = _demands(first["HGETALL", demand_key(name)])
            silent = _silent(name, demands, moment)
            if silent:
                return Unknown(at=now, reason=silent)
            queues.append(self._queue(name, list(demands.values()), first, moment))
        workers = workers_in(self._source, first)
        return Reading(
            at=now,
            queues=tuple(queues),
            workers=workers,
            drained=drained_in(self._source, first),
            unacked=sum(worker.held for worker in workers),
        )

    def _queue(self, name: str, demands: Sequence[Demand], answers: Answers, moment: float) -> QueueReading:
        oldest = [each.oldest_at for each in demands if each.oldest_at is not None]
        parked = [each.oldest_parked_at for each in demands if each.oldest_parked_at is not None]
        oldest += [float(head) for key in lists_of(name) if (head := answers[head_of(key)])]
        return QueueReading(
            name=name,
            waiting=sum(int(answers["LLEN", key]) for key in lists_of(name)) + sum(each.due for each in demands),
            oldest_seconds=max(0.0, moment - min(oldest)) if oldest else None,
            parked=sum(each.parked for each in demands),
            oldest_parked_seconds=max(0.0, moment - min(parked)) if parked else None,
            paused=paused_in(self._source, name, answers),
        )


def _demands(fields: Any) -> dict[str, Demand]:
    pairs = fields.items() if isinstance(fields, dict) else zip(fields[::2], fields[1::2], strict=True)
    return {producer.decode(): Demand.decode(value) for producer, value in pairs}


def _silent(queue: str, demands: dict[str, Demand], moment: float) -> str:
    """The sentence about relays that should speak and do not."""
    owner = queue.split(".", 1)[0]
    for producer, demand in demands.items():
        age = moment - demand.at
        if age > DEMAND_STALE and (age < DEMAND_GONE or producer == owner):
            return f"The relay of {producer} has said nothing of {queue} for {age:.0f} s."
    if owner not in demands:
        return f"The relay of {owner} has not said anything of {queue}; it runs in the service's grpc role."
    return ""
