"""The log as messages: today's and yesterday's aggregates, snapshots that may go, old events in today's shape."""

from datetime import UTC, datetime

import pytest
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from laneway.domain import Aggregate, Upcaster, Upcasters, applies
from laneway.errors import FailedPrecondition
from laneway.history.log import EventLog, kept_snapshot
from laneway.store import Store, Write, events, snapshots
from laneway.store.events import START, NewEvent
from laneway.store.snapshots import Snapshot


class Account(Aggregate):
    snapshot_every = 4
    snapshot_type = Int64Value
    balance = 0
    replayed = 0

    @applies(Int64Value)
    def _deposited(self, event: Int64Value) -> None:
        self.balance += event.value
        self.replayed += 1

    def snapshot(self) -> Int64Value:
        return Int64Value(value=self.balance)

    def restore(self, state: Int64Value) -> None:
        self.balance = state.value


def saved(account: Account, at: float) -> list[Write]:
    snapshot = kept_snapshot(account, at)
    expected, recorded = account.collect()
    new = [
        NewEvent(f"{account.id}-{expected + number}", event.DESCRIPTOR.full_name, event.SerializeToString(), at)
        for number, event in enumerate(recorded, start=1)
    ]
    return [*events.append(account.stream(account.id), expected, new), *snapshot]


@pytest.fixture
def log(store: Store) -> EventLog:
    return EventLog(store, Upcasters())


async def deposit(log: EventLog, store: Store, *amounts: int) -> None:
    """Each in a commit of its own, ten seconds after the other."""
    for amount in amounts:
        account = await log.load(Account, "a")
        account.record(Int64Value(value=amount))
        await store.commit(saved(account, account.version * 10.0))


def utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


async def test_an_aggregate_is_as_it_was_at_a_version_or_a_time(log: EventLog, store: Store) -> None:
    await deposit(log, store, 1, 2, 3, 4, 5)

    assert (await log.load(Account, "a")).balance == 15
    assert [(await log.load(Account, "a", version=version)).balance for version in (0, 2, 5, 9)] == [0, 3, 15, 15]
    assert [(await log.load(Account, "a", at=utc(at))).balance for at in (5, 20, 29, 99)] == [0, 3, 3, 15]


async def test_one_of_the_past_cannot_be_saved_over_the_present(log: EventLog, store: Store) -> None:
    await deposit(log, store, 1, 2)
    past = await log.load(Account, "a", version=1)
    past.record(Int64Value(value=100))

    with pytest.raises(Exception, match="not at version 1 any more"):
        await store.commit(saved(past, 30.0))


async def test_a_time_without_a_zone_is_refused(log: EventLog) -> None:
    with pytest.raises(FailedPrecondition, match="time zone"):
        await log.load(Account, "a", at=datetime(2026, 1, 1))


async def test_a_history_tells_what_happened_and_when(log: EventLog, store: Store) -> None:
    await deposit(log, store, 7, 8)

    first, second = await log.stream(Account, "a")

    assert (first.message, first.version, first.recorded_at) == (Int64Value(value=7), 1, 10.0)
    assert (second.message, second.stream, second.event_id) == (Int64Value(value=8), "account/a", "a-2")


async def test_after_a_snapshot_only_what_is_later_is_read(log: EventLog, store: Store) -> None:
    await deposit(log, store, 1, 2, 3, 4, 5)

    account = await log.load(Account, "a")

    assert (account.balance, account.version, account.replayed) == (15, 5, 1)


@pytest.mark.parametrize("spoiled", ["gone", "of another schema", "of another type", "not to be read"])
async def test_a_snapshot_that_is_of_no_use_is_done_without(log: EventLog, store: Store, spoiled: str) -> None:
    await deposit(log, store, 1, 2, 3, 4, 5)
    kept = await snapshots.latest(store, "account/a")
    assert kept is not None and kept.version == 4
    await store.commit([snapshots.forget()])
    changed = {
        "of another schema": Snapshot(kept.stream, 4, kept.type, 2, kept.payload, 0.0),
        "of another type": Snapshot(kept.stream, 4, "google.protobuf.StringValue", 1, b"", 0.0),
        "not to be read": Snapshot(kept.stream, 4, kept.type, 1, b"\xff", 0.0),
    }
    if spoiled in changed:
        await store.commit([snapshots.keep(changed[spoiled])])

    account = await log.load(Account, "a")

    assert (account.balance, account.replayed) == (15, 5)


async def test_an_older_snapshot_does_not_replace_a_newer_one(store: Store) -> None:
    for version in (8, 4):
        await store.commit([snapshots.keep(Snapshot("s", version, "T", 1, b"", 0.0))])

    latest = await snapshots.latest(store, "s")
    assert latest is not None and latest.version == 8


async def test_old_events_are_read_in_todays_shape_also_those_that_became_another(store: Store) -> None:
    def told(event: Int64Value) -> StringValue:
        return StringValue(value=f"{event.value} times")

    log = EventLog(store, Upcasters([Upcaster(Int64Value, 1, told, becomes=StringValue)]))
    new = [
        NewEvent("e-1", "google.protobuf.Int64Value", Int64Value(value=7).SerializeToString(), 1.0),
        NewEvent("e-2", "google.protobuf.StringValue", StringValue(value="now").SerializeToString(), 2.0),
        NewEvent("e-3", "google.protobuf.BoolValue", b"", 3.0),
    ]
    await store.commit(events.append("s", 0, new))

    page = await log.after(START, [StringValue])

    assert [event.message.value for event in page.events] == ["7 times", "now"]
    assert (await log.after(page.cursor, [StringValue])).events == []
