"""Aggregates: recording, replaying, and the mistakes an author can make. Well-known messages serve as events."""

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from laneway.domain.aggregate import Aggregate, applies
from laneway.errors import ConfigurationError, Internal


class BankAccount(Aggregate):
    """Deposits are numbers; a string closes it."""

    balance = 0

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.notes: list[str] = []

    def deposit(self, amount: int) -> None:
        self.record(Int64Value(value=amount))

    @applies(Int64Value)
    def _deposited(self, event: Int64Value) -> None:
        self.balance += event.value

    @applies(StringValue)
    def _noted(self, event: StringValue) -> None:
        self.notes.append(event.value)


class SavingsAccount(BankAccount):
    category = "savings"

    def _deposited(self, event: Int64Value) -> None:
        self.balance += 2 * event.value

    @applies(Empty)
    def _emptied(self, event: Empty) -> None:
        self.balance = 0


def stored(*events):
    return [type(event).FromString(event.SerializeToString()) for event in events]


def test_a_fresh_one_does_not_exist_yet():
    account = BankAccount.fresh("a")
    assert (account.id, account.version, account.exists) == ("a", 0, False)


def test_an_empty_log_gives_a_fresh_one():
    assert not BankAccount.replay("a", []).exists


def test_a_recorded_event_applies_at_once():
    account = BankAccount.fresh("a")
    account.deposit(5)
    assert (account.balance, account.version, account.exists) == (5, 1, True)


def test_what_was_recorded_comes_back_by_replaying_it():
    account = BankAccount.fresh("a")
    account.deposit(5)
    account.record(StringValue(value="first"))
    _, events = account.collect()
    again = BankAccount.replay("a", stored(*events))
    assert (again.balance, again.notes, again.version) == (5, ["first"], 2)


def test_collected_events_follow_the_version_that_was_loaded():
    account = BankAccount.replay("a", stored(Int64Value(value=1), Int64Value(value=2)))
    account.deposit(3)
    account.deposit(4)
    assert account.collect() == (2, [Int64Value(value=3), Int64Value(value=4)])


def test_events_are_collected_once_and_later_ones_follow_them():
    account = BankAccount.fresh("a")
    account.deposit(1)
    account.collect()
    assert account.collect() == (1, [])
    account.deposit(2)
    assert account.collect() == (1, [Int64Value(value=2)])


def test_two_of_a_class_share_nothing():
    one, other = BankAccount.fresh("a"), BankAccount.fresh("b")
    one.record(StringValue(value="mine"))
    assert other.notes == []


@pytest.mark.parametrize(
    ("aggregate", "stream"), [(BankAccount, "bank_account/orders/7"), (SavingsAccount, "savings/orders/7")]
)
def test_a_stream_is_named_by_category_and_id(aggregate, stream):
    assert aggregate.stream("orders/7") == stream


def test_a_subclass_inherits_overrides_and_adds_appliers():
    account = SavingsAccount.fresh("a")
    account.deposit(5)
    account.record(StringValue(value="inherited"))
    assert (account.balance, account.notes) == (10, ["inherited"])
    assert SavingsAccount.event_types().keys() - BankAccount.event_types().keys() == {"google.protobuf.Empty"}


def test_recording_an_event_without_an_applier_says_what_to_write():
    account = BankAccount.fresh("a")
    with pytest.raises(Internal, match=r"BankAccount has no applier for google\.protobuf\.Empty.*@applies\(Empty\)"):
        account.record(Empty())
    assert not account.exists


def test_a_log_that_the_code_does_not_know_is_refused():
    with pytest.raises(Internal, match=r"google\.protobuf\.Duration.*older than the log"):
        BankAccount.replay("a", stored(Duration(seconds=1)))


def test_an_event_that_is_applied_twice_is_refused_at_definition():
    with pytest.raises(ConfigurationError, match=r"Twice applies google\.protobuf\.Empty twice, in _one and _other"):

        class Twice(Aggregate):
            @applies(Empty)
            def _one(self, event: Empty) -> None: ...

            @applies(Empty)
            def _other(self, event: Empty) -> None: ...


def test_what_is_no_message_is_refused_at_definition():
    with pytest.raises(ConfigurationError, match="@applies needs the class of a protobuf message"):
        applies(str)


class Ledger(BankAccount):
    snapshot_every = 3
    snapshot_type = Int64Value

    def snapshot(self) -> Int64Value:
        return Int64Value(value=self.balance)

    def restore(self, state: Int64Value) -> None:
        self.balance = state.value


def test_a_snapshot_is_due_after_so_many_events_and_once():
    ledger = Ledger.fresh("a")
    told = []
    for _ in range(7):
        ledger.deposit(1)
        told.append(ledger.collect_snapshot())
    assert [state.value if state else None for state in told] == [None, None, 3, None, None, 6, None]


def test_one_of_a_snapshot_goes_on_where_it_was_taken():
    ledger = Ledger.from_snapshot("a", 3, Int64Value(value=30)).follow([Int64Value(value=5)])
    assert (ledger.balance, ledger.version, ledger.collect_snapshot()) == (35, 4, None)
    ledger.deposit(1)
    assert ledger.collect() == (4, [Int64Value(value=1)])


def test_an_aggregate_that_says_nothing_of_snapshots_keeps_none():
    account = BankAccount.fresh("a")
    for _ in range(100):
        account.deposit(1)
    assert account.collect_snapshot() is None


def test_snapshots_of_no_type_are_refused_at_definition():
    with pytest.raises(ConfigurationError, match="Typeless keeps snapshots of no type; set `snapshot_type`"):
        type("Typeless", (Aggregate,), {"snapshot_every": 10})
