"""Calls that leave a handler: their deadline, key, and what is collected instead of sent."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from laneway.call import Call, Facts, Identity, Lane
from laneway.client import Unary
from laneway.contract.model import Method
from laneway.contract.policy import Priority
from laneway.contract.tuning import Tuning
from laneway.errors import (
    ConfigurationError,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from laneway.lanes.dispatch import Arrival
from laneway.lanes.everywhere import START
from laneway.lanes.outgoing import Lanes
from laneway.lanes.queue.envelope import decode, encode
from laneway.lanes.started import Operations
from laneway.lanes.system import SystemHandlers
from laneway.lanes.transport import Answer
from laneway.resilience.pipeline import Pipelines
from laneway.store import outbox
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from tests.fixtures.shelf import Shelf


@dataclass
class Attempt:
    method: Method
    request: Any
    headers: Mapping[str, str]
    timeout: float | None


@dataclass
class Recorder:
    """A transport that notes attempts, and answers or fails as told."""

    attempts: list[Attempt] = field(default_factory=list)
    fail: Callable[[int], Exception | None] = lambda _: None
    degraded: str | None = None
    text: str | None = None

    async def unary(
        self, method: Method, request: Message, headers: Mapping[str, str], timeout: float | None
    ) -> Answer:
        self.attempts.append(Attempt(method, request, headers, timeout))
        if error := self.fail(len(self.attempts)):
            raise error
        message = method.output() if self.text is None else method.output(text=self.text)
        return Answer(message=message, degraded=self.degraded)

    def stream(self, *_: object) -> AsyncIterator[Message]:
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def transport() -> Recorder:
    return Recorder()


@pytest.fixture
def lanes(shelf: Shelf, transport: Recorder) -> Lanes:
    async def no_pause(_: float) -> None:
        """Backoff takes no time here."""

    pipelines = Pipelines(clock=shelf.clock, sleep=no_pause)
    return Lanes(
        transport, pipelines=pipelines, tracing=Tracing("c", "c", shelf.spans), metrics=Metrics(), monotonic=shelf.clock
    )


async def test_a_call_has_the_contracts_deadline(shelf: Shelf, lanes: Lanes, transport: Recorder) -> None:
    await lanes.call(shelf.method("Peek"), shelf.request("Peek"))
    assert transport.attempts[0].timeout == 10


async def test_a_callers_timeout_only_shortens(shelf: Shelf, lanes: Lanes, transport: Recorder) -> None:
    for timeout in (2, 200):
        await lanes.call(shelf.method("Peek"), shelf.request("Peek"), timeout=timeout)
    assert [attempt.timeout for attempt in transport.attempts] == [2, 10]


async def test_a_call_in_a_handler_has_no_more_time_than_the_handler(
    shelf: Shelf, lanes: Lanes, transport: Recorder
) -> None:
    async def put(request: Any, call: Any) -> Any:
        shelf.clock.now += 1
        await lanes.call(shelf.method("Peek"), shelf.request("Peek"))
        return shelf.reply("done")

    shelf.handle("Put", put)
    await shelf.call("Put", timeout=3)
    assert transport.attempts[0].timeout == 2


async def test_a_key_is_filled_in_and_the_callers_request_left_alone(
    shelf: Shelf, lanes: Lanes, transport: Recorder
) -> None:
    request = shelf.request("Put", name="book")
    await lanes.call(shelf.method("Put"), request)
    [attempt] = transport.attempts
    assert attempt.request.request_id == attempt.headers["idempotency-key"] != ""
    assert not request.HasField("request_id")


async def test_a_key_of_the_requests_own_is_the_calls(shelf: Shelf, lanes: Lanes, transport: Recorder) -> None:
    await lanes.call(shelf.method("Put"), shelf.request("Put", request_id="mine"))
    assert transport.attempts[0].headers["idempotency-key"] == "mine"
    with pytest.raises(InvalidArgument, match="send the same in both, or one"):
        await lanes.call(shelf.method("Put"), shelf.request("Put", request_id="mine"), key="other")
    assert len(transport.attempts) == 1


async def test_the_key_of_a_call_further_down_is_the_same_when_the_handler_runs_again(
    shelf: Shelf, lanes: Lanes, transport: Recorder
) -> None:
    async def tidy(request: Any, call: Any) -> Any:
        await lanes.call(shelf.method("Put"), shelf.request("Put", name="book"))
        raise Unavailable("again")

    shelf.handle("Tidy", tidy)
    for message in ("m1", "m1", "m2"):
        with pytest.raises(Unavailable):
            await shelf.deliver("Tidy", message)
    first, again, other = [attempt.request.request_id for attempt in transport.attempts]
    assert first == again != other


async def test_a_client_is_not_made_under_a_policy_file_that_does_not_suit_its_method(
    shelf: Shelf, transport: Recorder, tmp_path: Path
) -> None:
    (tmp_path / "policy.yaml").write_text("defaults: {deadline: 1s, fallback: {reserve: 1s}}")
    pipelines, tracing, metrics = Pipelines(), Tracing("c", "c", None), Metrics()
    lanes = Lanes(transport, pipelines=pipelines, tracing=tracing, metrics=metrics, tuning=Tuning(tmp_path))

    assert Unary(shelf.method("Peek"), lanes).method.name == "Peek"
    with pytest.raises(
        ConfigurationError, match=r"policy.yaml: test.shelf.v1.Shelf.Look: fallback.reserve is 1; it must"
    ):
        Unary(shelf.method("Look"), lanes)


async def test_a_handler_that_declares_its_calls_is_refused_every_other(
    shelf: Shelf, lanes: Lanes, transport: Recorder
) -> None:
    async def errand(request: Any, call: Any) -> Any:
        await lanes.call(shelf.method("Peek"), shelf.request("Peek"))
        await lanes.start(shelf.method("Tidy"), shelf.request("Tidy"))
        await Operations(lanes).get("operations/shelf/1")
        await lanes.call(shelf.method("Put"), shelf.request("Put"))

    shelf.handle("Errand", errand)
    with pytest.raises(
        FailedPrecondition, match=r'Errand calls test.shelf.v1.Shelf.Put, .* add `calls: "test'
    ) as refused:
        await shelf.call("Errand")
    assert refused.value.reason == "CALL_NOT_DECLARED"
    assert [attempt.method.name for attempt in transport.attempts] == ["Peek", "GetOperation"]


async def test_a_repeatable_call_is_tried_again_under_the_same_key(
    shelf: Shelf, lanes: Lanes, transport: Recorder
) -> None:
    transport.fail = lambda number: Unavailable("not yet") if number == 1 else None
    await lanes.call(shelf.method("Put"), shelf.request("Put"))
    assert len({attempt.headers["idempotency-key"] for attempt in transport.attempts}) == 1
    assert [attempt.headers["laneway-attempt"] for attempt in transport.attempts] == ["1", "2"]


async def test_a_call_that_cannot_be_repeated_is_not(shelf: Shelf, lanes: Lanes, transport: Recorder) -> None:
    transport.fail = lambda _: Unavailable("no")
    with pytest.raises(Unavailable):
        await lanes.call(shelf.method("Errand"), shelf.request("Errand"))
    policy = shelf.method("Errand").policy
    assert policy.retry.max_attempts > 1 and policy.deadline > 10 * policy.retry.initial_backoff, (
        "there is time for one"
    )
    assert len(transport.attempts) == 1


async def test_every_client_call_has_a_breaker(shelf: Shelf, lanes: Lanes, transport: Recorder) -> None:
    transport.fail = lambda _: Unavailable("no")
    for _ in range(20):
        with pytest.raises(Unavailable) as refused:
            await lanes.call(shelf.method("Slow"), shelf.request("Slow"))
    assert refused.value.reason == "BREAKER_OPEN"
    assert len(transport.attempts) == shelf.method("Slow").policy.breaker.consecutive_failures


async def test_an_answer_of_the_business_does_not_open_the_breaker(
    shelf: Shelf, lanes: Lanes, transport: Recorder
) -> None:
    transport.fail = lambda _: NotFound("no such book")
    for _ in range(20):
        with pytest.raises(NotFound):
            await lanes.call(shelf.method("Peek"), shelf.request("Peek"))
    assert len(transport.attempts) == 20


async def test_a_degraded_answer_degrades_the_handlers(shelf: Shelf, lanes: Lanes, transport: Recorder) -> None:
    transport.degraded = "stale"

    async def put(request: Any, call: Any) -> Any:
        await lanes.call(shelf.method("Peek"), shelf.request("Peek"))
        return shelf.reply("done")

    shelf.handle("Put", put)
    assert (await shelf.call("Put")).degraded == "stale"


async def test_who_calls_travels_further_down_with_calls_and_messages(
    shelf: Shelf, lanes: Lanes, transport: Recorder
) -> None:
    ann = Identity("ann", "acme")

    async def put(request: Any, call: Any) -> Any:
        await lanes.call(shelf.method("Peek"), shelf.request("Peek"))
        await lanes.start(shelf.method("Tidy"), shelf.request("Tidy"))
        return shelf.reply("done")

    shelf.handle("Put", put)
    await shelf.call("Put", identity=ann)
    [row] = await outbox.due(shelf.store, ("shelf", "default"), shelf.clock() + 60, 10)
    delivered = decode(row.method, "", json.loads(encode(row, producer="shelf", now=0.0))["headers"])
    for headers in (transport.attempts[0].headers, row.headers, delivered.headers):
        assert Identity.of(headers) == ann


async def test_the_last_good_answer_to_one_caller_is_not_given_to_another(
    shelf: Shelf, lanes: Lanes, transport: Recorder
) -> None:
    await lanes.call(shelf.method("Look"), shelf.request("Look"), identity=Identity("ann"))
    transport.fail = lambda _: Unavailable("no")
    for who in (Identity("bob"), None):
        with pytest.raises(Unavailable):
            await lanes.call(shelf.method("Look"), shelf.request("Look"), identity=who)
    assert (await lanes.call(shelf.method("Look"), shelf.request("Look"), identity=Identity("ann"))).degraded


async def test_all_reasons_for_which_an_answer_is_degraded_are_told_once(
    shelf: Shelf, lanes: Lanes, transport: Recorder
) -> None:
    async def put(request: Any, call: Any) -> Any:
        for reason in ("stale", "late", "stale"):
            transport.degraded = reason
            await lanes.call(shelf.method("Peek"), shelf.request("Peek"))
        return shelf.reply("done")

    shelf.handle("Put", put)
    assert (await shelf.call("Put")).degraded == "stale; late"


@pytest.mark.parametrize(("attempt", "attempts"), [(1, 3), (2, 1)])
async def test_where_a_layer_above_tries_again_this_one_does_not(
    shelf: Shelf, lanes: Lanes, transport: Recorder, attempt: int, attempts: int
) -> None:
    async def put(request: Any, call: Any) -> Any:
        await lanes.call(shelf.method("Peek"), shelf.request("Peek"))

    transport.fail = lambda _: Unavailable("no")
    shelf.handle("Put", put)
    arrival = Arrival(lane=Lane.GRPC, attempt=attempt)
    with pytest.raises(Unavailable):
        await shelf.dispatcher.unary(shelf.method("Put"), shelf.request("Put"), arrival)
    assert len(transport.attempts) == attempts


async def test_work_that_is_delivered_again_may_still_try_its_calls_again(
    shelf: Shelf, lanes: Lanes, transport: Recorder
) -> None:
    async def tidy(request: Any, call: Any) -> Any:
        await lanes.call(shelf.method("Peek"), shelf.request("Peek"))

    transport.fail = lambda _: Unavailable("no")
    shelf.handle("Tidy", tidy)
    arrival = Arrival(lane=Lane.QUEUE, message_id="m1", attempt=7)
    with pytest.raises(Unavailable):
        await shelf.dispatcher.deliver(shelf.method("Tidy"), shelf.request("Tidy"), arrival)
    assert len(transport.attempts) == 3


async def test_a_call_that_was_refused_on_this_side_has_its_span(
    shelf: Shelf, lanes: Lanes, transport: Recorder
) -> None:
    transport.fail = lambda _: Unavailable("no", reason="UNREACHABLE")
    for _ in range(6):
        with pytest.raises(Unavailable):
            await lanes.call(shelf.method("Slow"), shelf.request("Slow"))
    spans = shelf.spans.get_finished_spans()
    reasons = [span.attributes["laneway.reason"] for span in spans if span.name == "test.shelf.v1.Shelf/Slow"]
    assert reasons == ["UNREACHABLE"] * 5 + ["BREAKER_OPEN"]


async def test_the_span_of_each_attempt_says_its_number_and_what_the_breaker_was(
    shelf: Shelf, lanes: Lanes, transport: Recorder
) -> None:
    transport.fail = lambda number: Unavailable("down") if number <= 5 else None
    for _ in range(2):
        with pytest.raises(Unavailable):
            await lanes.call(shelf.method("Peek"), shelf.request("Peek"))
    shelf.clock.now += 60
    await lanes.call(shelf.method("Peek"), shelf.request("Peek"))
    spans = [span.attributes for span in shelf.spans.get_finished_spans() if span.attributes is not None]
    told = [(span["laneway.attempt"], span["laneway.breaker.state"]) for span in spans if "laneway.attempt" in span]
    assert told == [(1, "closed"), (2, "closed"), (3, "closed"), (1, "closed"), (2, "closed"), (1, "half_open")]


async def test_a_remote_call_in_an_explicit_transaction_is_refused(
    shelf: Shelf, lanes: Lanes, transport: Recorder
) -> None:
    async def put(request: Any, call: Any) -> Any:
        await call.begin()
        await lanes.call(shelf.method("Peek"), shelf.request("Peek"))
        return shelf.reply("done")

    shelf.handle("Put", put)
    with pytest.raises(FailedPrecondition) as refused:
        await shelf.call("Put")
    assert (refused.value.reason, transport.attempts) == ("REMOTE_CALL_IN_TRANSACTION", [])


async def test_a_stream_in_an_explicit_transaction_is_refused_too(shelf: Shelf, lanes: Lanes) -> None:
    async def put(request: Any, call: Any) -> Any:
        await call.begin()
        async for _ in lanes.stream(shelf.method("Peek"), shelf.request("Peek")):
            pass

    shelf.handle("Put", put)
    with pytest.raises(FailedPrecondition, match="inside an explicit transaction"):
        await shelf.call("Put")


async def test_a_start_in_a_handler_is_a_row_of_its_transaction_and_needs_nobody(
    shelf: Shelf, lanes: Lanes, transport: Recorder
) -> None:
    async def put(request: Any, call: Any) -> Any:
        started = await lanes.start(shelf.method("Tidy"), shelf.request("Tidy", name="book"), after=60)
        return shelf.reply(started.name)

    shelf.handle("Put", put)
    name = (await shelf.call("Put")).message.text
    [row] = await outbox.due(shelf.store, ("shelf", "default"), shelf.clock() + 60, 10)
    assert name == f"operations/shelf/{row.id}"
    assert (row.due_at - shelf.clock(), row.service, row.queue) == (60, "shelf", "default")
    assert transport.attempts == []


@pytest.mark.parametrize(
    ("said", "due_in"),
    [
        ({"after": 1}, 1),
        ({"after": timedelta(minutes=2)}, 120),
        ({"at": datetime.fromtimestamp(1_000_090, UTC)}, 90),
        ({"at": datetime.fromtimestamp(1_000_090, timezone(timedelta(hours=-5)))}, 90),
        ({"at": datetime.fromtimestamp(999_000, UTC)}, 0),
    ],
)
async def test_a_start_that_is_to_wait_is_left_to_the_relay_until_its_moment(
    shelf: Shelf, lanes: Lanes, said: dict[str, Any], due_in: float
) -> None:
    async def put(request: Any, call: Any) -> Any:
        await lanes.start(shelf.method("Tidy"), shelf.request("Tidy"), **said)
        return shelf.reply("done")

    shelf.handle("Put", put)
    await shelf.call("Put")
    [row] = await outbox.due(shelf.store, ("shelf", "default"), shelf.clock() + 1000, 10)
    assert row.due_at - shelf.clock() == due_in
    assert shelf.published.messages == []


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"after": 1, "at": datetime.fromtimestamp(2e6, UTC)}, "either `at` a moment or `after` some time"),
        ({"after": -1}, "after is -1 s"),
        ({"after": float("nan")}, "after is nan s"),
        ({"at": datetime(2026, 11, 24)}, "of no time zone"),
    ],
)
async def test_a_moment_that_cannot_be_meant_is_refused(
    shelf: Shelf, lanes: Lanes, said: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        await lanes.start(shelf.method("Tidy"), shelf.request("Tidy"), **said)


async def test_a_call_may_say_its_own_priority_over_the_contracts(shelf: Shelf, lanes: Lanes) -> None:
    async def put(request: Any, call: Any) -> Any:
        for name, priority in (("low", Priority.LOW), ("normal", None), ("high", Priority.HIGH)):
            await lanes.start(shelf.method("Tidy"), shelf.request("Tidy", name=name), step=name, priority=priority)
        return shelf.reply("done")

    shelf.handle("Put", put)
    await shelf.call("Put")
    rows = await outbox.due(shelf.store, ("shelf", "default"), shelf.clock() + 1000, 10)
    assert [shelf.method("Tidy").input.FromString(row.payload).name for row in rows] == ["high", "normal", "low"]
    assert [row.priority for row in rows] == [Priority.HIGH, Priority.NORMAL, Priority.LOW]


async def test_a_caller_without_a_database_may_start_later_and_with_a_priority(
    shelf: Shelf, lanes: Lanes, transport: Recorder
) -> None:
    moment = datetime.fromtimestamp(2e6, UTC)
    await lanes.start(shelf.method("Tidy"), shelf.request("Tidy"), at=moment, priority=Priority.LOW)
    await lanes.start(shelf.method("Tidy"), shelf.request("Tidy"), after=90)
    system = SystemHandlers("shelf", shelf.contract, shelf.store, Tracing("shelf", "shelf-1", None))
    effects = []
    for attempt in transport.attempts:
        facts = Facts(method=START.method, lane=Lane.GRPC)
        call = Call(facts, shelf.dispatcher._surroundings)
        await system.start(attempt.request, call)
        effects.append(call.effects)
    [[first], [second]] = [each.later for each in effects]
    assert (first.due_at, first.priority) == (2e6, Priority.LOW)
    assert (second.due_at - shelf.clock(), second.priority) == (90, Priority.NORMAL)


async def test_a_start_of_a_handler_that_fails_never_happens(shelf: Shelf, lanes: Lanes) -> None:
    async def put(request: Any, call: Any) -> Any:
        await lanes.start(shelf.method("Tidy"), shelf.request("Tidy"))
        raise NotFound("after all")

    shelf.handle("Put", put)
    with pytest.raises(NotFound):
        await shelf.call("Put")
    assert await outbox.queues(shelf.store) == []
    assert shelf.published.messages == []


async def test_a_caller_without_a_database_starts_with_the_owner(
    shelf: Shelf, lanes: Lanes, transport: Recorder
) -> None:
    await lanes.start(shelf.method("Tidy"), shelf.request("Tidy", name="book"), key="k")
    [attempt] = transport.attempts
    assert (attempt.method.path, attempt.method.owner) == ("/laneway.v1.Acceptor/Start", "shelf")
    assert (attempt.request.method, attempt.headers["idempotency-key"]) == ("test.shelf.v1.Shelf.Tidy", "k")


async def test_waiting_for_a_queued_result_in_a_worker_is_refused(shelf: Shelf, lanes: Lanes) -> None:
    async def on(request: Any, call: Any) -> Any:
        started = await lanes.start(shelf.method("Tidy"), shelf.request("Tidy"))
        await started.result(timeout=1)

    shelf.handle("On", on)
    with pytest.raises(FailedPrecondition) as refused:
        await shelf.deliver("On", "m1")
    assert refused.value.reason == "WAIT_IN_WORKER"


async def test_nothing_is_sent_after_the_deadline(shelf: Shelf, lanes: Lanes, transport: Recorder) -> None:
    with pytest.raises(DeadlineExceeded):
        await lanes.call(shelf.method("Peek"), shelf.request("Peek"), timeout=0)
    assert transport.attempts == []
