"""Valkey (or Redis) as the broker, seen from asyncio.

Queues are the lists that kombu reads; markers, counters and reports are keys of our own beside them.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import cast

import redis.asyncio as valkey
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from laneway.errors import Unavailable
from laneway.lanes.queue.broker import COPY_TTL, Outcome, Published, Report
from laneway.lanes.queue.envelope import encode, queue_of
from laneway.scaling.wire import DEMAND_TTL, PRIORITIES, Demand, demand_key, list_of, lists_of
from laneway.store.outbox import OutboxMessage

CONNECTIONS = 16
"""Most that a process has to the broker by this client; what needs one more waits."""

_ATTEMPTS_TTL = 7 * 86_400
_TIMEOUT = 5.0

# The queue is an argument: of a key, an access list would demand the right to read it, and a producer needs none.
_PUBLISH = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 'known' end
local waiting = 0
for list = 5, #ARGV do waiting = waiting + redis.call('LLEN', ARGV[list]) end
if waiting >= tonumber(ARGV[2]) then return 'full' end
redis.call('LPUSH', ARGV[1], ARGV[4])
redis.call('SET', KEYS[1], '1', 'PX', ARGV[3])
return 'sent'
"""

# Copies that waited for long have twins: once one has failed, the others of the same attempt are not to run.
_STARTED = """
local parked = redis.call('HGET', KEYS[1], 'parked')
if parked and tonumber(parked) >= tonumber(ARGV[4]) then return 0 end
local ended = redis.call('HGET', KEYS[1], 'ended')
if ended and tonumber(ended) >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[2], '1', 'PX', ARGV[2])
local started = redis.call('HINCRBY', KEYS[1], 'started', 1)
redis.call('EXPIRE', KEYS[1], ARGV[3])
return started
"""

_WAKE = b"wake"


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

    async def publish(self, messages: Sequence[OutboxMessage], *, producer: str, now: float) -> list[Published]:
        """Push copies, each unless one is on its way already or the queue's window is full."""
        ttl = round(self.copy_ttl * 1000)
        async with _reaching():
            pipe = self._client.pipeline(transaction=False)
            for message in messages:
                body = encode(message, producer=producer, now=now)
                queue = queue_of(message)
                target = list_of(queue, message.priority)
                pipe.eval(_PUBLISH, 1, _copy(message.id), target, self._window, ttl, body, *lists_of(queue))
            return [Published(answer.decode()) for answer in await pipe.execute()]

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
        ttl = round(self.copy_ttl * 1000)
        told = (_attempts(id), _copy(id), attempt, ttl, _ATTEMPTS_TTL, repr(enqueued_at))
        async with _reaching():
            return int(await self._client.eval(_STARTED, 2, *told))

    async def refresh(self, ids: Sequence[str]) -> None:
        """These copies are still running."""
        async with _reaching():
            pipe = self._client.pipeline(transaction=False)
            for id in ids:
                pipe.set(_copy(id), "1", px=round(self.copy_ttl * 1000))
            await pipe.execute()

    async def report(self, producer: str, report: Report, *, enqueued_at: float) -> None:
        """Tell the producer's relay how the delivery of a copy ended, which is not on its way any more."""
        async with _reaching():
            pipe = self._client.pipeline(transaction=False)
            pipe.delete(_copy(report.id))
            if report.outcome is Outcome.RETRY:
                pipe.hset(_attempts(report.id), "ended", str(report.attempt))
            else:
                pipe.delete(_attempts(report.id))
            if report.outcome is Outcome.PARK:
                pipe.hset(_attempts(report.id), "parked", repr(enqueued_at))
                pipe.expire(_attempts(report.id), _ATTEMPTS_TTL)
            pipe.rpush(_reports(producer), json.dumps(asdict(report)))
            await pipe.execute()

    async def forget(self, id: str) -> None:
        """A copy was handed back without an end: another may be pushed at once."""
        async with _reaching():
            await self._client.delete(_copy(id))

    async def wake(self, service: str) -> None:
        """Tell a service's relay that there is something to do."""
        async with _reaching():
            await self._client.rpush(_reports(service), _WAKE)

    async def tell(self, producer: str, demands: Mapping[str, Demand]) -> None:
        """Say, for who scales workers, what a producer has for each queue."""
        async with _reaching():
            pipe = self._client.pipeline(transaction=False)
            for queue, demand in demands.items():
                pipe.hset(demand_key(queue), producer, demand.encode())
                pipe.expire(demand_key(queue), DEMAND_TTL)
            await pipe.execute()

    async def reports(self, service: str, *, wait: float, limit: int = 500) -> list[Report]:
        """What has been reported; waits up to `wait` seconds for the first. A wake ends the wait with nothing."""
        async with _reaching(wait + _TIMEOUT):
            first = await self._client.blpop([_reports(service)], timeout=wait) if wait > 0 else None
            more = await self._client.lpop(_reports(service), limit) or []
        items = cast(list[bytes], more if first is None else [first[1], *more])
        return [_report(item) for item in items if item != _WAKE]

    async def close(self) -> None:
        """Close the connections."""
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


def _report(item: bytes) -> Report:
    known = json.loads(item)
    return Report(**{**known, "outcome": Outcome(known["outcome"])})


def _copy(id: str) -> str:
    return f"laneway:copy:{id}"


def _attempts(id: str) -> str:
    return f"laneway:attempts:{id}"


def _reports(service: str) -> str:
    return f"laneway:reports:{service}"
