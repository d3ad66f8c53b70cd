"""`laneway inbox` on the database of a service, as a person types it, on each database."""

import json
import time

import pytest

from laneway.store import inbox
from tests.integration.cli.database import Database

LONG_AGO = time.time() - 86_400 * 2


class Inbox(Database):
    """The inbox of notifications, and the command on it."""

    def has(self, producer: str, count: int) -> None:
        rows = [inbox.record(f"{producer}-{each}", "Send", LONG_AGO, producer) for each in range(count)]
        self.do(lambda store: store.commit(rows))

    def inbox(self, *arguments: str, code: int = 0) -> str:
        return self.laneway("inbox", *arguments, code=code)


@pytest.fixture
def rows(database_url: str) -> Inbox:
    return Inbox(database_url)


def test_a_producer_that_is_no_more_is_named_and_let_go_of_by_hand(rows: Inbox) -> None:
    rows.has("orders", 2)
    rows.has("billing", 701)

    assert [line.split() for line in rows.inbox("list", "notifications").splitlines()[1:]] == [
        ["billing", "701", "2.0", "d", "not", "installed"],
        ["orders", "2", "2.0", "d"],
    ]
    assert rows.inbox("forget", "notifications", "--producer", "billing").startswith("701 messages of billing ")
    left = json.loads(rows.inbox("list", "notifications", "--format", "json"))
    assert [(each["producer"], each["messages"], each["installed"]) for each in left] == [("orders", 2, True)]
    assert rows.do(lambda store: inbox.over(store, time.time() + 1, 1)) is not None, "the sweep takes them in its time"


def test_who_is_installed_answers_itself(rows: Inbox) -> None:
    rows.has("orders", 1)

    assert "orders is installed" in rows.inbox("forget", "notifications", "--producer", "orders", code=2)
    assert len(json.loads(rows.inbox("list", "notifications", "--format", "json"))) == 1
