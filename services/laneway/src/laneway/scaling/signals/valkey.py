"""Signals of Valkey and Redis: many pools in two round trips, ours and plain Celery's.

The first asks for lengths, reports, drains and demands. The second, of lists that are not empty and of `unacked` where
workers do not account for all of it, asks scripts for the few bytes that matter: messages may be large.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import islice
from time import time
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import redis.asyncio as valkey
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from laneway.errors import Unavailable
from laneway.scaling.model import Reading, Unknown
from laneway.scaling.signals import Source, Workers
from laneway.scaling.signals.celery import CeleryPool
from laneway.scaling.signals.laneway import LanewayPool
from laneway.scaling.signals.questions import Answers, Pool, Question
from laneway.scaling.wire import drain_key, paused_key

TIMEOUT = 2.0
"""Seconds for which a connection or the answer to a change is waited for; then the broker counts as away."""

READ_WITHIN = 3.0
"""Seconds for a whole reading. With a second until it begins, silence is told within five."""

AT_ONCE = 2000
"""Commands in one pipeline."""


class ValkeySignals:
    """One broker; see `laneway.scaling.signals.Signals`.

    Args:
        url: `redis://` or `rediss://`, with user, password and database, and options of TLS as its query, in the words
            of the client (`ssl_cert_reqs=none`) or of Celery (`ssl_cert_reqs=CERT_NONE`).
        ssl_ca_data: certificates, as PEM, that vouch for the server, in place of a file that the URL names; those of
            the system, if there are none.
    """

    def __init__(self, url: str, *, ssl_ca_data: str | None = None, clock: Callable[[], float] = time) -> None:
        options: dict[str, Any] = {"ssl_ca_data": ssl_ca_data} if ssl_ca_data else {}
        self._client = valkey.Redis.from_url(
            _for_the_client(url, keep_file=not ssl_ca_data),
            # Each use has a time limit of its own. The client's would go through `asyncio.wait_for`, which on
            # Python 3.11 loses a cancellation that comes together with the result.
            socket_timeout=None,
            socket_connect_timeout=TIMEOUT,
            socket_keepalive=True,
            health_check_interval=10,
            retry=Retry(NoBackoff(), 1),
            retry_on_error=[ConnectionError],
            **options,
        )
        self._clock = clock
        self._pools: dict[str, Pool] = {}

    async def read(self, sources: Sequence[Source]) -> Mapping[str, Reading | Unknown]:
        """The readings of many pools at once, by pool. Nothing is raised: every pool may be `Unknown`."""
        pools = {source.pool: self._pool(source) for source in sources}
        self._pools = pools
        now = self._clock()
        try:
            async with asyncio.timeout(READ_WITHIN):
                first = await self._ask({name: pool.first() for name, pool in pools.items()})
                second = await self._ask({name: pool.second(first[name]) for name, pool in pools.items()})
        except (RedisError, OSError, TimeoutError, ssl.SSLError) as error:
            return dict.fromkeys(pools, Unknown(at=now, reason=_sentence(error)))
        return {name: _reading(pool, first[name], second[name], now) for name, pool in pools.items()}

    async def drain(self, source: Source, pods: Iterable[str]) -> None:
        """Put pods into the drain set of each of the pool's queues."""
        await self._change(source, drain_key, lambda pipe, key: pipe.sadd(key, *names), names=(names := list(pods)))

    async def undrain(self, source: Source, pods: Iterable[str]) -> None:
        """Take pods out of the drain set of each of the pool's queues."""
        await self._change(source, drain_key, lambda pipe, key: pipe.srem(key, *names), names=(names := list(pods)))

    async def pause(self, source: Source) -> None:
        """Let nobody take from the pool's queues."""
        await self._change(source, paused_key, lambda pipe, key: pipe.set(key, "1"))

    async def resume(self, source: Source) -> None:
        """Undo `pause`."""
        await self._change(source, paused_key, lambda pipe, key: pipe.delete(key))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _pool(self, source: Source) -> Pool:
        """The pool's reader, which remembers what it saw last; a new one when its source is another."""
        known = self._pools.get(source.pool)
        if known is not None and known.continues(source):
            return known
        return LanewayPool(source) if source.workers is Workers.LANEWAY else CeleryPool(source)

    async def _ask(self, questions: Mapping[str, Sequence[Question]]) -> dict[str, Answers]:
        """Ask each question once, whoever asks it, in as few pipelines as there must be."""
        asked = list(dict.fromkeys(question for each in questions.values() for question in each))
        answers: dict[Question, Any] = {}
        rest = iter(asked)
        while some := list(islice(rest, AT_ONCE)):
            pipe = self._client.pipeline(transaction=False)
            for question in some:
                pipe.execute_command(*question)
            answers |= zip(some, await pipe.execute(raise_on_error=False), strict=True)
        return {name: {question: answers[question] for question in each} for name, each in questions.items()}

    async def _change(
        self,
        source: Source,
        key: Callable[[str], str],
        change: Callable[[Any, str], object],
        names: Sequence[str] = ("",),
    ) -> None:
        if not names:
            return
        pipe = self._client.pipeline(transaction=True)
        for queue in source.queues:
            change(pipe, source.prefix + key(queue))
        await _reaching(pipe.execute())


def _for_the_client(url: str, *, keep_file: bool) -> str:
    """A URL of Celery in the client's words; a file of certificates is one of the worker's pod, and may not be here."""
    parts = urlsplit(url)
    options = [
        (name, value.removeprefix("CERT_").lower() if name == "ssl_cert_reqs" else value)
        for name, value in parse_qsl(parts.query)
        if keep_file or name != "ssl_ca_certs"
    ]
    return urlunsplit(parts._replace(query=urlencode(options)))


def _reading(pool: Pool, first: Answers, second: Answers, now: float) -> Reading | Unknown:
    for answer in (*first.values(), *second.values()):
        if isinstance(answer, Exception):
            return Unknown(at=now, reason=_sentence(answer))
    try:
        return pool.reading(first, second, now)
    except (KeyError, ValueError, TypeError) as error:
        return Unknown(at=now, reason=f"What the broker has of this pool cannot be read: {error!r}.")


async def _reaching(answer: Awaitable[object]) -> None:
    try:
        async with asyncio.timeout(TIMEOUT):
            await answer
    except (RedisError, OSError) as error:
        raise Unavailable(_sentence(error), reason="BROKER_UNAVAILABLE") from error


def _sentence(error: BaseException) -> str:
    said = str(error).strip().rstrip(".")
    return f"The broker does not answer as it must ({type(error).__name__}{': ' if said else ''}{said})."
