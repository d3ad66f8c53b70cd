"""The signals of any Celery application, exactly as kombu's Redis transport lays them out.

`kombu/transport/redis.py`: a queue is one list per priority step (`_q_for_pri`), taken from its right end in the order
of the steps (`_brpop_start`); what is taken and not acknowledged is in the hash `unacked` as
`[message, exchange, routing key]`, and in the sorted set `unacked_index` by the time it was taken (`QoS.append`). A
message that is restored goes back into its list (`_do_restore_message`), so it is counted as waiting there.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from laneway.scaling.model import QueueReading, Reading, WorkerReading
from laneway.scaling.signals import Source
from laneway.scaling.signals.bindings import binding_key, bindings_in
from laneway.scaling.signals.questions import (
    TIME,
    Answers,
    Question,
    drained_in,
    head_of,
    of_workers,
    paused_in,
    time_in,
    workers_in,
)

BASIC_AFTER = 15.0
"""Seconds after which pods that have never reported are believed to be such as do not report."""

AT_MOST = 1000
"""Unacknowledged messages that are looked at one by one; of more, the queues' shares are estimated from these."""

EXCHANGES = 32
"""Exchanges whose bindings are asked for."""

UNACKED = """
local found = {}
local taken = redis.call('ZRANGE', KEYS[1], 0, ARGV[1] - 1, 'WITHSCORES')
for i = 1, #taken, 2 do
  local message = redis.call('HGET', KEYS[2], taken[i])
  local exchange, route = string.match(message and string.sub(message, -1024) or '', '"([^"]*)", ?"([^"]*)"%]$')
  found[#found + 1] = {taken[i], taken[i + 1], exchange or '', route or ''}
end
return found
"""
"""Tags of unacknowledged messages, when each was taken, its exchange and key: not the messages, which may be large."""


class CeleryPool:
    """One pool of any Celery application.

    A message belongs to the queues that its exchange and routing key lead to. Of an exchange that is seen for the first
    time the bindings are asked for at the next look; until then the queue is taken to be named like the routing key.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._since: dict[str, float] = {}
        self._reports = False
        self._basic = False
        self._taken: Mapping[str, float] = {}
        self._finished = 0
        self._held_seconds = 0.0
        self._exchanges: Sequence[str] = ()

    def continues(self, source: Source) -> bool:
        if replace(source, pods=self._source.pods) != self._source:
            return False
        self._source = source
        return True

    def first(self) -> Sequence[Question]:
        asked: list[Question] = [TIME, self._size_of_unacked]
        asked += [("LLEN", key) for queue in self._source.queues for key in self._lists(queue)]
        asked += [self._bindings(exchange) for exchange in self._exchanges]
        return [*asked, *of_workers(self._source)]

    def second(self, first: Answers) -> Sequence[Question]:
        keys = [key for queue in self._source.queues for key in self._lists(queue)]
        asked = [head_of(key) for key in keys if first["LLEN", key]]
        if isinstance(first[self._size_of_unacked], int) and self._wants_unacked(first):
            asked.append(self._unacked)
        return asked

    def reading(self, first: Answers, second: Answers, now: float) -> Reading:
        workers = workers_in(self._source, first)
        self._look_at_pods(workers, now)
        moment = time_in(first[TIME])
        taken = self._taken_from(second.get(self._unacked, ()), first)
        unacked = _estimate(len(taken), len(second.get(self._unacked, ())), int(first[self._size_of_unacked]))
        held = sum(worker.held for worker in workers)
        if self._basic:
            self._follow(taken, moment)
        gone = not self._source.pods
        return Reading(
            at=now,
            queues=tuple(self._queue(name, first, second, moment) for name in self._source.queues),
            workers=workers,
            drained=drained_in(self._source, first),
            unacked=unacked if self._basic or gone else max(unacked, held),
            orphans=max(0, unacked - held) if gone or not self._basic else 0,
            basic=self._basic,
            finished=self._finished,
            held_seconds=self._held_seconds,
        )

    @property
    def _size_of_unacked(self) -> Question:
        return ("ZCARD", self._source.prefix + self._source.layout.unacked_index_key)

    @property
    def _unacked(self) -> Question:
        layout, prefix = self._source.layout, self._source.prefix
        return ("EVAL", UNACKED, 2, prefix + layout.unacked_index_key, prefix + layout.unacked_key, AT_MOST)

    def _bindings(self, exchange: str) -> Question:
        return ("SMEMBERS", self._source.prefix + binding_key(exchange))

    def _lists(self, queue: str) -> list[str]:
        """Where kombu puts the messages of a queue."""
        layout = self._source.layout
        name = self._source.prefix + queue
        return [f"{name}{layout.separator}{step}" if step else name for step in layout.priority_steps]

    def _queue(self, name: str, first: Answers, second: Answers, moment: float) -> QueueReading:
        sizes = {key: int(first["LLEN", key]) for key in self._lists(name)}
        stamps = [float(second[head_of(key)]) for key, size in sizes.items() if size and second[head_of(key)]]
        return QueueReading(
            name=name,
            waiting=sum(sizes.values()),
            oldest_seconds=max(0.0, moment - min(stamps)) if stamps else None,
            paused=paused_in(self._source, name, first),
        )

    def _wants_unacked(self, first: Answers) -> bool:
        """Whether there is more than the workers account for."""
        workers = workers_in(self._source, first)
        return int(first[self._size_of_unacked]) > sum(worker.held for worker in workers) or self._basic

    def _look_at_pods(self, workers: Sequence[WorkerReading], now: float) -> None:
        self._since = {pod: self._since.get(pod, now) for pod in self._source.pods}
        self._reports = self._reports or bool(workers)
        silent = any(now - since > BASIC_AFTER for since in self._since.values())
        self._basic = not self._reports and (self._basic or silent)

    def _taken_from(self, found: Sequence[Any], first: Answers) -> Mapping[str, float]:
        """When each message of the pool's queues was taken, by its tag."""
        routes = {(exchange.decode(), key.decode()) for _, _, exchange, key in found}
        ours = self._leading_here(routes, first)
        if routes:
            self._exchanges = sorted({exchange for exchange, _ in routes if exchange})[:EXCHANGES]
        return {
            tag.decode(): float(score)
            for tag, score, exchange, key in found
            if (exchange.decode(), key.decode()) in ours
        }

    def _leading_here(self, routes: Set[tuple[str, str]], first: Answers) -> Set[tuple[str, str]]:
        """Those of some exchanges and routing keys that lead to the pool's queues."""
        separator = self._source.layout.separator
        ways = {each: bindings_in(first[self._bindings(each)], separator) for each in self._exchanges}
        ours = self._source.queues

        def leads_here(exchange: str, key: str) -> bool:
            if exchange not in ways:
                return key in ours
            return any(way.queue in ours and way.takes(key) for way in ways[exchange])

        return {route for route in routes if leads_here(*route)}

    def _follow(self, taken: Mapping[str, float], moment: float) -> None:
        """Count what has left `unacked` since the last look, and for how long it was there."""
        gone = self._taken.keys() - taken.keys()
        self._finished += len(gone)
        self._held_seconds += sum(max(0.0, moment - self._taken[tag]) for tag in gone)
        self._taken = taken


def _estimate(ours: int, seen: int, all_: int) -> int:
    return ours if not seen or all_ <= seen else round(ours * all_ / seen)
