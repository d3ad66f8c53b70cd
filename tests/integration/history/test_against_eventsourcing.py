"""The same commands leave the same history here and in pyeventsourcing: events, versions, refusals, conflicts, the past."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate as PeersAggregate
from eventsourcing.domain import event
from eventsourcing.persistence import IntegrityError
from google.protobuf.wrappers_pb2 import BoolValue, Int64Value, StringValue
from hypothesis import given, settings
from hypothesis import strategies as st

from laneway.domain import Aggregate, Upcasters, applies
from laneway.history.log import EventLog
from laneway.store import Store, VersionConflict, events
from laneway.store.events import NewEvent

ID = UUID(int=7)


class Refused(Exception):
    """The account's rules say no."""


class Account(Aggregate):
    """Ours: a text opens it, numbers move money, a truth closes it."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.balance, self.closed = 0, False

    def open(self, owner: str) -> None:
        self.record(StringValue(value=owner))

    def move(self, amount: int) -> None:
        if self.closed or self.balance + amount < 0:
            raise Refused
        self.record(Int64Value(value=amount))

    def close(self) -> None:
        if self.closed or self.balance:
            raise Refused
        self.record(BoolValue(value=True))

    @applies(StringValue)
    def _opened(self, event: StringValue) -> None:
        """Nothing to know."""

    @applies(Int64Value)
    def _moved(self, event: Int64Value) -> None:
        self.balance += event.value

    @applies(BoolValue)
    def _closed(self, event: BoolValue) -> None:
        self.closed = True


class PeersAccount(PeersAggregate):
    """The peer's, by its own documentation."""

    @event("Opened")
    def __init__(self, owner: str) -> None:
        self.balance, self.closed = 0, False

    def move(self, amount: int) -> None:
        if self.closed or self.balance + amount < 0:
            raise Refused
        self._move(amount)

    def close(self) -> None:
        if self.closed or self.balance:
            raise Refused
        self._close()

    @event("Moved")
    def _move(self, amount: int) -> None:
        self.balance += amount

    @event("Closed")
    def _close(self) -> None:
        self.closed = True

    @staticmethod
    def create_id(owner: str) -> UUID:
        return ID


Command = tuple[str, int]
"""`move` by an amount, or `close`."""

COMMANDS = st.lists(
    st.lists(st.one_of(st.tuples(st.just("move"), st.integers(-20, 30)), st.just(("close", 0))), max_size=4), max_size=8
)
"""Each list is saved at once. Every third is done by two who loaded the same version."""


class Ours:
    """The commands against our store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._log = EventLog(store, Upcasters())

    async def run(self, batches: Sequence[Sequence[Command]]) -> list[str]:
        account = Account("7")
        account.open("ada")
        await self._save(account)
        outcomes = []
        for number, batch in enumerate(batches):
            rivals = [await self._log.load(Account, "7") for _ in range(2 if number % 3 == 2 else 1)]
            for rival in rivals:
                outcomes += _obey(rival, batch)
                try:
                    await self._save(rival)
                    outcomes.append("saved")
                except VersionConflict:
                    outcomes.append("conflict")
        return outcomes

    async def history(self) -> list[tuple[int, str, object]]:
        names = {StringValue: "Opened", Int64Value: "Moved", BoolValue: "Closed"}
        told = await self._log.stream(Account, "7")
        return [
            (each.version, names[type(each.message)], each.message.value if names[type(each.message)] == "Moved" else None)
            for each in told
        ]  # fmt: skip

    async def balances(self, versions: int) -> list[int]:
        return [(await self._log.load(Account, "7", version=at)).balance for at in range(1, versions + 1)]

    async def _save(self, account: Account) -> None:
        expected, recorded = account.collect()
        new = [
            NewEvent(f"{id(account)}-{expected}-{at}", each.DESCRIPTOR.full_name, each.SerializeToString(), 0.0)
            for at, each in enumerate(recorded)
        ]
        await self._store.commit(events.append(Account.stream("7"), expected, new))


class Peers:
    """The commands against pyeventsourcing, in memory."""

    def __init__(self) -> None:
        self._application: Application[Any] = Application()

    def run(self, batches: Sequence[Sequence[Command]]) -> list[str]:
        self._application.save(PeersAccount("ada"))
        outcomes = []
        for number, batch in enumerate(batches):
            rivals: list[Any] = [self._application.repository.get(ID) for _ in range(2 if number % 3 == 2 else 1)]
            for rival in rivals:
                outcomes += _obey(rival, batch)
                try:
                    self._application.save(rival)
                    outcomes.append("saved")
                except IntegrityError:
                    outcomes.append("conflict")
        return outcomes

    def history(self) -> list[tuple[int, str, object]]:
        told = self._application.events.get(ID)
        return [(each.originator_version, type(each).__name__, getattr(each, "amount", None)) for each in told]

    def balances(self, versions: int) -> list[int]:
        accounts: list[Any] = [self._application.repository.get(ID, version=at) for at in range(1, versions + 1)]
        return [account.balance for account in accounts]


def _obey(account: Any, commands: Sequence[Command]) -> list[str]:
    outcomes = []
    for name, amount in commands:
        try:
            account.move(amount) if name == "move" else account.close()
        except Refused:
            outcomes.append("refused")
        else:
            outcomes.append("done")
    return outcomes


async def _told(batches: Sequence[Sequence[Command]]) -> tuple[object, object, object]:
    store = await Store.open("sqlite://", pool=1)
    try:
        ours = Ours(store)
        outcomes, history = await ours.run(batches), await ours.history()
        return outcomes, history, await ours.balances(len(history))
    finally:
        await store.close()


@settings(max_examples=40)
@given(batches=COMMANDS)
def test_the_same_commands_leave_the_same_history(batches: list[list[Command]]) -> None:
    peers = Peers()
    outcomes, history = peers.run(batches), peers.history()

    assert asyncio.run(_told(batches)) == (outcomes, history, peers.balances(len(history)))


@pytest.mark.parametrize("batches", [[[("move", 5)], [], [("move", 1)], [("move", -6), ("close", 0), ("move", 1)]]])
def test_the_commands_reach_conflicts_and_refusals(batches: list[list[Command]]) -> None:
    """What the property compares is not always the easy case."""
    outcomes = Peers().run(batches)

    assert {"done", "refused", "saved", "conflict"} <= set(outcomes)
