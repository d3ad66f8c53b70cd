"""What is shown of payloads that were kept: not what their contracts redact, however deep it is."""

from pathlib import Path
from typing import Any

from google.protobuf import message_factory, struct_pb2

from laneway.cli.payloads import Payloads
from shop.fulfilment.v1.events_pb2 import FulfilmentBegun
from tests.fixtures.protos import file_of

CONTRACT = """
syntax = "proto3";
package test.shelf.v1;
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
message Person { string name = 1; string card_number = 2 [debug_redact = true]; Person next = 3 [debug_redact = true]; }
message Order {
  Person buyer = 1;
  repeated Person guests = 2;
  map<string, Person> by_name = 3;
  map<bool, string> secrets = 4 [debug_redact = true];
  google.protobuf.Timestamp at = 5;
  google.protobuf.Struct more = 6;
  oneof way { string pickup = 7; Person courier = 8; }
}
"""


def order(folder: Path) -> Any:
    file = file_of(folder, CONTRACT)
    of = {name: message_factory.GetMessageClass(each) for name, each in file.message_types_by_name.items()}
    person = of["Person"](name="Ada", card_number="4111", next=of["Person"](name="Eve"))
    made = of["Order"](buyer=person, guests=[person], by_name={"ada": person}, secrets={True: "4111"}, courier=person)
    made.at.FromSeconds(0)
    made.more["a"] = 1
    return made


def test_redacted_fields_are_told_as_such_wherever_they_are(tmp_path: Path) -> None:
    told = Payloads().message(order(tmp_path))
    person = {"name": "Ada", "cardNumber": "[redacted]", "next": "[redacted]"}
    assert told == {
        "buyer": person,
        "guests": [person],
        "byName": {"ada": person},
        "secrets": "[redacted]",
        "at": "1970-01-01T00:00:00Z",
        "more": {"a": 1.0},
        "courier": person,
    }


def test_all_is_told_if_it_is_to_be_revealed(tmp_path: Path) -> None:
    told = Payloads(reveal=True).message(order(tmp_path))
    assert told["buyer"]["cardNumber"] == "4111"
    assert told["secrets"] == {"true": "4111"}


def test_what_is_packed_is_no_way_around() -> None:
    from google.protobuf.any_pb2 import Any as Packed

    packed = Packed()
    packed.Pack(FulfilmentBegun(order="orders/1", email="ada@example.org"))
    assert Payloads().message(packed)["email"] == "[redacted]"


def test_a_message_whose_json_is_no_object_is_told_as_it_is() -> None:
    assert Payloads().message(struct_pb2.Struct()) == {}


def test_of_bytes_that_nobody_can_read_only_the_length_is_told() -> None:
    assert Payloads().unread(b"4111", "NDExMQ==") == "<4 bytes>"
    assert Payloads(reveal=True).unread(b"4111", "NDExMQ==") == "NDExMQ=="
