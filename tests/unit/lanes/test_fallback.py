"""What a caller gets when a target fails: how it is marked, and whom it is for."""

from typing import Any

import pytest

from laneway.errors import FailedPrecondition, NotFound, Unavailable
from laneway.lanes.outgoing import Lanes
from laneway.resilience.fallback import LastGood
from laneway.resilience.pipeline import Pipelines
from laneway.store import outbox
from laneway.telemetry import names
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from tests.fixtures.shelf import Shelf
from tests.unit.lanes.test_outgoing import Recorder


@pytest.fixture
def transport() -> Recorder:
    return Recorder()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def lanes(shelf: Shelf, transport: Recorder, metrics: Metrics) -> Lanes:
    pipelines = Pipelines(clock=shelf.clock)
    tracing = Tracing("c", "c", shelf.spans)
    return Lanes(transport, pipelines=pipelines, tracing=tracing, metrics=metrics, monotonic=shelf.clock)


def down(_: int) -> Exception:
    return Unavailable("no connection", reason="UNREACHABLE")


async def test_the_last_good_answer_stands_in_up_to_its_age(shelf: Shelf, lanes: Lanes, transport: Recorder) -> None:
    transport.text = "as it was"
    await lanes.call(shelf.method("Look"), shelf.request("Look", name="book"))
    transport.fail = down
    shelf.clock.now += 60
    answer = await lanes.call(shelf.method("Look"), shelf.request("Look", name="book"))
    assert (answer.message.text, answer.degraded) == ("as it was", "shelf: last good answer, 60 s old")
    shelf.clock.now += 1
    with pytest.raises(Unavailable):
        await lanes.call(shelf.method("Look"), shelf.request("Look", name="book"))


async def test_the_last_good_answer_is_that_to_the_same_request(
    shelf: Shelf, lanes: Lanes, transport: Recorder
) -> None:
    await lanes.call(shelf.method("Look"), shelf.request("Look", name="book"))
    transport.fail = down
    with pytest.raises(Unavailable):
        await lanes.call(shelf.method("Look"), shelf.request("Look", name="lamp"))


async def test_a_degraded_answer_is_no_good_one(shelf: Shelf, lanes: Lanes, transport: Recorder) -> None:
    transport.degraded = "stale"
    await lanes.call(shelf.method("Look"), shelf.request("Look"))
    transport.fail = down
    with pytest.raises(Unavailable):
        await lanes.call(shelf.method("Look"), shelf.request("Look"))


async def test_an_answer_in_the_negative_is_not_replaced_by_an_older_one(
    shelf: Shelf, lanes: Lanes, transport: Recorder
) -> None:
    await lanes.call(shelf.method("Look"), shelf.request("Look"))
    transport.fail = lambda _: NotFound("gone since")
    with pytest.raises(NotFound):
        await lanes.call(shelf.method("Look"), shelf.request("Look"))


async def test_a_write_falls_back_to_its_queued_form_under_the_same_key_in_the_callers_transaction(
    shelf: Shelf, lanes: Lanes, transport: Recorder
) -> None:
    transport.fail = down

    async def put(request: Any, call: Any) -> Any:
        answer = await lanes.call(shelf.method("Store"), shelf.request("Store", name="book"))
        assert answer.message == shelf.method("Store").output(), "nothing is known yet"
        return shelf.reply(answer.operation)

    shelf.handle("Put", put)
    answer = await shelf.call("Put", request_id="k")
    [row] = await outbox.due(shelf.store, ("shelf", "default"), shelf.clock() + 60, 10)
    queued = shelf.method("Store").input.FromString(row.payload)
    [attempt] = transport.attempts
    assert (answer.message.text, answer.degraded) == (f"operations/shelf/{row.id}", "shelf: queued")
    assert queued.request_id == attempt.request.request_id == row.headers["idempotency-key"]


async def test_a_caller_without_a_database_queues_with_the_owner_within_the_deadline(
    shelf: Shelf, lanes: Lanes, transport: Recorder
) -> None:
    transport.fail = lambda number: down(number) if number == 1 else None
    answer = await lanes.call(shelf.method("Store"), shelf.request("Store"), timeout=3, key="k")
    assert answer.degraded == "shelf: queued"
    accepted = transport.attempts[1]
    assert (accepted.method.path, accepted.headers["idempotency-key"]) == ("/laneway.v1.Acceptor/Start", "k")
    assert accepted.timeout is not None
    assert accepted.timeout <= 3
    assert transport.attempts[0].timeout == pytest.approx(2.9), "the rest is the fallback's"


