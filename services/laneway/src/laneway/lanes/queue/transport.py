"""kombu's transport for Redis, with one client for all that a channel asks.

kombu makes a new one for each message that it takes and for each that it acknowledges, which costs more than to ask;
they share one pool of connections anyway.
"""

from functools import cached_property
from typing import Any

from kombu.transport import redis

NAME = f"{__name__}:Transport"


class Channel(redis.Channel):
    """A channel that keeps its client."""

    @cached_property
    def _kept(self) -> Any:
        return super()._create_client()  # type: ignore[no-untyped-call]

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[no-untyped-call]
        return self._kept


class Transport(redis.Transport):
    """What Celery is given as `broker_transport`."""

    Channel = Channel
