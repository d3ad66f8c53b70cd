"""`laneway inbox` on the database of a service, as a person types it, on each database."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from laneway.store import Store, inbox, migrations
from tests.integration.cli.test_dead import laneway

LONG_AGO = time.time() - 86_400 * 2


class Inbox:
    """The inbox of notifications, and the command on it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def do(self, work: Callable[[Store], Any]) -> Any:
        async def opened() -> Any:
            store = await Store.open(self.url, pool=1)
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(opened())

    def has(self, producer: str, count: int) -> None:
        rows = [inbox.record(f"{producer}-{each}", "Send", LONG_AGO, producer) for each in range(count)]
        self.do(lambda store: store.commit(rows))

    def inbox(self, *arguments: str, code: int = 0) -> str:
        ended = laneway("inbox", *arguments, LANEWAY_DATABASES__notifications=self.url)
        assert ended.returncode == code, ended.stderr
        return ended.stdout if code == 0 else ended.stderr


@pytest.fixture(params=["sqlite", "postgresql"])
def rows(request: pytest.FixtureRequest, tmp_path: Path) -> Inbox:
    url = f"sqlite:///{tmp_path}/x.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    migrations.migrate(url)
    return Inbox(url)


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