async def test_a_method_of_the_handler_answers_for_a_read(shelf: Shelf, lanes: Lanes, transport: Recorder) -> None:
    transport.fail = down

    async def guess(request: Any, error: Exception) -> Any:
        return shelf.reply(f"a guess at {request.name}")

    async def put(request: Any, call: Any) -> Any:
        answer = await lanes.call(shelf.method("Peek"), shelf.request("Peek", name="book"), fallback=guess)
        return answer.message

    shelf.handle("Put", put)
    answer = await shelf.call("Put")
    assert (answer.message.text, answer.degraded) == ("a guess at book", "shelf: unavailable")


async def test_a_method_of_the_handler_goes_before_what_the_contract_says(
    shelf: Shelf, lanes: Lanes, transport: Recorder
) -> None:
    async def guess(request: Any, error: Exception) -> Any:
        return shelf.reply("a guess")

    await lanes.call(shelf.method("Look"), shelf.request("Look"))
    transport.fail = down
    answer = await lanes.call(shelf.method("Look"), shelf.request("Look"), fallback=guess)
    assert answer.message.text == "a guess"


async def test_a_call_that_took_more_time_than_it_had_falls_back_while_its_caller_has_some(
    shelf: Shelf, lanes: Lanes, transport: Recorder
) -> None:
    """As it does on a machine where a timer comes late."""

    def late(_: int) -> Exception:
        shelf.clock.now += 1.5
        return Unavailable("no connection", reason="UNREACHABLE")

    async def guess(request: Any, error: Exception) -> Any:
        return shelf.reply("a guess")

    async def put(request: Any, call: Any) -> Any:
        answer = await lanes.call(shelf.method("Peek"), shelf.request("Peek"), timeout=1, fallback=guess)
        return answer.message

    transport.fail = late
    shelf.handle("Put", put)
    assert (await shelf.call("Put", timeout=2)).message.text == "a guess"
    with pytest.raises(Unavailable):
        await shelf.call("Put", timeout=1.25)


async def test_a_write_has_no_fallback_but_the_queue(shelf: Shelf, lanes: Lanes, transport: Recorder) -> None:
    async def pretend(request: Any, error: Exception) -> Any:
        return shelf.reply("done, really")

    with pytest.raises(FailedPrecondition, match="fallback can only queue it"):
        await lanes.call(shelf.method("Put"), shelf.request("Put"), fallback=pretend)
    assert transport.attempts == []


async def test_a_fallback_is_seen_in_the_trace_and_counted(
    shelf: Shelf, lanes: Lanes, transport: Recorder, metrics: Metrics
) -> None:
    await lanes.call(shelf.method("Look"), shelf.request("Look"))
    transport.fail = down

    async def put(request: Any, call: Any) -> Any:
        await lanes.call(shelf.method("Look"), shelf.request("Look"))
        return shelf.reply("done")

    shelf.handle("Put", put)
    await shelf.call("Put")
    spans = {span.name: span for span in shelf.spans.get_finished_spans()}
    fallback, server = spans["fallback test.shelf.v1.Shelf/Look"], spans["test.shelf.v1.Shelf/Put"]
    reason = "shelf: last good answer, 0 s old"
    assert fallback.attributes[names.REASON] == "UNREACHABLE"
    assert fallback.attributes[names.IS_DEGRADED] == server.attributes[names.IS_DEGRADED] == reason
    assert b'laneway_fallbacks_total{kind="last_good",method="test.shelf.v1.Shelf.Look"} 1.0' in metrics.render()[0]


def test_what_was_asked_for_least_of_late_is_forgotten_first(shelf: Shelf) -> None:
    kept = LastGood(capacity=3, capacity_bytes=10, clock=shelf.clock)
    for question in "abc":
        kept.keep(question, b"1")
    kept.find("a", max_age=1)
    kept.keep("d", b"1")
    assert [kept.find(question, max_age=1) is not None for question in "abcd"] == [True, False, True, True]
    kept.keep("e", b"123456789")
    assert [kept.find(question, max_age=1) is not None for question in "acde"] == [False, False, True, True]
    kept.keep("f", b"more than it can hold")
    assert [kept.find(question, max_age=1) for question in "def"] == [None, None, None]
