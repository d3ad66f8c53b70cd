"""One answer per key; leases with fencing tokens for effects outside the database."""

import asyncio

import pytest
from sqlalchemy import text

from laneway.store import DuplicateKey, LeaseHeld, LeaseLost, Store, Write, idempotency
from laneway.store.idempotency import Key, State

KEY = Key("acme", "ann", "shop.payments.v1.Payments.Authorize", "k-1")


def complete(reply: bytes = b"reply", *, now: float = 100.0, keep: float = 50.0, fence: int | None = None) -> Write:
    return idempotency.complete(
        KEY, fingerprint="f", now=now, keep=keep, reply_type="Payment", reply=reply, fence=fence
    )


async def lease(store: Store, *, now: float, until: float) -> int:
    return await idempotency.lease(store, KEY, fingerprint="f", now=now, until=until)


async def stored_reply(store: Store, now: float = 101.0) -> bytes | None:
    record = await idempotency.find(store, KEY, now=now)
    return record.reply if record else None


async def test_a_completed_key_replays_its_answer(store: Store) -> None:
    await store.commit([complete()])

    record = await idempotency.find(store, KEY, now=149.0)

    assert record is not None
    assert (record.fingerprint, record.state, record.reply_type, record.reply, record.error) == (
        "f",
        State.DONE,
        "Payment",
        b"reply",
        None,
    )
    assert (record.created_at, record.completed_at, record.expires_at) == (100.0, 100.0, 150.0)


async def test_an_answer_has_its_headers(store: Store) -> None:
    await store.commit([idempotency.complete(KEY, fingerprint="f", now=1.0, keep=9.0, headers={"etag": '"1"'})])

    record = await idempotency.find(store, KEY, now=2.0)

    assert record is not None
    assert record.headers == {"etag": '"1"'}


async def test_what_code_of_the_revision_before_has_kept_is_replayed(store: Store) -> None:
    columns = "tenant, principal, method, key, fingerprint, state, fence, reply_type, reply, created_at, expires_at"
    values = "'acme', 'ann', 'shop.payments.v1.Payments.Authorize', 'k-1', 'f', 'done', 0, 'Payment', :reply, 1, 99"
    await store.commit([Write(text(f"INSERT INTO idempotency ({columns}) VALUES ({values})").bindparams(reply=b"r"))])

    record = await idempotency.find(store, KEY, now=2.0)

    assert record is not None
    assert (record.reply, record.headers) == (b"r", None)


async def test_an_answer_may_be_an_error(store: Store) -> None:
    await store.commit([idempotency.complete(KEY, fingerprint="f", now=1.0, keep=9.0, error=b"declined")])

    record = await idempotency.find(store, KEY, now=2.0)

    assert record is not None
    assert (record.reply, record.error) == (None, b"declined")


async def test_two_at_once_have_one_answer(store: Store) -> None:
    results = await asyncio.gather(
        *(store.commit([complete(str(at).encode())]) for at in range(5)), return_exceptions=True
    )

    assert sum(result is None for result in results) == 1
    assert sum(isinstance(result, DuplicateKey) for result in results) == 4
    assert await stored_reply(store) == str(results.index(None)).encode()


@pytest.mark.parametrize(
    "other",
    [
        Key("other", "ann", KEY.method, "k-1"),
        Key("acme", "bob", KEY.method, "k-1"),
        Key("acme", "ann", "Refund", "k-1"),
        Key("acme", "ann", KEY.method, "k-2"),
    ],
)
async def test_keys_of_others_are_other_keys(store: Store, other: Key) -> None:
    await store.commit([complete()])

    assert await idempotency.find(store, other, now=101.0) is None
    await store.commit([idempotency.complete(other, fingerprint="g", now=100.0, keep=50.0)])


async def test_an_expired_key_is_as_good_as_new_whether_it_was_swept_or_not(store: Store) -> None:
    await store.commit([complete(b"old")])

    assert await stored_reply(store, now=150.0) is None
    await store.commit([complete(b"new", now=150.0)])

    assert await stored_reply(store, now=151.0) == b"new"


