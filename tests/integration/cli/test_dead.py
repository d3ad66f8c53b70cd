"""`laneway dead` on the outbox of a service, as a person types it, on each database."""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from laneway.store import Store, migrations, outbox, turns
from laneway.store.outbox import OutboxMessage
from shop.notifications.v1.notifications_pb2 import SendEmailRequest
from tests.fixtures.command import laneway
from tests.integration.cli.database import Database

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
MAIL = OutboxMessage(
    id="mail-1",
    service="notifications",
    queue="email",
    method="shop.notifications.v1.Notifications.SendEmail",
    payload=SendEmailRequest(to="ada@example.org", subject="Shipped").SerializeToString(),
    headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"},
    due_at=1.0,
    created_at=1.0,
)


@dataclass
class Outbox(Database):
    """The outbox of one service, and the command on it."""

    def park(self, *messages: OutboxMessage, error: str = "SMTP 550", at: float = 100.0) -> None:
        async def work(store: Store) -> None:
            await store.commit([outbox.insert(messages), *(outbox.park(each.id, 8, error, at) for each in messages)])

        self.do(work)

    def row(self, id: str = "mail-1") -> OutboxMessage | None:
        return self.do(lambda store: outbox.get(store, id))

    def dead(self, *arguments: str, code: int = 0) -> str:
        """What the command says."""
        return self.laneway("dead", *arguments, "--service", "notifications", code=code)


@pytest.fixture
def rows(database_url: str) -> Outbox:
    return Outbox(database_url)


def test_a_pipe_gets_plain_aligned_text(rows: Outbox) -> None:
    rows.park(MAIL, error="UNAVAILABLE: The mail server takes no mail:\n  SMTPConnectError")

    head, line = rows.dead("list").splitlines()

    assert head.split() == ["id", "producer", "queue", "method", "attempts", "parked", "holds", "error"]
    assert line.split()[:5] == ["mail-1", "notifications", "notifications.email", "SendEmail", "8"]
    assert line.rstrip().endswith("UNAVAILABLE: The mail server takes no mail: SMTPConnectError")
    assert "\x1b" not in line


def test_a_program_gets_json(rows: Outbox) -> None:
    rows.park(MAIL)

    [letter] = json.loads(rows.dead("list", "--format", "json"))

    assert letter == {
        "id": "mail-1",
        "producer": "notifications",
        "queue": "notifications.email",
        "method": "shop.notifications.v1.Notifications.SendEmail",
        "attempts": 8,
        "createdAt": "1970-01-01T00:00:01+00:00",
        "parkedAt": "1970-01-01T00:01:40+00:00",
        "skippedAt": None,
        "error": "SMTP 550",
        "trace": TRACE,
        "orderKey": None,
        "holds": 0,
    }


def test_one_is_shown_with_its_payload_and_trace(rows: Outbox) -> None:
    rows.park(MAIL)

    shown = json.loads(rows.dead("show", "mail-1", "--format", "json"))

    assert shown["payload"] == {"to": "[redacted]", "subject": "Shipped"}
    assert "ada@example.org" not in rows.dead("show", "mail-1")
    revealed = json.loads(rows.dead("show", "mail-1", "--reveal", "--format", "json"))
    assert revealed["payload"] == {"to": "ada@example.org", "subject": "Shipped"}
    assert shown["headers"] == dict(MAIL.headers)
    assert TRACE in rows.dead("show", "mail-1")


def test_in_bulk_by_error_with_a_rate_each_has_its_moment(rows: Outbox) -> None:
    rows.park(*(replace(MAIL, id=f"mail-{n}") for n in range(5)))
    rows.park(replace(MAIL, id="other"), error="no such user")
    before = time.time()

    assert rows.dead("redrive", "--error", "smtp", "--rate", "0.5") == "5 redriven; the last of them in 8 s\n"

    due = [rows.row(f"mail-{n}").due_at for n in range(5)]  # type: ignore[union-attr]
    assert [later - due[0] for later in due] == pytest.approx([0, 2, 4, 6, 8])
    assert before <= due[0] <= time.time()
    other = rows.row("other")
    assert other is not None
    assert other.parked_at is not None


