"""Ends a stream in which nothing moves. Must not know a transport."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from typing import TypeVar

from laneway.errors import DeadlineExceeded

T = TypeVar("T")


class Idle:
    """How long a stream may stand still after its first message: in both directions, if it has two.

    A side that is slow to take what is there is not idle: only the time of waiting for a message counts.
    """

    def __init__(self, name: str, seconds: float) -> None:
        """`name` is the method's, for the error; zero `seconds`: it may stand still for ever."""
        self._name = name
        self._seconds = seconds
        self._begun = False
        self._waiting: set[asyncio.Timeout] = set()

    async def count(self, messages: AsyncIterable[T]) -> AsyncGenerator[T, None]:
        """The messages of a direction that another guards: a pause in it is for that one to end."""
        async for message in messages:
            self._moved()
            yield message

    async def guard(self, messages: AsyncIterable[T]) -> AsyncGenerator[T, None]:
        """The messages of one direction.

        Raises:
            DeadlineExceeded: nothing has moved for too long (reason `STREAM_IDLE`).
        """
        waiting = aiter(messages)
        while True:
            limit = asyncio.timeout(self._seconds if self._begun and self._seconds else None)
            try:
                async with limit:
                    self._waiting.add(limit)
                    message = await anext(waiting)
            except StopAsyncIteration:
                return
            except TimeoutError:
                if limit.expired():
                    raise self._stood_still() from None
                raise
            finally:
                self._waiting.discard(limit)
            self._moved()
            yield message

    def _moved(self) -> None:
        """A message counts for those who wait in the other direction, too."""
        self._begun = True
        if self._seconds:
            until = asyncio.get_running_loop().time() + self._seconds
            for limit in self._waiting:
                if not limit.expired():
                    limit.reschedule(until)

    def _stood_still(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"{self._name}: nothing came for {self._seconds:g} s; its `idle_timeout` is the contract's.",
            reason="STREAM_IDLE",
        )
