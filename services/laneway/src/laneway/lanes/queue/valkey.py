"""Valkey (or Redis) as the broker, seen from asyncio.

Queues are the lists that kombu reads; markers, counters and reports are keys of our own beside them.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from typing import NamedTuple, cast

import redis.asyncio as valkey
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from laneway.errors import Unavailable
from laneway.lanes.queue.broker import COPY_TTL, Outcome, Published, Report, decode_report
from laneway.lanes.queue.envelope import encode, queue_of
from laneway.lanes.queue.together import Together
from laneway.scaling.wire import DEMAND_TTL, PRIORITIES, Demand, demand_key, list_of, lists_of
from laneway.store.outbox import OutboxMessage

log = logging.getLogger(__name__)

CONNECTIONS = 16
"""Most that a process has to the broker by this client; what needs one more waits."""

_ATTEMPTS_TTL = 7 * 86_400
_TIMEOUT = 5.0

# Copies for one list. The queue is an argument: of a key, an access list would demand the right to read it, and a
# producer needs none.
_PUBLISH = """
local lists, waiting, answers = tonumber(ARGV[4]), 0, {}
for list = 5, 4 + lists do waiting = waiting + redis.call('LLEN', ARGV[list]) end
for place, copy in ipairs(KEYS) do
  if redis.call('EXISTS', copy) == 1 then
    answers[place] = 'known'
  elseif waiting >= tonumber(ARGV[2]) then
    answers[place] = 'full'
  else
    redis.call('LPUSH', ARGV[1], ARGV[4 + lists + place])
    redis.call('SET', copy, '1', 'PX', ARGV[3])
    waiting = waiting + 1
    answers[place] = 'sent'
  end
end
return answers
"""

# Of each copy, the keys of its attempts and of its marker, the attempt, and when it was published. Copies that waited
# for long have twins: once one has failed, the others of the same attempt are not to run.
_STARTED = """
local answers = {}
for place = 1, #KEYS / 2 do
  local attempts, attempt, published = KEYS[2 * place - 1], tonumber(ARGV[2 * place + 1]), tonumber(ARGV[2 * place + 2])
  local parked, ended = unpack(redis.call('HMGET', attempts, 'parked', 'ended'))
  if (parked and tonumber(parked) >= published) or (ended and tonumber(ended) >= attempt) then
    answers[place] = 0
  else
    redis.call('SET', KEYS[2 * place], '1', 'PX', ARGV[1])
    answers[place] = redis.call('HINCRBY', attempts, 'started', 1)
    redis.call('EXPIRE', attempts, ARGV[2])
  end
end
return answers
"""

# Of each copy, the keys of its attempts and of its marker; how it ended, the list of its producer's reports, the
# report, and what the attempts are to remember.
_REPORT = """
for place = 1, #KEYS / 2 do
  local attempts, outcome, list, report, fact = KEYS[2 * place - 1], unpack(ARGV, 4 * place - 2, 4 * place + 1)
  redis.call('DEL', KEYS[2 * place])
  if outcome == 'retry' then
    redis.call('HSET', attempts, 'ended', fact)
  else
    redis.call('DEL', attempts)
    if outcome == 'park' then
      redis.call('HSET', attempts, 'parked', fact)
      redis.call('EXPIRE', attempts, ARGV[1])
    end
  end
  redis.call('RPUSH', list, report)
