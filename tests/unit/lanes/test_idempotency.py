"""One effect per key: whose key it is, who may see the answer, and what is kept of it."""

import asyncio
from typing import Any

import pytest

from laneway.call import ANONYMOUS, Identity
from laneway.contract.model import method_of
from laneway.errors import ConfigurationError, FailedPrecondition, Internal, InvalidArgument, PermissionDenied
from laneway.lanes.fingerprint import fingerprint
from laneway.lanes.retention import Retention
from laneway.resilience.retry import exhausted
from laneway.store import idempotency, inbox, leases, operations
from tests.fixtures.protos import service_of
from tests.fixtures.shelf import Shelf

ANN, BOB = Identity("ann", "acme"), Identity("bob", "acme")


@pytest.fixture
def runs(shelf: Shelf) -> list[Any]:
    """The runs of `Put`, each by whom."""
    made: list[Any] = []

    async def put(request: Any, call: Any) -> Any:
        made.append(call.identity)
        return shelf.reply(f"run {len(made)}")

    shelf.handle("Put", put)
    return made


@pytest.mark.parametrize(
    ("one", "other"),
    [(ANN, BOB), (ANN, Identity("ann", "other")), (ANONYMOUS, ANN), (Identity(None, "acme"), ANONYMOUS)],
)
async def test_a_key_is_one_of_its_tenant_and_principal(
    shelf: Shelf, runs: list[Any], one: Identity, other: Identity
) -> None:
    await shelf.call("Put", request_id="k", identity=one)
    answer = await shelf.call("Put", request_id="k", identity=other)
    assert (answer.replayed, runs) == (False, [one, other])
    assert (await shelf.call("Put", request_id="k", identity=one)).message.text == "run 1"


async def test_anonymous_callers_never_see_the_answers_of_named_ones(shelf: Shelf, runs: list[Any]) -> None:
    await shelf.call("Put", request_id="k", name="a secret of ann", identity=ANN)
    answer = await shelf.call("Put", request_id="k", name="a guess")
    assert not answer.replayed, "and they do not learn that it was used, either"
    with pytest.raises(ValueError, match="a principal has a name"):
        Identity("")


async def test_who_calls_travels_as_ascii_whatever_the_name(shelf: Shelf, runs: list[Any]) -> None:
    jose = Identity("josé/日本", "a b")
    assert all(value.isascii() for value in jose.headers.values())
    await shelf.call("Put", request_id="k", identity=jose)
    assert runs == [jose]


async def test_authorisation_comes_before_the_replay(shelf: Shelf, runs: list[Any]) -> None:
    await shelf.call("Put", request_id="k", identity=ANN)

    async def dismissed(request: Any, call: Any) -> None:
        assert request.request_id == "k"
        if call.identity == ANN:
            raise PermissionDenied("ann does not work here any more")

    shelf.gates.append(dismissed)
    with pytest.raises(PermissionDenied):
        await shelf.call("Put", request_id="k", identity=ANN)
    shelf.gates.clear()
    assert (await shelf.call("Put", request_id="k", identity=ANN)).replayed, "the refusal was not kept as an answer"


async def test_an_event_comes_from_no_caller_and_asks_nobody(shelf: Shelf) -> None:
    async def nobody(request: Any, call: Any) -> None:
        raise PermissionDenied("nobody may")

    async def on(request: Any, call: Any) -> Any:
        return shelf.method("On").output()

    shelf.gates.append(nobody)
    shelf.handle("On", on)
    await shelf.deliver("On", "m1")


@pytest.mark.parametrize("key", ["k" * 256, "a b", "schlüssel", "k\n"])
async def test_the_limits_of_a_key_hold_on_every_lane(shelf: Shelf, runs: list[Any], key: str) -> None:
    for given in ({"request_id": key}, {"key": key}):
        with pytest.raises(InvalidArgument) as refused:
            await shelf.call("Put", **given)  # type: ignore[arg-type]
        assert refused.value.reason == "IDEMPOTENCY_KEY_INVALID"


async def test_a_replay_has_the_headers_of_the_first_answer_and_its_mark(shelf: Shelf) -> None:
    async def put(request: Any, call: Any) -> Any:
        call.answer_with("ETag", '"7"')
        call.degrade("stock not checked")
        return shelf.reply("done")

    shelf.handle("Put", put)
    first = await shelf.call("Put", request_id="k")
    again = await shelf.call("Put", request_id="k")
    assert (again.headers, again.degraded) == (first.headers, first.degraded) == ({"etag": '"7"'}, "stock not checked")
    assert (first.replayed, again.replayed) == (False, True)


