"""Valkey (or Redis) as the broker, seen from asyncio.

Queues are the lists that kombu reads; markers, counters and reports are keys of our own beside them.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict

import redis.asyncio as valkey
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from laneway.errors import Unavailable
from laneway.lanes.queue.broker import COPY_TTL, Outcome, Published, Report
from laneway.lanes.queue.envelope import encode, queue_of
from laneway.scaling.wire import DEMAND_TTL, Demand, demand_key
from laneway.store.outbox import OutboxMessage

_ATTEMPTS_TTL = 7 * 86_400
_TIMEOUT = 5.0

# The queue is an argument: of a key, an access list would demand the right to read it, and a producer needs none.
_PUBLISH = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 'known' end
if redis.call('LLEN', ARGV[1]) >= tonumber(ARGV[2]) then return 'full' end
redis.call('LPUSH', ARGV[1], ARGV[4])
redis.call('SET', KEYS[1], '1', 'PX', ARGV[3])
return 'sent'
"""


_WAKE = b"wake"


class ValkeyBroker:
    """One process's connections to Valkey. A broker that does not answer is `Unavailable`."""

    def __init__(self, url: str, *, window: int, copy_ttl: float = COPY_TTL) -> None:
        self.copy_ttl = copy_ttl
        self._window = window
        self._client = valkey.Redis.from_url(
            url,
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            socket_keepalive=True,
            health_check_interval=10,
            retry=Retry(NoBackoff(), 1),
            retry_on_error=[ConnectionError],
        )

    async def publish(self, messages: Sequence[OutboxMessage], *, producer: str, now: float) -> list[Published]:
        """Push copies, each unless one is on its way already or the queue's window is full."""
        ttl = round(self.copy_ttl * 1000)
        async with _reaching():
            pipe = self._client.pipeline(transaction=False)
            for message in messages:
                body = encode(message, producer=producer, now=now)
                pipe.eval(_PUBLISH, 1, _copy(message.id), queue_of(message), self._window, ttl, body)
            return [Published(answer.decode()) for answer in await pipe.execute()]

    async def started(self, id: str) -> int:
        """A copy begins to run: how many have begun by now, itself included."""
        async with _reaching():
            pipe = self._client.pipeline(transaction=False)
            pipe.incr(_attempts(id))
            pipe.expire(_attempts(id), _ATTEMPTS_TTL)
            pipe.set(_copy(id), "1", px=round(self.copy_ttl * 1000))
            return int((await pipe.execute())[0])

    async def refresh(self, ids: Sequence[str]) -> None:
        """These copies are still running."""
        async with _reaching():
            pipe = self._client.pipeline(transaction=False)
            for id in ids:
                pipe.set(_copy(id), "1", px=round(self.copy_ttl * 1000))
            await pipe.execute()

    async def report(self, producer: str, report: Report) -> None:
        """Tell the producer's relay how a delivery ended; the copy is not on its way any more."""
        async with _reaching():
            pipe = self._client.pipeline(transaction=False)
            pipe.delete(_copy(report.id))
            if report.outcome is not Outcome.RETRY:
                pipe.delete(_attempts(report.id))
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
        async with _reaching():
            first = await self._client.blpop([_reports(service)], timeout=wait)
            if first is None:
                return []
            more = await self._client.lpop(_reports(service), limit) or []
        return [_report(item) for item in [first[1], *more] if item != _WAKE]

    async def depth(self, queue: str) -> int:
        """How many copies wait in a queue."""
        async with _reaching():
            return int(await self._client.llen(queue))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


@asynccontextmanager
async def _reaching() -> AsyncIterator[None]:
    try:
        yield
    except (RedisError, OSError, asyncio.IncompleteReadError) as error:
        raise Unavailable(
            f"The broker does not answer ({type(error).__name__}); messages wait in the database until it does.",
            reason="BROKER_UNAVAILABLE",
        ) from error


def _report(item: bytes) -> Report:
    known = json.loads(item)
    return Report(id=known["id"], outcome=Outcome(known["outcome"]), delay=known["delay"], error=known["error"])


def _copy(id: str) -> str:
    return f"laneway:copy:{id}"


def _attempts(id: str) -> str:
    return f"laneway:attempts:{id}"


def _reports(service: str) -> str:
    return f"laneway:reports:{service}"
