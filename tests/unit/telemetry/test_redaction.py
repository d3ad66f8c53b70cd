"""Logs tell no secrets, and no field that its contract marks `debug_redact`."""

import json
import logging

import pytest
from google.protobuf import struct_pb2

from laneway.runtime.installed import describe
from laneway.telemetry import logs, redaction
from shop.notifications.v1.notifications_pb2 import SendEmailRequest
from shop.orders.v1.events_pb2 import OrderLine, OrderPlaced
from shop.orders.v1.orders_pb2 import PlaceOrderRequest

ORDER = PlaceOrderRequest(email="ada@example.org", card_token="tok_4711", request_id="r1")
HIDDEN = ("ada@example.org", "tok_4711", "hunter2", "eyJhbGciOi")


@pytest.fixture(autouse=True)
def _logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)


@pytest.mark.parametrize("format", ["json", "text"])
def test_whatever_way_a_message_comes_into_a_log_its_personal_fields_do_not(
    capsys: pytest.CaptureFixture[str], format: str
) -> None:
    logs.configure("orders", format, "INFO")  # type: ignore[arg-type]
    log = logging.getLogger("shop.x")

    log.info("got %s and %r", ORDER, OrderPlaced(email=ORDER.email))
    log.info("got it", extra={"request": ORDER, "all": [ORDER, {"one": ORDER}]})
    log.info("for %(who)s: %(order)s", {"who": "somebody", "order": ORDER})
    log.info(ORDER)
    try:
        raise ValueError("postgresql://orders:hunter2@db/orders is away")
    except ValueError:
        log.exception("no database at redis://:hunter2@valkey/0")
    log.info("called", extra={"authorization": "x eyJhbGciOi", "card_token": "tok_4711", "url": "https://a:hunter2@b/"})
    log.info("sent Authorization: Bearer eyJhbGciOi.e30.abc")

    said = capsys.readouterr().err
    assert "r1" in said
    assert "somebody" in said
    assert "postgresql://orders:[redacted]@db/orders" in said
    assert [each for each in HIDDEN if each in said] == []


def test_json_has_a_message_as_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("orders", "json", "INFO")

    logging.getLogger("shop.x").info("got it", extra={"request": ORDER})

    assert json.loads(capsys.readouterr().err)["request"] == {
        "email": "[redacted]", "card_token": "[redacted]", "request_id": "r1",
    }  # fmt: skip


def test_fields_inside_others_are_told_as_their_own_contract_says() -> None:
    placed = OrderPlaced(email="ada@example.org", lines=[OrderLine(product="p", quantity=2)])

    assert redaction.told(placed) == {"email": "[redacted]", "lines": [{"product": "p", "quantity": 2}]}


def test_maps_bytes_and_long_values_are_cut() -> None:
    struct = struct_pb2.Struct()
    struct.update({f"k{number}": "x" * 1000 for number in range(50)})
    fields = redaction.told(struct)
    assert isinstance(fields, dict)
    assert len(fields["fields"]) == redaction.MOST
    assert all(len(each["string_value"]) == redaction.LONGEST + 1 for each in fields["fields"].values())
    assert redaction.told({"payload": b"abc"}) == {"payload": "<3 bytes>"}


def test_a_name_that_says_secret_hides_its_text_and_nothing_else() -> None:
    assert redaction.fact("page_token", "7") == "[redacted]"
    assert redaction.fact("tokens", 3) == 3
    assert redaction.fact("queue", "orders.bulk") == "orders.bulk"


def test_every_personal_field_of_the_shop_is_marked() -> None:
    personal = {"email", "card_token"}
    for name in ("orders", "payments", "fulfilment", "notifications"):
        for method in describe(name).contract:
            for message in (method.input.DESCRIPTOR, method.output.DESCRIPTOR):
                for field in message.fields:
                    if field.name in personal:
                        assert field.GetOptions().debug_redact, field.full_name
    assert redaction.told(SendEmailRequest(to="ada@example.org", body="Dear Ada", subject="s")) == {
        "to": "[redacted]", "body": "[redacted]", "subject": "s",
    }  # fmt: skip