@pytest.mark.parametrize(("name", "value"), [("Set-Cookie", "a=b"), ("Date", "now"), ("ETag", "a\r\nSet-Cookie: b")])
async def test_a_header_that_is_not_on_the_list_or_holds_another_is_refused(
    shelf: Shelf, name: str, value: str
) -> None:
    async def put(request: Any, call: Any) -> Any:
        call.answer_with(name, value)

    shelf.handle("Put", put)
    with pytest.raises(FailedPrecondition, match="content-language, etag, last-modified, link, location"):
        await shelf.call("Put", request_id="k")


async def test_a_reply_that_is_larger_than_declared_fails_before_anything_is_committed(shelf: Shelf) -> None:
    async def small(request: Any, call: Any) -> Any:
        call.emit(shelf.method("On").input(name="book"))
        return shelf.reply("x" * 100)

    shelf.handle("Small", small)
    with pytest.raises(Internal, match="102 bytes, and its contract lets 100 be kept") as refused:
        await shelf.call("Small", key="k")
    assert (refused.value.reason, exhausted(refused.value)) == ("REPLY_TOO_LARGE", True)
    assert shelf.published.wakes == 0


def test_a_reply_too_large_to_keep_is_refused_at_declaration(tmp_path: Any) -> None:
    body = """service Shelf { rpc Put(Request) returns (Reply) {
        option (laneway.v1.call) = {idempotency {max_reply_bytes: 1048577}}; } }"""
    with pytest.raises(
        ConfigurationError, match="max_reply_bytes is 1048577; a reply that is kept has at most 1048576"
    ):
        method_of(service_of(tmp_path, body).methods_by_name["Put"])


async def test_a_newer_schema_replays_what_an_older_one_has_kept(shelf: Shelf, runs: list[Any]) -> None:
    put = shelf.method("Put")
    unknown = b"\x9a\x06\x03old"  # field 99, which a schema in between had
    await keep(shelf, "k", reply=shelf.reply("kept").SerializeToString() + unknown, reply_type="test.shelf.v1.Reply")
    answer = await shelf.call("Put", request_id="k")
    assert (answer.message.text, answer.replayed, runs) == ("kept", True, [])
    assert answer.message.SerializeToString() != put.output(text="kept").SerializeToString(), "nothing of it is lost"


async def test_a_message_whose_key_was_used_by_a_synchronous_call_ends_with_that_calls_reply(shelf: Shelf) -> None:
    runs = []

    async def store(request: Any, call: Any) -> Any:
        runs.append(call.lane)
        return shelf.reply("stored")

    shelf.handle("Store", store)
    await shelf.call("Store", request_id="k", name="book")
    await shelf.deliver("Store", "m1", request_id="k", name="book")
    operation = await operations.get(shelf.store, "m1")
    assert operation is not None
    assert (operation.done, operation.reply) == (True, shelf.reply("stored").SerializeToString())
    assert await inbox.seen(shelf.store, "m1")
    assert len(runs) == 1


async def test_a_key_with_a_kept_error_is_refused_to_another_payload_like_any_other(shelf: Shelf) -> None:
    async def put(request: Any, call: Any) -> Any:
        raise FailedPrecondition("the shelf is full", reason="SHELF_FULL")

    shelf.handle("Put", put)
    with pytest.raises(FailedPrecondition):
        await shelf.call("Put", request_id="k", name="book")
    with pytest.raises(InvalidArgument) as refused:
        await shelf.call("Put", request_id="k", name="lamp")
    assert refused.value.reason == "IDEMPOTENCY_KEY_REUSED"


async def test_a_reply_of_another_type_is_neither_garbled_nor_made_again(shelf: Shelf, runs: list[Any]) -> None:
    await keep(shelf, "k", reply=b"", reply_type="test.shelf.v1.OldReply")
    with pytest.raises(Internal, match=r"has been carried out, and its reply is a test\.shelf\.v1\.OldReply"):
        await shelf.call("Put", request_id="k")
    assert runs == []


