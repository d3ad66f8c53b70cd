"""Questions to the broker that come while one is under way go together in the next: one round trip for many."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")

AT_MOST = 256


class Together(Generic[Q, A]):
    """Questions of one kind, by one event loop. `ask` answers many, in their order, or fails for all of them."""

    def __init__(self, ask: Callable[[Sequence[Q]], Awaitable[Sequence[A]]]) -> None:
        self._ask = ask
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._asking: asyncio.Task[None] | None = None

    async def __call__(self, question: Q) -> A:
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._asking is None:
            self._asking = asyncio.create_task(self._drain())
        return await answer

    async def close(self) -> None:
        """Wait until all are answered."""
        if self._asking is not None:
            await asyncio.wait([self._asking])

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(AT_MOST, len(self._waiting)))]
                batch = [each for each in batch if not each[1].done()]  # who asked was cancelled
                if batch:
                    await self._answer(batch)
        finally:
            self._asking = None

    async def _answer(self, batch: Sequence[tuple[Q, asyncio.Future[A]]]) -> None:
        try:
            answers = await self._ask([question for question, _ in batch])
        except Exception as error:
            for _, waiting in batch:
                if not waiting.done():
                    waiting.set_exception(error)
            return
        for (_, waiting), answer in zip(batch, answers, strict=True):
            if not waiting.done():
                waiting.set_result(answer)
