"""Aggregates: recording, replaying, and the mistakes an author can make. Well-known messages serve as events."""

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from laneway.domain.aggregate import Aggregate, applies, decode
from laneway.errors import ConfigurationError, DataLoss, Internal


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
    return [(event.DESCRIPTOR.full_name, event.SerializeToString()) for event in events]


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


def test_bytes_that_are_no_such_event_are_lost_data():
    with pytest.raises(DataLoss, match=r"google\.protobuf\.StringValue"):
        decode("google.protobuf.StringValue", b"\xff", BankAccount.event_types())


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