def test_more_than_a_batch_is_redriven_in_order(rows: Outbox) -> None:
    rows.park(*(replace(MAIL, id=f"mail-{n:04}") for n in range(1200)))

    assert rows.dead("redrive", "--all").startswith("1200 redriven")
    assert rows.dead("list", "--format", "json") == "[]\n"


def test_a_skipped_one_is_on_record_until_it_is_dropped(rows: Outbox) -> None:
    rows.park(MAIL)

    assert rows.dead("skip", "mail-1") == "1 skipped\n"
    assert json.loads(rows.dead("list", "--format", "json")) == []
    [skipped] = json.loads(rows.dead("list", "--skipped", "--format", "json"))
    assert skipped["skippedAt"] is not None
    assert rows.dead("drop", "mail-1", "--skipped") == "1 dropped\n"
    assert rows.row() is None


def test_deleting_in_bulk_asks_first(rows: Outbox) -> None:
    rows.park(MAIL)

    said = rows.dead("drop", "--queue", "notifications.email", code=2)
    assert said == "This would delete 1 dead letters for good; say --yes.\n"
    assert rows.row() is not None
    assert rows.dead("drop", "--queue", "notifications.email", "--yes") == "1 dropped\n"
    assert rows.row() is None


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["redrive"], 2, "Which ones? Name their ids, choose by --queue, --error or --older-than, or say --all.\n"),
        (["redrive", "a", "b"], 1, "There is no dead letter a and 1 more; `laneway dead list` has those that there are.\n"),
        (["show", "a"], 1, "There is no dead letter a; `laneway dead list` has those that there are.\n"),
        (["list", "--older-than", "soon"], 2, "`soon` is no duration; write one as 90s, 15m, 2h or 3d.\n"),
        (["list", "--queue", "email"], 2, "`email` is no queue; write it as `<service>.<queue>`, such as"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(tmp_path: Path, arguments: list[str], code: int, sentence: str) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    migrations.migrate(url)

    said = Outbox(url).dead(*arguments, code=code)

    assert said.startswith(sentence)
    assert said.count("\n") == 1


def test_without_a_database_url_the_folder_of_laneway_up_is_looked_at(tmp_path: Path) -> None:
    for name in ("catalog", "orders"):
        migrations.migrate(f"sqlite:///{tmp_path}/{name}.db")
    Outbox(f"sqlite:///{tmp_path}/orders.db").park(MAIL)

    ended = laneway("dead", "list", "--service", "orders", "--data", str(tmp_path), "--format", "json")
    assert [(each["producer"], each["id"]) for each in json.loads(ended.stdout)] == [("orders", "mail-1")]

    missing = laneway("dead", "list", "--data", str(tmp_path))
    assert missing.returncode == 2
    assert "fulfilment.db has revision 0000" in missing.stderr


def test_in_a_pod_the_one_database_of_its_service_is_looked_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    migrations.migrate(url)
    Outbox(url).park(MAIL)

    ended = laneway("dead", "list", "--format", "json", LANEWAY_DATABASE_URL=url)

    assert [each["id"] for each in json.loads(ended.stdout)] == ["mail-1"]


def test_one_that_holds_its_key_says_how_many_wait_and_lets_them_go_when_it_is_skipped(rows: Outbox) -> None:
    queue = [replace(MAIL, id=f"mail-{n}", order_key="ada") for n in range(3)]

    async def hold(store: Store) -> None:
        await store.commit([outbox.insert(queue)])
        await store.commit(turns.place(await turns.newcomers(store, 10)))
        await store.commit([outbox.park("mail-0", 8, "SMTP 550", 100.0)])

    rows.do(hold)
    [letter] = json.loads(rows.dead("list", "--format", "json"))
    assert (letter["id"], letter["orderKey"], letter["holds"]) == ("mail-0", "ada", 2)

    rows.dead("skip", "mail-0")
    due = rows.do(lambda store: outbox.due(store, ("notifications", "email"), 1e12, 10))
    assert [each.id for each in due] == ["mail-1"]