async def keep(shelf: Shelf, key: str, *, reply: bytes, reply_type: str) -> None:
    put = shelf.method("Put")
    kept = idempotency.complete(
        idempotency.Key("", "", put.full_name, key),
        fingerprint=fingerprint(put, put.input(request_id=key)),
        now=shelf.clock(),
        keep=60.0,
        reply=reply,
        reply_type=reply_type,
    )
    await shelf.store.commit([kept])


async def test_retention_counts_from_completion(shelf: Shelf) -> None:
    async def put(request: Any, call: Any) -> Any:
        shelf.clock.now += 5.0
        return shelf.reply("done")

    shelf.handle("Put", put)
    keep = shelf.method("Put").policy.idempotency.keep
    await shelf.call("Put", request_id="k")
    shelf.clock.now += keep - 0.1
    assert (await shelf.call("Put", request_id="k")).replayed
    shelf.clock.now += 0.1
    assert not (await shelf.call("Put", request_id="k")).replayed


async def test_the_sweeper_deletes_what_has_expired_and_only_one_sweeps(
    shelf: Shelf, runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("laneway.lanes.retention.BATCH", 2)
    for number in range(5):
        await shelf.call("Put", request_id=str(number))
    shelf.clock.now += 86_400
    await shelf.call("Put", request_id="new")
    one, other = (
        Retention(shelf.store, holder=holder, keep_operations=60, clock=shelf.clock) for holder in ("one", "other")
    )
    assert (await one._mine(), await other._mine()) == (True, False)
    await one.sweep()
    put = shelf.method("Put").full_name
    found = [
        await idempotency.find(shelf.store, idempotency.Key("", "", put, key), now=0.0) for key in ("0", "4", "new")
    ]
    assert [record is not None for record in found] == [False, False, True]


async def test_a_sweeper_leaves_the_rows_alone_while_anothers_turn_lasts(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("laneway.lanes.retention.EVERY", 0.0)
    await leases.acquire(shelf.store, "retention", "one", now=shelf.clock.now, until=shelf.clock.now + 3)
    begins = asyncio.get_running_loop().create_future()

    def later_each_time() -> float:
        shelf.clock.now += 1
        return shelf.clock.now

    async def sweep() -> None:
        begins.set_result(shelf.clock.now)
        await asyncio.Event().wait()

    end_of_turn = shelf.clock.now + 3
    other = Retention(shelf.store, holder="other", keep_operations=60, clock=later_each_time)
    monkeypatch.setattr(other, "sweep", sweep)
    running = asyncio.create_task(other.run())
    async with asyncio.timeout(5):
        assert await begins == end_of_turn
    running.cancel()


async def test_the_sweeper_goes_on_after_the_database_was_away(
    shelf: Shelf, runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from laneway.store import StoreUnavailable

    swept = asyncio.Event()
    sweeps = []

    async def sweep() -> None:
        sweeps.append(1)
        if len(sweeps) == 1:
            raise StoreUnavailable("away")
        swept.set()

    monkeypatch.setattr("laneway.lanes.retention.EVERY", 0.0)
    retention = Retention(shelf.store, holder="one", keep_operations=60, clock=shelf.clock)
    monkeypatch.setattr(retention, "sweep", sweep)
    running = asyncio.create_task(retention.run())
    async with asyncio.timeout(5):
        await swept.wait()
    running.cancel()


async def test_the_keys_of_calls_further_down_stay_the_same_when_a_step_is_skipped(shelf: Shelf) -> None:
    derived: list[dict[str, str]] = []

    async def put(request: Any, call: Any) -> Any:
        steps = ["reserve", "charge", "ship"] if not derived else ["charge", "ship"]
        derived.append({step: call.derive_key(step) for step in steps})
        raise FailedPrecondition("not yet")

    shelf.handle("Put", put)
    for _ in range(2):
        with pytest.raises(FailedPrecondition):
            await shelf.call("Put", request_id="k")
    first, again = derived
    assert {step: first[step] for step in again} == again
    assert len(set(first.values())) == 3


async def test_the_keys_of_calls_further_down_differ_between_principals(shelf: Shelf) -> None:
    derived = []

    async def put(request: Any, call: Any) -> Any:
        derived.append(call.derive_key("charge"))
        return shelf.reply("done")

    shelf.handle("Put", put)
    for who in (ANN, BOB, ANONYMOUS):
        await shelf.call("Put", request_id="k", identity=who)
    assert len(set(derived)) == 3
