"""`laneway events` and `laneway sagas` on the databases of the shop, as `laneway up` leaves them and by URL."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from sqlalchemy import text
from typer.testing import CliRunner

from laneway.cli.commands import app
from laneway.errors import LanewayError
from laneway.history.projector import Projector
from laneway.runtime.installed import describe
from laneway.store import Store, Write, events, migrations
from laneway.store.events import ANY, NewEvent
from laneway.telemetry.metrics import Metrics
from laneway.v1.saga_pb2 import SagaStarted, SagaStepCompleted
from shop.orders.v1.events_pb2 import OrderCancelled, OrderLine, OrderPlaced

NOON = 1_700_000_000.0
NOON_TEXT = "2023-11-14T22:13:20.000+00:00"


@dataclass
class Shop:
    """The databases of a shop, and the command on them."""

    data: Path
    urls: dict[str, str]

    def laneway(self, *arguments: str, code: int = 0) -> str:
        """What the command prints; `code` is how it ends."""
        ended = CliRunner().invoke(app, [*arguments, "--data", str(self.data)])
        if isinstance(ended.exception, LanewayError):
            raise ended.exception
        assert ended.exit_code == code, f"{ended.output}\n{ended.exception}"
        return ended.stdout

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.laneway(*arguments, "--format", "json", code=code))

    def on(self, service: str, work: Callable[[Store], Coroutine[Any, Any, None]]) -> None:
        async def run() -> None:
            store = await Store.open(self.urls[service], pool=1)
            try:
                await work(store)
            finally:
                await store.close()

        asyncio.run(run())

    def append(self, service: str, stream: str, *told: Message, at: float = NOON) -> None:
        new = [
            NewEvent(f"{stream}@{at + number:.0f}", event.DESCRIPTOR.full_name, event.SerializeToString(), at + number)
            for number, event in enumerate(told)
        ]
        self.on(service, lambda store: store.commit(events.append(stream, ANY, new)))

    def keep_views(self, service: str) -> None:
        """As a running service does."""

        async def keep(store: Store) -> None:
            for projection in describe(service).projections:
                projector = Projector(store, projection, holder="service", metrics=Metrics())
                while await projector.go_round():
                    pass

        self.on(service, keep)


@pytest.fixture(params=["under up", "by URL"])
def shop(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    urls = {name: f"sqlite:///{tmp_path}/{name}.db" for name in ("orders", "fulfilment", "payments")}
    if request.param == "by URL":
        urls["orders"] = request.getfixturevalue("postgres_url")
        monkeypatch.setenv("LANEWAY_DATABASES__orders", urls["orders"])
    for name, url in urls.items():
        migrations.migrate(url, author=describe(name).migrations, service=name)
    yield Shop(tmp_path, urls)


def placed(order: str, units: int = 1) -> OrderPlaced:
    line = OrderLine(product="products/lamp", quantity=units, price_minor=5)
    return OrderPlaced(order=order, lines=[line], total_minor=5 * units, currency="EUR", email="ada@example.org")


@pytest.fixture
def one_order(shop: Shop) -> Shop:
    shop.append("orders", "order/7", placed("orders/7"), OrderCancelled(order="orders/7"))
    return shop


def test_the_newest_events_are_shown_the_last_at_the_bottom(one_order: Shop) -> None:
    one_order.append("orders", "order/8", placed("orders/8"), at=NOON + 100)

    lines = one_order.laneway("events", "show", "orders", "--limit", "2").splitlines()

    assert [line.split()[:2] for line in lines] == [["stream", "version"], ["order/7", "2"], ["order/8", "1"]]
    assert "OrderPlaced" in lines[2] and '"totalMinor": "5"' in lines[2]
    kind = "shop.orders.v1.OrderCancelled"
    assert [event["type"] for event in one_order.json("events", "show", "orders", "--type", kind)] == [kind]


def test_one_event_is_shown_in_full(one_order: Shop) -> None:
    told = one_order.json("events", "show", "orders", f"order/7@{NOON:.0f}")
    text_of_it = one_order.laneway("events", "show", "orders", f"order/7@{NOON:.0f}")

    assert (told["stream"], told["version"], told["time"]) == ("order/7", 1, NOON_TEXT)
    assert told["message"]["lines"] == [{"product": "products/lamp", "quantity": 1, "priceMinor": "5"}]
    assert "message.email" in text_of_it


@pytest.mark.parametrize(
    "command", [["show", "orders"], ["show", "orders", f"order/7@{NOON:.0f}"], ["history", "orders", "order/7"],
                ["replay", "orders", "order/7"]],
)  # fmt: skip
@pytest.mark.parametrize("format", ["text", "json"])
def test_what_the_contract_redacts_is_shown_only_if_asked_for(one_order: Shop, command: list[str], format: str) -> None:
    shown = one_order.laneway("events", *command, "--format", format)
    assert "[redacted]" in shown and "ada@example.org" not in shown
    revealed = one_order.laneway("events", *command, "--format", format, "--reveal")
    assert "[redacted]" not in revealed and "ada@example.org" in revealed


@pytest.mark.parametrize(
    ("as_of", "versions", "state"),
    [
        ([], [1, 2], "CANCELLED"),
        (["--version", "1"], [1], "PLACED"),
        (["--at", NOON_TEXT], [1], "PLACED"),
        (["--at", "2023-11-14T22:13:21.500Z"], [1, 2], "CANCELLED"),
    ],
)
def test_a_stream_and_what_it_comes_to_are_shown_as_of_then(
    one_order: Shop, as_of: list[str], versions: list[int], state: str
) -> None:
    history = one_order.json("events", "history", "orders", "order/7", *as_of)
    replayed = one_order.json("events", "replay", "orders", "order/7", *as_of)

    assert [event["version"] for event in history] == versions
    assert (replayed["version"], replayed["message"]["state"]) == (versions[-1], state)
    assert state in one_order.laneway("events", "replay", "orders", "order/7", *as_of)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["show", "orders", "none"], "orders has no event none"),
        (["history", "orders", "order/9"], r"orders has no events of order/9\."),
        (["history", "orders", "order/7", "--version", "0"], "no events of order/7 up to version 0"),
        (["replay", "orders", "cart/7"], "no aggregate that orders names; those are: order/…"),
        (["history", "orders", "order/7", "--at", "noon"], "'noon' is no time"),
        (["rebuild", "orders", "nothing"], "orders has no view nothing; its views are: bestsellers"),
        (["show", "gateway"], "gateway has no database"),
        (["history", "orders", "order/7", "--at", "9999-12-31T23:59:59-12:00"], "is no time"),
        (["show", "inventory"], r"no database of inventory at .*inventory\.db; name the folder of `laneway up`"),
    ],
)
def test_a_mistake_is_one_sentence(one_order: Shop, arguments: list[str], sentence: str) -> None:
    with pytest.raises(LanewayError, match=sentence):
        one_order.laneway("events", *arguments)


@pytest.mark.parametrize("wrong", [["show", "orders", "--limit"], ["history", "orders", "order/7", "--version"]])
def test_a_number_that_no_database_counts_to_is_refused(shop: Shop, wrong: list[str]) -> None:
    shop.laneway("events", *wrong, str(10**20), code=2)


def test_a_database_that_was_never_migrated_says_how(shop: Shop) -> None:
    (shop.data / "inventory.db").touch()
    with pytest.raises(LanewayError, match="run `laneway migrate`"):
        shop.laneway("events", "show", "inventory")


def test_a_view_that_was_spoiled_is_found_and_rebuilt(one_order: Shop) -> None:
    one_order.append("orders", "order/8", placed("orders/8", units=4), at=NOON + 100)
    one_order.keep_views("orders")
    assert one_order.laneway("events", "verify", "orders") == "orders: good (3 events, 1 views)\n"
    one_order.on("orders", lambda store: store.commit([Write(text("UPDATE bestsellers SET units = 9"))]))

    [orders] = one_order.json("events", "verify", "orders", code=1).values()
    assert len(orders["wrong"]) == 2
    assert "units=9" in orders["wrong"][0] and "units=5" in orders["wrong"][1]

    assert "generation 2 is read now, of 2 events" in one_order.laneway("events", "rebuild", "orders", "bestsellers")
    assert one_order.json("events", "verify", "orders")["orders"]["wrong"] == []


def test_what_is_wrong_with_a_log_is_told_and_the_exit_code_says_so(shop: Shop) -> None:
    broken = "INSERT INTO events (event_id, stream, version, type, payload, metadata, recorded_at) VALUES "
    rows = [("a", "s", 1, "no.Such"), ("b", "s", 3, "shop.orders.v1.OrderPlaced"), ("c", "t", 2, "no.Such")]
    values = ", ".join(
        f"('{id}', '{stream}', {version}, '{kind}', '\\x0aff', '{{}}', 0)" for id, stream, version, kind in rows
    )

    async def break_it(store: Store) -> None:
        hexed = values if store.dialect == "postgresql" else values.replace("'\\x0aff'", "x'0aff'")
        await store.commit([Write(text((broken + hexed).replace(":", "\\:")))])

    shop.on("orders", break_it)
    shop.keep_views("orders")

    wrong = shop.json("events", "verify", "orders", code=1)["orders"]["wrong"]

    said = "\n".join(wrong)
    assert "s has version 3 where 2 was to come" in said
    assert "t has version 2 where 1 was to come" in said
    assert "s version 1 (a): The log holds a no.Such, which this code cannot apply" in said
    assert "s version 3 (b): The log holds a shop.orders.v1.OrderPlaced that cannot be decoded" in said
    assert "the view bestsellers holds s back from version 3" in said


def test_open_sagas_are_listed_with_what_they_wait_for(shop: Shop) -> None:
    started = SagaStarted(correlation="orders/7")
    shop.append("fulfilment", "fulfilment/orders/7", started, SagaStepCompleted(step="reserve"))
    shop.keep_views("fulfilment")

    [saga] = shop.json("sagas", "list", "fulfilment", "--older", "3600")
    table = shop.laneway("sagas", "list", "fulfilment")

    assert (saga["saga"], saga["waitsFor"]) == ("fulfilment/orders/7", ["authorize"])
    assert "fulfilment/orders/7" in table and "authorize" in table
    assert shop.laneway("sagas", "list", "fulfilment", "--older", "9e9") == (
        "fulfilment has no open sagas that are silent for 9e+09 s\n"
    )
