"""Which requests are the same."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from laneway.contract.model import Contract, Method
from laneway.lanes.fingerprint import fingerprint, same
from tests.fixtures.protos import HEAD, service_of

BODY = """
service Shelf {
  rpc Put(Request) returns (Reply) { option (laneway.v1.call) = {idempotency {key: "request_id"}}; }
  rpc Give(Request) returns (Reply) { option (laneway.v1.call) = {idempotency {key: "request_id"}}; }
  rpc Take(Request) returns (Reply) { option (laneway.v1.call) = {idempotency {key: "inner.key"}}; }
}
"""
NEWER = "optional string request_id = 1; optional string name = 2; optional string colour = 9; map<string, int32> sizes = 8;"
OLDER = (
    "optional string request_id = 1; map<string, int32> sizes = 8; optional bytes last = 12; optional string name = 2;"
)


@pytest.fixture
def contract(tmp_path: Path):
    def of(name: str, fields: str | None = None) -> dict[str, Method]:
        folder = tmp_path / name
        folder.mkdir()
        head = HEAD
        if fields is not None:
            begin = HEAD.index("message Request {")
            end = HEAD.index("message Inner", begin)
            rest = "optional bytes last = 12; Inner inner = 4; }\n"
            head = (
                HEAD[:begin]
                + "message Request { "
                + fields.replace("optional bytes last = 12;", "")
                + rest
                + HEAD[end:]
            )
        return {method.name: method for method in Contract.of([service_of(folder, BODY, head=head)])}

    return of


def test_the_key_itself_is_not_of_the_content(contract: Any) -> None:
    put, take = contract("one")["Put"], contract("two")["Take"]
    kept = fingerprint(put, put.input(request_id="a", name="book"))
    assert same(kept, put, put.input(request_id="b", name="book"))
    assert not same(kept, put, put.input(request_id="a", name="lamp"))
    kept = fingerprint(take, take.input(name="book", inner={"key": "a", "number": 1}))
    assert same(kept, take, take.input(name="book", inner={"key": "b", "number": 1}))
    assert not same(kept, take, take.input(name="book", inner={"key": "a", "number": 2}))


def test_two_methods_with_the_same_content_differ(contract: Any) -> None:
    methods = contract("one")
    put, give = methods["Put"], methods["Give"]
    assert fingerprint(put, put.input(name="book")) != fingerprint(give, give.input(name="book"))


def test_the_order_in_which_a_map_was_written_means_nothing(contract: Any) -> None:
    put = contract("maps", NEWER)["Put"]
    there = put.input(sizes={str(number): number for number in range(50)})
    back = put.input(sizes={str(number): number for number in reversed(range(50))})
    assert same(fingerprint(put, there), put, back)


def test_a_field_that_only_a_newer_schema_knows_counts_and_counts_the_same_once_it_is_known(contract: Any) -> None:
    newer, older = contract("newer", NEWER)["Put"], contract("older", OLDER)["Put"]
    sent = newer.input(request_id="k", name="book", colour="red", sizes={"a": 1}, last=b"!").SerializeToString()
    blue = newer.input(request_id="k", name="book", colour="blue", sizes={"a": 1}, last=b"!").SerializeToString()
    kept = fingerprint(older, older.input.FromString(sent))
    assert same(kept, newer, newer.input.FromString(sent))
    assert not same(kept, newer, newer.input.FromString(blue))
    assert not same(kept, older, older.input.FromString(blue))


def test_nor_does_it_matter_in_which_message_of_the_request_the_newer_field_is(tmp_path: Path) -> None:
    older, newer = (put_of(tmp_path, inner) for inner in (OLDER_INNER, f"{OLDER_INNER} optional string colour = 2;"))
    box = {"colour": "red", "note": "n", "inside": [{"colour": "blue", "note": "m"}], "by_name": {"a": {"colour": "c"}}}
    sent = newer.input(request_id="k", box={**box, "count": 2}).SerializeToString()
    other = newer.input(request_id="k", box={**box, "colour": "green", "count": 2}).SerializeToString()
    kept = fingerprint(older, older.input.FromString(sent))
    assert same(kept, newer, newer.input.FromString(sent))
    assert same(fingerprint(newer, newer.input.FromString(sent)), older, older.input.FromString(sent))
    assert not same(kept, newer, newer.input.FromString(other))
    assert not same(kept, older, older.input.FromString(other))


OLDER_INNER = (
    "optional string note = 3; optional int32 count = 5; repeated Box inside = 4; map<string, Box> by_name = 6;"
)


def put_of(folder: Path, fields: str) -> Method:
    head = HEAD.replace("Inner inner = 4;", f"Inner inner = 4; Box box = 5; }} message Box {{ {fields}")
    return {method.name: method for method in Contract.of([service_of(folder, BODY, head=head)])}["Put"]


@pytest.mark.parametrize(
    "strange",
    [b"\x20\x07", b"\x25abcd", b"\x21abcdefgh", b"\x9b\x06\x08\x01\x9c\x06"],
    ids=["number", "32 bits", "64 bits", "group"],
)
def test_what_is_no_message_where_the_schema_has_one_counts_as_any_unknown_field(contract: Any, strange: bytes) -> None:
    put = contract("one")["Put"]
    sent = put.input(name="book").SerializeToString() + strange
    kept = fingerprint(put, put.input.FromString(sent))
    assert same(kept, put, put.input.FromString(sent))
    assert not same(kept, put, put.input(name="book"))


def test_what_the_version_before_has_kept_is_compared_as_it_was_made(contract: Any) -> None:
    put = contract("one")["Put"]
    content = put.input(name="book").SerializeToString(deterministic=True)
    kept = f"1:{hashlib.sha256(put.full_name.encode() + bytes(1) + content).hexdigest()}"
    assert same(kept, put, put.input(request_id="k", name="book"))
    assert not same(kept, put, put.input(request_id="k", name="lamp"))


def test_what_an_older_version_of_the_code_has_kept_is_compared_as_it_was_made(contract: Any) -> None:
    put = contract("one")["Put"]
    kept = hashlib.sha256(put.input(name="book").SerializeToString(deterministic=True)).hexdigest()
    assert same(kept, put, put.input(request_id="k", name="book"))
    assert not same(kept, put, put.input(request_id="k", name="lamp"))


def test_what_a_newer_version_of_the_code_has_kept_is_taken_at_the_callers_word(contract: Any) -> None:
    put = contract("one")["Put"]
    assert same("99:whatever", put, put.input(name="book"))
