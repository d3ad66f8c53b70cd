"""A stream in which nothing moves ends; one that is slow does not."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from laneway.call import Call
from laneway.contract.model import Contract
from laneway.errors import DeadlineExceeded
from laneway.lanes.idle import Idle
from laneway.service import Service
from laneway.testing import serve
from tests.fixtures.protos import service_of

SOON = 0.02
"""Seconds after which what stands still ends here."""


async def stuck(begun: asyncio.Event | None = None, after: int = 1) -> AsyncGenerator[int, None]:
    """Some messages, and then none for ever."""
    for number in range(after):
        yield number
    if begun is not None:
        begun.set()
    await asyncio.Event().wait()


async def test_a_stream_that_stands_still_ends_and_what_feeds_it_is_cancelled() -> None:
    seen = []
    feed = stuck()
    with pytest.raises(DeadlineExceeded, match=r"shelf\.Watch: nothing came for 0\.02 s") as raised:
        async for message in Idle("shelf.Watch", SOON).guard(feed):
            seen.append(message)  # noqa: PERF401 what was seen before the error
    assert (seen, raised.value.reason) == ([0], "STREAM_IDLE")
    with pytest.raises(StopAsyncIteration):
        await anext(feed)


async def test_before_the_first_message_a_stream_has_all_the_time_of_its_deadline() -> None:
    begun = asyncio.Event()
    async with aclosing(Idle("m", SOON).guard(stuck(begun, after=0))) as guarded:
        waiting = asyncio.ensure_future(anext(guarded))
        await begun.wait()
        done, _ = await asyncio.wait([waiting], timeout=5 * SOON)
        assert not done
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_a_side_that_is_slow_to_take_is_not_idle() -> None:
    async def two() -> AsyncIterator[int]:
        yield 1
        yield 2

    seen = []
    async for message in Idle("m", SOON).guard(two()):
        await asyncio.sleep(3 * SOON)
        seen.append(message)
    assert seen == [1, 2]


async def test_what_moves_in_one_direction_keeps_the_other_open() -> None:
    idle = Idle("m", 25 * SOON)

    async def steps() -> AsyncIterator[int]:
        for number in range(40):
            await asyncio.sleep(SOON)
            yield number

    async def other() -> list[int]:
        return [message async for message in idle.count(steps())]

    moving = asyncio.create_task(other())
    with pytest.raises(DeadlineExceeded):
        async for _ in idle.guard(stuck()):
            pass
    assert moving.done()


async def test_zero_is_no_limit() -> None:
    begun = asyncio.Event()
    async with aclosing(Idle("m", 0).guard(stuck(begun))) as guarded:
        await anext(guarded)
        waiting = asyncio.ensure_future(anext(guarded))
        await begun.wait()
        done, _ = await asyncio.wait([waiting], timeout=5 * SOON)
        assert not done
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


BODY = """
service Shelf {
  option (laneway.v1.service_defaults) = {idle_timeout {nanos: 20000000}};
  rpc Watch(Request) returns (stream Reply);
  rpc Sum(stream Request) returns (Reply);
}
"""


async def test_the_contract_says_how_long_either_side_of_a_call_may_stand_still(tmp_path: Path) -> None:
    descriptor = service_of(tmp_path, BODY)
    methods = {method.name: method for method in Contract.of([descriptor])}
    counted = []

    async def watch(request: Any, call: Call) -> AsyncIterator[Any]:
        yield call.method.output()
        await asyncio.Event().wait()

    async def total(requests: AsyncIterator[Any], call: Call) -> Any:
        counted.extend([1 async for _ in requests])
        return call.method.output()

    async def sent() -> AsyncIterator[Any]:
        yield methods["Sum"].input()
        await asyncio.Event().wait()

    async with serve(lambda _: Service("shelf").bind(descriptor, {"Watch": watch, "Sum": total})) as world:
        for name, given in (("Watch", methods["Watch"].input()), ("Sum", sent())):
            with pytest.raises(DeadlineExceeded) as raised:
                async with aclosing(world.lanes.stream(methods[name], given)) as replies:
                    async for _ in replies:
                        pass
            assert raised.value.reason == "STREAM_IDLE"
    assert counted == []