end
"""

# Of a list of reports, those that have been settled. They are named, not counted: for a moment two relays may read it.
_SETTLED = """
for _, report in ipairs(ARGV) do redis.call('LREM', KEYS[1], 1, report) end
"""

_WAKE = b"wake"


class _Start(NamedTuple):
    id: str
    attempt: int
    enqueued_at: float


class _Told(NamedTuple):
    producer: str
    report: Report
    enqueued_at: float


class ValkeyBroker:
    """One process's connections to Valkey. A broker that does not answer is `Unavailable`."""

    def __init__(self, url: str, *, window: int, copy_ttl: float = COPY_TTL) -> None:
        self.copy_ttl = copy_ttl
        self._window = window
        pool = valkey.BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=None,  # as long as the use of it may take
            # Each use has a time limit of its own. The client's would go through `asyncio.wait_for`, which on
            # Python 3.11 loses a cancellation that comes together with the result.
            socket_timeout=None,
            socket_connect_timeout=_TIMEOUT,
            socket_keepalive=True,
            health_check_interval=10,
            retry=Retry(NoBackoff(), 1),
            retry_on_error=[ConnectionError],
        )
        self._client = valkey.Redis.from_pool(pool)
        self._deliveries = self._client.client()  # a connection of its own: to take one costs as much as to ask
        self._starts = Together(self._started)
        self._reports = Together(self._report)

    async def publish(self, messages: Sequence[OutboxMessage], *, producer: str, now: float) -> list[Published]:
        """Push copies, each unless one is on its way already or the queue's window is full."""
        lists: dict[tuple[str, str], list[int]] = defaultdict(list)
        for place, message in enumerate(messages):
            queue = queue_of(message)
            lists[queue, list_of(queue, message.priority)].append(place)
        async with _reaching():
            pipe = self._client.pipeline(transaction=False)
            for (queue, target), places in lists.items():
                copies = [_copy(messages[place].id) for place in places]
                bodies = [encode(messages[place], producer=producer, now=now) for place in places]
                of = lists_of(queue)
                facts: tuple[str | int, ...] = (target, self._window, round(self.copy_ttl * 1000), len(of), *of)
                pipe.eval(_PUBLISH, len(copies), *copies, *facts, *bodies)
            answers = await pipe.execute()
        results = dict(zip(chain(*lists.values()), chain(*answers), strict=True))
        return [Published(results[place].decode()) for place in range(len(messages))]

    async def room(self, queues: Sequence[str]) -> list[int]:
        """How many more copies the window of each queue takes."""
        async with _reaching():
            pipe = self._client.pipeline(transaction=False)
            for name in (name for queue in queues for name in lists_of(queue)):
                pipe.llen(name)
            lengths, each = await pipe.execute(), len(PRIORITIES)
        waiting = (sum(lengths[place : place + each]) for place in range(0, len(lengths), each))
        return [max(0, self._window - length) for length in waiting]

    async def started(self, id: str, attempt: int, enqueued_at: float) -> int:
        """A copy begins to run: how many have begun by now, itself included. 0: it must not."""
        return await self._starts(_Start(id, attempt, enqueued_at))

    async def _started(self, starts: Sequence[_Start]) -> list[int]:
        keys = [key for each in starts for key in (_attempts(each.id), _copy(each.id))]
        told = [fact for each in starts for fact in (each.attempt, repr(each.enqueued_at))]
        async with _reaching():
            ttl = round(self.copy_ttl * 1000)
            return cast(list[int], await self._deliveries.eval(_STARTED, len(keys), *keys, ttl, _ATTEMPTS_TTL, *told))

    async def refresh(self, ids: Sequence[str]) -> None:
        """These copies are still running."""
        async with _reaching():
            pipe = self._client.pipeline(transaction=False)
            for id in ids:
                pipe.set(_copy(id), "1", px=round(self.copy_ttl * 1000))
            await pipe.execute()

    async def report(self, producer: str, report: Report, *, enqueued_at: float) -> None:
        """Tell the producer's relay how the delivery of a copy ended, which is not on its way any more."""
        await self._reports(_Told(producer, report, enqueued_at))

    async def _report(self, told: Sequence[_Told]) -> list[None]:
        keys = [key for each in told for key in (_attempts(each.report.id), _copy(each.report.id))]
        facts: list[str] = []
        for each in told:
            remembered = str(each.report.attempt) if each.report.outcome is Outcome.RETRY else repr(each.enqueued_at)
            facts += each.report.outcome, _list_of_reports(each.producer), each.report.encode(), remembered
        async with _reaching():
            await self._deliveries.eval(_REPORT, len(keys), *keys, _ATTEMPTS_TTL, *facts)
        return [None] * len(told)

    async def forget(self, id: str) -> None:
        """A copy was handed back without an end: another may be pushed at once."""
        async with _reaching():
            await self._client.delete(_copy(id))

    async def wake(self, service: str) -> None:
        """Tell a service's relay that there is something to do."""
        async with _reaching():
            await self._client.rpush(_list_of_reports(service), _WAKE)

    async def tell(self, producer: str, demands: Mapping[str, Demand]) -> None:
        """Say, for who scales workers, what a producer has for each queue."""
        async with _reaching():
            pipe = self._client.pipeline(transaction=False)
            for queue, demand in demands.items():
                pipe.hset(demand_key(queue), producer, demand.encode())
                pipe.expire(demand_key(queue), DEMAND_TTL)
            await pipe.execute()

    @asynccontextmanager
    async def reports(self, service: str, *, wait: float, limit: int = 500) -> AsyncIterator[list[Report]]:
        """What has been reported; waits up to `wait` seconds for the first. A wake ends the wait with nothing.

        They go when the block ends. A block that raises, or whose process dies, leaves them to be told again.
        """
        told = _list_of_reports(service)
        async with _reaching(wait + _TIMEOUT):
            if wait > 0:  # the wait takes nothing: what is first goes back to where it was, in one step
                await self._client.blmove(told, told, wait, "LEFT", "LEFT")  # type: ignore[arg-type]  # takes fractions
            items = cast(list[bytes], await self._client.lrange(told, 0, limit - 1))
        yield [report for item in items if item != _WAKE and (report := _readable(item)) is not None]
        if items:
            async with _reaching():
                await self._client.eval(_SETTLED, 1, told, *items)

    async def close(self) -> None:
        """Send what is still to be told, and close the connections."""
        await self._starts.close()
        await self._reports.close()
        await self._deliveries.aclose()
        await self._client.aclose()


@asynccontextmanager
async def _reaching(within: float = _TIMEOUT) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(within):
            yield
    except (RedisError, OSError, asyncio.IncompleteReadError) as error:
        raise Unavailable(
            f"The broker does not answer ({type(error).__name__}); messages wait in the database until it does.",
            reason="BROKER_UNAVAILABLE",
        ) from error


def _readable(item: bytes) -> Report | None:
    """A report; none of what is not one. Others may write to the list too, and the rows of the rest are to be told."""
    try:
        return decode_report(item)
    except (ValueError, RecursionError) as error:
        log.error("unreadable report dropped", extra={"report": repr(item[:200]), "cause": str(error)})
        return None


def _copy(id: str) -> str:
    return f"laneway:copy:{id}"


def _attempts(id: str) -> str:
    return f"laneway:attempts:{id}"


def _list_of_reports(service: str) -> str:
    return f"laneway:reports:{service}"
