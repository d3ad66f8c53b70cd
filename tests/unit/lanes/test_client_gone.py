"""A client that goes away at the worst moment: in the middle of a commit of its call."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from laneway.errors import Aborted, FailedPrecondition
from tests.fixtures.shelf import Shelf


@pytest.fixture
def charges(shelf: Shelf) -> list[str]:
    """The runs of `Charge`, which is exclusive."""
    made: list[str] = []

    async def charge(request: Any, call: Any) -> Any:
        made.append(request.request_id)
        return shelf.reply(f"run {len(made)}")

    shelf.handle("Charge", charge)
    return made


@pytest.fixture
def around(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts something around one commit, counted from 1; the others are as ever."""

    def put(number: int, something: Callable[..., Any]) -> None:
        commit, commits = shelf.store.commit, iter(range(1, 1_000))

        async def counted(writes: Any) -> None:
            await (something(commit, writes) if next(commits) == number else commit(writes))

        monkeypatch.setattr(shelf.store, "commit", counted)

    return put


async def test_a_client_that_goes_away_in_mid_commit_changes_nothing(shelf: Shelf) -> None:
    async def put(request: Any, call: Any) -> Any:
        asyncio.get_running_loop().call_soon(task.cancel)
        return shelf.reply("done")

    shelf.handle("Put", put)
    task = asyncio.create_task(shelf.call("Put", request_id="k"))
    with pytest.raises(asyncio.CancelledError):
        await task
    await shelf.dispatcher.close()
    assert (await shelf.call("Put", request_id="k")).replayed


async def test_one_that_goes_away_while_the_effect_of_an_exclusive_call_is_committed_lets_no_other_run(
    shelf: Shelf, charges: list[str], around: Callable[..., None]
) -> None:
    committing, goes_on = asyncio.Event(), asyncio.Event()

    async def held(commit: Callable[..., Any], writes: Any) -> None:
        committing.set()
        await goes_on.wait()
        await commit(writes)

    around(2, held)  # the first is that of the lease
    call = asyncio.create_task(shelf.call("Charge", request_id="k"))
    await committing.wait()
    call.cancel()
    await asyncio.sleep(0)  # it hears of it
    try:
        with pytest.raises(Aborted) as refused:
            await shelf.call("Charge", request_id="k")
    finally:
        goes_on.set()
        await asyncio.gather(call, return_exceptions=True)
    assert refused.value.reason == "LEASE_HELD"
    again = await shelf.call("Charge", request_id="k")
    assert (again.replayed, again.message.text, charges) == (True, "run 1", ["k"])


async def test_one_that_goes_away_while_a_declared_error_is_committed_leaves_it_kept(
    shelf: Shelf, around: Callable[..., None]
) -> None:
    runs, committing, goes_on = [], asyncio.Event(), asyncio.Event()

    async def put(request: Any, call: Any) -> Any:
        runs.append(request.request_id)
        raise FailedPrecondition("the shelf is full", reason="SHELF_FULL")

    async def held(commit: Callable[..., Any], writes: Any) -> None:
        committing.set()
        await goes_on.wait()
        await commit(writes)

    shelf.handle("Put", put)
    around(1, held)
    call = asyncio.create_task(shelf.call("Put", request_id="k"))
    await committing.wait()
    call.cancel()
    await asyncio.sleep(0)  # it hears of it
    goes_on.set()
    await asyncio.gather(call, return_exceptions=True)
    with pytest.raises(FailedPrecondition, match="the shelf is full"):
        await shelf.call("Put", request_id="k")
    assert runs == ["k"]


async def test_one_that_goes_away_while_its_lease_is_committed_does_not_keep_it(
    shelf: Shelf, charges: list[str], around: Callable[..., None]
) -> None:
    async def leaves(commit: Callable[..., Any], writes: Any) -> None:
        await commit(writes)
        call.cancel()
        await asyncio.sleep(0)  # where it is cancelled, or was, had nobody shielded it

    around(1, leaves)
    call = asyncio.create_task(shelf.call("Charge", request_id="k"))
    with pytest.raises(asyncio.CancelledError):
        await call
    assert charges == []
    assert (await shelf.call("Charge", request_id="k")).message.text == "run 1"
