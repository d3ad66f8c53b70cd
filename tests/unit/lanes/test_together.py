"""Questions that come while one is under way share a round trip."""

import asyncio
from collections.abc import Sequence

import pytest

from laneway.errors import Unavailable
from laneway.lanes.queue.together import Together


class Broker:
    """Answers a batch when it is told to."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.free = asyncio.Event()
        self.error: Exception | None = None

    async def ask(self, questions: Sequence[int]) -> list[int]:
        self.asked.append(list(questions))
        await self.free.wait()
        if self.error is not None:
            raise self.error
        return [each * 10 for each in questions]


async def test_what_is_asked_meanwhile_goes_together_and_each_hears_its_own_answer() -> None:
    broker = Broker()
    together = Together(broker.ask)
    first = asyncio.create_task(together(1))
    while not broker.asked:
        await asyncio.sleep(0)
    rest = [asyncio.create_task(together(each)) for each in (2, 3, 4)]
    await asyncio.sleep(0)
    broker.free.set()

    assert await asyncio.gather(first, *rest) == [10, 20, 30, 40]
    assert broker.asked == [[1], [2, 3, 4]]


async def test_who_was_cancelled_before_is_not_asked_for() -> None:
    broker = Broker()
    together = Together(broker.ask)
    first = asyncio.create_task(together(1))
    while not broker.asked:
        await asyncio.sleep(0)
    gone, stays = asyncio.create_task(together(2)), asyncio.create_task(together(3))
    await asyncio.sleep(0)
    gone.cancel()
    broker.free.set()

    assert [await first, await stays] == [10, 30]
    assert broker.asked == [[1], [3]]


async def test_a_failure_is_everybodys_and_the_next_are_asked_again() -> None:
    broker = Broker()
    together = Together(broker.ask)
    broker.free.set()
    broker.error = Unavailable("away")
    failed = await asyncio.gather(together(1), together(2), return_exceptions=True)
    broker.error = None

    assert [type(each) for each in failed] == [Unavailable, Unavailable]
    assert await together(3) == 30


async def test_closing_waits_for_what_was_asked() -> None:
    broker = Broker()
    together = Together(broker.ask)
    asked = asyncio.create_task(together(1))
    await asyncio.sleep(0)
    closing = asyncio.create_task(together.close())
    await asyncio.sleep(0)
    assert not closing.done()
    broker.free.set()
    await closing

    assert await asked == 10


@pytest.mark.parametrize("count", [1, 300])
async def test_a_batch_has_its_bound(count: int) -> None:
    broker = Broker()
    together = Together(broker.ask)
    broker.free.set()

    assert await asyncio.gather(*map(together, range(count))) == [each * 10 for each in range(count)]
    assert [len(each) for each in broker.asked] == ([1] if count == 1 else [256, 44])
