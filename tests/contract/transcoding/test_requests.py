"""HTTP requests as request messages and replies as HTTP bodies: what is made of them, and what is refused."""

from typing import Any

import pytest
from google.protobuf import json_format

from laneway.contract.model import Contract
from laneway.errors import InvalidArgument
from laneway.lanes.rest.codec import JsonCodec
from laneway.lanes.rest.router import Match, Router
from tests.contract.transcoding.contract import BODY, HEAD
from tests.contract.transcoding.tables import cases, request_line, table
from tests.fixtures.protos import service_of


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    return Contract.of([service_of(tmp_path_factory.mktemp("lib"), BODY, head=HEAD)])


@pytest.fixture(scope="module")
def router(contract: Contract) -> Router:
    return Router(contract, JsonCodec())


def matched(router: Router, row: dict[str, Any]) -> tuple[Match, str]:
    verb, target = request_line(row)
    path, _, query = target.partition("?")
    match = router.match(verb, path)
    assert match is not None
    return match, query


def transcode(router: Router, row: dict[str, Any]) -> Any:
    match, query = matched(router, row)
    return match.binding.request(match.parts, query, row.get("body", "").encode(), row.get("type", "application/json"))


@pytest.mark.parametrize("row", cases(table("requests")))
def test_a_request_becomes_its_message(router: Router, row: dict[str, Any]) -> None:
    message = transcode(router, row)
    wanted = json_format.ParseDict(row["message"], type(message)(), descriptor_pool=message.DESCRIPTOR.file.pool)
    assert message.SerializeToString(deterministic=True) == wanted.SerializeToString(deterministic=True)


@pytest.mark.parametrize("row", cases(table("refusals")))
def test_a_request_that_does_not_fit_is_refused_and_says_where(router: Router, row: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as refused:
        transcode(router, row)
    assert row["says"] in refused.value.message
    if row["field"] is not None:
        assert [violation.field for violation in refused.value.violations] == [row["field"]]


@pytest.mark.parametrize("row", cases(table("replies")))
def test_a_reply_becomes_its_body(router: Router, row: dict[str, Any]) -> None:
    match = router.match("GET", row["path"])
    assert match is not None
    kind = match.binding.method.output
    reply = json_format.ParseDict(row["reply"], kind(), descriptor_pool=kind.DESCRIPTOR.file.pool)
    assert match.binding.answer(reply) == (row["body"].encode(), row.get("type", "application/json"))


def test_a_raw_reply_is_its_bytes(router: Router, contract: Contract) -> None:
    match = router.match("POST", "/v1/raw")
    assert match is not None
    reply: Any = match.binding.method.output(content_type="image/png", data=b"\x00\x01")
    assert match.binding.answer(reply) == (b"\x00\x01", "image/png")


@pytest.mark.parametrize("said", ["text/html\r\nSet-Cookie: a=b", "text/é", "a\x00b", ""])
def test_a_content_type_that_no_header_can_hold_is_not_passed_on(router: Router, said: str) -> None:
    match = router.match("POST", "/v1/raw")
    assert match is not None
    reply: Any = match.binding.method.output(content_type=said, data=b"x")
    assert match.binding.answer(reply) == (b"x", "application/octet-stream")


def test_a_parameter_that_lies_too_deep_is_refused(router: Router) -> None:
    for deep in (64, 1500):
        with pytest.raises(InvalidArgument, match="deeper than 64 levels"):
            transcode(router, {"get": f"/v1/values?{'recursive.' * deep}int32_value=1"})
    deepest = transcode(router, {"get": f"/v1/values?{'recursive.' * 63}int32_value=1"})
    assert type(deepest).FromString(deepest.SerializeToString()) == deepest


LENIENT = [
    {"get": "/v1/values?nothing=1&nested.nothing=2&string_value=x", "message": {"string_value": "x"}},
    {"get": "/v1/string/x?string_value=y", "message": {"string_value": "x"}},
    {"post": "/v1/values?nothing=1", "body": '{"nothing": 1, "nested": {"nothing": 2}}', "message": {"nested": {}}},
    {"put": "/v2/messages/1?message.text=y", "body": '{"text": "x"}', "message": {"message_id": "1", "message": {"text": "x"}}},
]  # fmt: skip


@pytest.mark.parametrize("row", cases(LENIENT))
def test_a_lenient_edge_passes_over_what_the_contract_does_not_have(contract: Contract, row: dict[str, Any]) -> None:
    message = transcode(Router(contract, JsonCodec(lenient=True)), row)
    assert json_format.MessageToDict(message, preserving_proto_field_name=True) == row["message"]


def test_a_lenient_edge_still_refuses_what_does_not_fit(contract: Contract) -> None:
    with pytest.raises(InvalidArgument, match="out of range"):
        transcode(Router(contract, JsonCodec(lenient=True)), {"get": "/v1/values?int32_value=2147483648"})


def test_a_query_of_too_many_parameters_is_refused(router: Router) -> None:
    with pytest.raises(InvalidArgument, match="more than 1000 parameters"):
        transcode(router, {"get": "/v1/values?" + "&".join(["string_list=x"] * 1001)})


def test_required_fields_of_proto2_are_required(tmp_path: Any) -> None:
    head = """
        syntax = "proto2"; package test.old.v1; import "google/api/annotations.proto";
        message Old { required string name = 1; optional int32 size = 2 [default = 5]; }
    """
    body = 'service S { rpc Go(Old) returns (Old) { option (google.api.http) = {post: "/v1/old" body: "*"}; } }'
    router = Router(Contract.of([service_of(tmp_path, body, head=head)]), JsonCodec())
    with pytest.raises(InvalidArgument, match="Required fields are missing") as refused:
        transcode(router, {"post": "/v1/old", "body": "{}"})
    assert refused.value.violations[0].field == "name"
    message = transcode(router, {"post": "/v1/old", "body": '{"name": "x"}'})
    assert JsonCodec().encode(message) == b'{"name":"x"}'


def test_the_tables_are_large_and_each_case_names_its_source() -> None:
    groups = [replace_source(group) for group in table("routes")]
    rows = [
        *table("templates")["valid"], *table("templates")["invalid"], *table("requests"), *table("refusals"),
        *table("replies"), *(case for group in groups for case in group),
    ]  # fmt: skip
    assert len(rows) >= 150
    assert all(row.get("source") for row in rows)


def replace_source(group: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**case, "source": group["source"]} for case in group["cases"]]