async def test_a_sweep_deletes_what_has_expired_and_nothing_else(store: Store) -> None:
    await store.commit([complete()])

    await store.commit([idempotency.sweep(149.0)])
    kept = await stored_reply(store)
    await store.commit([idempotency.sweep(150.0)])

    assert kept == b"reply"
    assert await stored_reply(store) is None


async def test_what_has_expired_is_swept_a_little_at_a_time(store: Store) -> None:
    keys = [Key("acme", "ann", "Authorize", str(number)) for number in range(10)]
    for number, key in enumerate(keys):
        await store.commit([idempotency.complete(key, fingerprint="f", now=0.0, keep=float(number))])
    sweeps = []
    while (until := await idempotency.expired(store, 7.0, 3)) is not None:
        sweeps.append(until)
        await store.commit([idempotency.sweep(until)])
    assert sweeps == [2.0, 5.0, 7.0]
    assert [await idempotency.find(store, key, now=-1.0) is not None for key in keys] == [False] * 8 + [True] * 2


async def test_a_lease_is_held_by_one(store: Store) -> None:
    results = await asyncio.gather(*(lease(store, now=100.0, until=130.0) for _ in range(5)), return_exceptions=True)

    assert sum(result == 1 for result in results) == 1
    assert sum(isinstance(result, LeaseHeld) for result in results) == 4


async def test_a_held_lease_says_when_to_come_back(store: Store) -> None:
    await lease(store, now=100.0, until=130.0)

    with pytest.raises(LeaseHeld) as raised:
        await lease(store, now=110.0, until=140.0)

    assert raised.value.retry_after == 20.0


async def test_the_holder_completes_and_the_answer_is_replayed(store: Store) -> None:
    fence = await lease(store, now=100.0, until=130.0)

    await store.commit([complete(now=110.0, fence=fence)])

    assert await stored_reply(store, now=111.0) == b"reply"
    with pytest.raises(DuplicateKey):
        await lease(store, now=111.0, until=140.0)


async def test_an_expired_lease_goes_to_the_next_and_the_late_holder_is_fenced_off(store: Store) -> None:
    late = await lease(store, now=100.0, until=130.0)
    next_holder = await lease(store, now=130.0, until=160.0)

    with pytest.raises(LeaseLost):
        await store.commit([complete(b"late", now=131.0, fence=late)])
    await store.commit([complete(b"next", now=132.0, fence=next_holder)])

    assert next_holder == late + 1
    assert await stored_reply(store, now=133.0) == b"next"
    with pytest.raises(LeaseLost):
        await store.commit([complete(b"late", now=134.0, fence=late)])


async def test_a_lease_that_has_ended_outlives_the_sweeper_so_that_its_late_holder_is_fenced_off(store: Store) -> None:
    late = await lease(store, now=100.0, until=130.0)

    assert await idempotency.expired(store, 131.0, 10) is None
    await store.commit([idempotency.sweep(131.0)])
    next_holder = await lease(store, now=132.0, until=160.0)

    with pytest.raises(LeaseLost):
        await store.commit([complete(b"late", now=133.0, fence=late)])
    assert next_holder == late + 1


async def test_of_those_who_take_over_one_succeeds(store: Store) -> None:
    await lease(store, now=100.0, until=130.0)

    results = await asyncio.gather(*(lease(store, now=130.0, until=160.0) for _ in range(5)), return_exceptions=True)

    assert sum(result == 2 for result in results) == 1
    assert sum(isinstance(result, LeaseHeld) for result in results) == 4


async def test_a_released_lease_is_free_at_once_and_its_fence_is_not_given_again(store: Store) -> None:
    fence = await lease(store, now=100.0, until=130.0)
    await store.commit([idempotency.release(KEY, fence)])

    assert await lease(store, now=101.0, until=131.0) == fence + 1
    await store.commit([idempotency.release(KEY, fence)])
    with pytest.raises(LeaseHeld):
        await lease(store, now=102.0, until=132.0)


async def test_a_lease_after_an_expired_answer_forgets_the_answer(store: Store) -> None:
    await store.commit([complete()])

    await lease(store, now=150.0, until=160.0)

    record = await idempotency.find(store, KEY, now=151.0)
    assert record is not None
    assert (record.state, record.reply, record.completed_at) == (State.LEASED, None, None)
