"""The OpenAPI document of a contract: what each rule, comment, option and shape of a path becomes."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, SourceCodeInfo

from laneway.contract.comments import Comments, comments_of
from laneway.contract.model import Contract
from laneway.lanes.rest.codec import JsonCodec
from laneway.lanes.rest.openapi import document
from laneway.lanes.rest.router import Router
from shop.orders.v1 import orders_pb2
from tests.contract.transcoding.contract import BODY as EVERY_RULE
from tests.contract.transcoding.contract import HEAD as EVERY_MESSAGE
from tests.fixtures.protos import service_of

HEAD = """
syntax = "proto3";
package test.shelf.v1;
import "buf/validate/validate.proto";
import "google/api/annotations.proto";
import "google/api/httpbody.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/wrappers.proto";
import "laneway/v1/call.proto";
message Book {
  string name = 1;
  optional string title = 2 [(buf.validate.field).string = {min_len: 1 max_len: 9}];
  int64 price = 3 [(buf.validate.field).int64.gte = 0];
  int32 pages = 4 [(buf.validate.field).int32 = {gt: 0 lte: 5000}];
  string mail = 5 [(buf.validate.field).string.email = true];
  repeated string tags = 6 [(buf.validate.field).repeated = {min_items: 1 max_items: 3 unique: true items {string {len: 2}}}];
  map<string, int32> counts = 7 [(buf.validate.field).map = {max_pairs: 2 keys {string {min_len: 1}} values {int32 {gte: 1}}}];
  Kind kind = 8 [(buf.validate.field).enum = {defined_only: true not_in: 0}];
  google.protobuf.StringValue note = 9;
  oneof owner { string person = 10; string shop = 11; }
  Book next = 12;
  double rate = 13;
  string odd = 14 [(buf.validate.field).cel = {id: "odd" message: "is odd" expression: "size(this) % 2 == 1"}];
}
enum Kind { KIND_UNSPECIFIED = 0; NOVEL = 1; ATLAS = 2; }
message Ask {
  string name = 1 [(buf.validate.field) = {required: true string {pattern: "^books/[a-z]+$"}}];
  int32 size = 2;
  Inner inner = 3;
  string request_id = 4;
  google.protobuf.FieldMask mask = 5 [(buf.validate.field).field_mask = {in: ["title", "page_count"]}];
  int32 cursor = 6 [(buf.validate.field).int32.gte = 1];
}
message Inner { repeated string words = 1; Inner deeper = 2; }
message Make {
  option (buf.validate.message).cel = {
    id: "whole" message: "a book has a title and a note" expression: "has(this.book.title) && has(this.book.note)"
  };
  Book book = 1 [(buf.validate.field).required = true];
  string shelf = 2;
}
"""
BODY = """
service Shelf {
  rpc GetBook(Ask) returns (Book) { option (google.api.http) = {get: "/v1/{name=books/*}"}; }
  rpc PutBook(Book) returns (Book) {
    option (google.api.http) = {put: "/v1/{name=books/*}" body: "*" additional_bindings {post: "/v1/shelves/{next.name}/{name}" body: "*"}};
    option (laneway.v1.call) = {idempotency {required: true} queue {use: ALLOWED} errors: "SHELF_FULL"};
  }
  rpc MakeBook(Make) returns (Book) { option (google.api.http) = {post: "/v1/shelves/{shelf}" body: "book"}; }
  rpc Tidy(Ask) returns (Book) {
    option (google.api.http) = {post: "/v1/{name=books/**}:tidy" body: "*"};
    option (laneway.v1.call) = {idempotency {key: "request_id"} queue {use: ONLY}};
  }
  rpc Watch(Ask) returns (stream Ask) { option (google.api.http) = {get: "/v1/{name=books/*}:watch"}; }
  rpc Load(stream Ask) returns (google.api.HttpBody) { option (google.api.http) = {post: "/v1/load" body: "*"}; }
}
"""


def told(service: Any, *, lenient: bool = False) -> Any:
    """The document of a service, as a client reads it."""
    router = Router([method for method in Contract.of([service]) if method.http], JsonCodec())
    base = {"openapi": "3.1.0", "info": {"title": "x", "version": "1"}, "paths": {}}
    return json.loads(json.dumps(document(router.bindings, base, lenient=lenient)))


@pytest.fixture
def shelf(tmp_path: Path) -> Any:
    return told(service_of(tmp_path, BODY, head=HEAD))


def parameters(operation: Any, place: str) -> dict[str, Any]:
    return {each["name"]: each for each in operation["parameters"] if each["in"] == place}


@pytest.fixture
def book(shelf: Any) -> Any:
    return shelf["components"]["schemas"]["test.shelf.v1.Book"]


@pytest.mark.parametrize(
    ("field", "schema"),
    [
        ("title", {"type": "string", "minLength": 1, "maxLength": 9}),
        ("price", {"type": "string", "format": "int64", "pattern": "^[0-9]+$"}),
        ("pages", {"type": "integer", "format": "int32", "minimum": -(2**31), "exclusiveMinimum": 0, "maximum": 5000}),
        ("mail", {"type": "string", "format": "email"}),
        ("note", {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ("rate", {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}),
        ("next", {"$ref": "#/components/schemas/test.shelf.v1.Book"}),
        ("kind", {"$ref": "#/components/schemas/test.shelf.v1.Kind", "not": {"enum": ["KIND_UNSPECIFIED"]}}),
        ("odd", {"type": "string", "description": "is odd"}),
        (
            "tags",
            {
                "type": "array", "items": {"type": "string", "minLength": 2, "maxLength": 2}, "minItems": 1, "maxItems": 3,
                "uniqueItems": True,
            },
        ),
        (
            "counts",
            {
                "type": "object", "maxProperties": 2, "propertyNames": {"minLength": 1},
                "additionalProperties": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 2**31 - 1},
            },
        ),
    ],
)  # fmt: skip
def test_types_and_rules_become_keywords(book: Any, field: str, schema: Any) -> None:
    assert book["properties"][field] == schema


def test_what_a_rule_refuses_when_it_is_absent_is_required(book: Any) -> None:
    assert book["required"] == ["tags"]


def test_one_of_several_is_said(book: Any) -> None:
    assert book["not"] == {"anyOf": [{"required": ["person", "shop"]}]}


def test_unknown_members_are_refused_unless_the_edge_passes_over_them(tmp_path: Path, book: Any) -> None:
    assert book["additionalProperties"] is False
    lenient = told(service_of(tmp_path, BODY, head=HEAD), lenient=True)
    assert "additionalProperties" not in lenient["components"]["schemas"]["test.shelf.v1.Book"]


def test_a_part_of_a_path_is_held_to_what_the_rule_says_of_the_whole(shelf: Any) -> None:
    name = parameters(shelf["paths"]["/v1/books/{name}"]["get"], "path")["name"]
    assert (name["required"], name["schema"]["pattern"]) == (True, "^[a-z]+$")


def test_the_query_has_what_neither_path_nor_body_has(shelf: Any) -> None:
    query = parameters(shelf["paths"]["/v1/books/{name}"]["get"], "query")
    assert set(query) == {"size", "inner.words", "requestId", "mask", "cursor"}
    assert query["inner.words"]["schema"] == {"type": "array", "items": {"type": "string"}}
    assert query["mask"]["schema"]["pattern"] == "^(title|pageCount)(,(title|pageCount))*$"


def test_a_body_has_not_what_the_path_has_nor_the_key(shelf: Any) -> None:
    put = shelf["paths"]["/v1/books/{name}"]["put"]["requestBody"]["content"]["application/json"]["schema"]
    assert "name" not in put["properties"]
    tidy = shelf["paths"]["/v1/books/{name}:tidy"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "requestId" not in tidy["properties"]
    more = shelf["paths"]["/v1/shelves/{next_name}/{name}"]["post"]["requestBody"]["content"]["application/json"]
    assert "name" not in more["schema"]["properties"]["next"]["properties"]


def test_an_expression_that_only_asks_whether_fields_are_set_makes_them_required(shelf: Any) -> None:
    body = shelf["paths"]["/v1/shelves/{shelf}"]["post"]["requestBody"]
    assert body["required"]
    assert body["content"]["application/json"]["schema"]["required"] == ["title", "tags", "note"]


def test_a_queued_method_answers_202_and_where_to_look(shelf: Any) -> None:
    put, tidy = (shelf["paths"][f"/v1/books/{{name}}{verb}"] for verb in ("", ":tidy"))
    assert {"200", "202"} <= set(put["put"]["responses"])
    assert "200" not in tidy["post"]["responses"]
    assert {"Location", "Idempotent-Replayed"} == set(put["put"]["responses"]["202"]["headers"])
    assert parameters(put["put"], "header")["Prefer"]["schema"]["enum"] == ["respond-async"]
    assert "Prefer" not in parameters(tidy["post"], "header")
    looked_up = shelf["paths"]["/v1/operations/{service}/{id}"]["get"]
    assert parameters(looked_up, "path")["service"]["schema"]["enum"] == ["shelf"]


def test_keys_timeouts_and_when_to_come_again_are_headers(shelf: Any) -> None:
    put, get = shelf["paths"]["/v1/books/{name}"]["put"], shelf["paths"]["/v1/books/{name}"]["get"]
    assert parameters(put, "header")["Idempotency-Key"]["required"]
    assert "Idempotency-Key" not in parameters(get, "header")
    assert "X-Request-Timeout" in parameters(get, "header")
    assert "Retry-After" in get["responses"]["503"]["headers"]
    assert "422" in put["responses"]
    assert "422" not in get["responses"]
    assert "`SHELF_FULL`" in put["description"]


def test_streams_are_told_in_each_form(shelf: Any) -> None:
    watch = shelf["paths"]["/v1/books/{name}:watch"]["get"]
    assert set(watch["responses"]["200"]["content"]) == {
        "application/x-ndjson",
        "text/event-stream",
        "application/json",
    }
    assert parameters(watch, "header")["Last-Event-ID"]["schema"] == {
        "type": "integer", "format": "int32", "minimum": 1, "maximum": 2**31 - 1,
    }  # fmt: skip
    load = shelf["paths"]["/v1/load"]["post"]
    assert set(load["requestBody"]["content"]) == {"application/x-ndjson"}
    assert set(load["responses"]["200"]["content"]) == {"*/*"}


@pytest.mark.parametrize("name", ["shelf", "every rule"])
def test_a_document_holds_together(tmp_path: Path, name: str) -> None:
    given = (BODY, HEAD) if name == "shelf" else (EVERY_RULE, EVERY_MESSAGE)
    whole = told(service_of(tmp_path, given[0], head=given[1]))
    schemas = whole["components"]["schemas"]
    for schema in schemas.values():
        jsonschema_rs.Draft202012Validator({**schema, "components": {"schemas": schemas}})
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(whole)))
    assert references <= set(schemas)
    operations = [(path, verb, each) for path, verbs in whole["paths"].items() for verb, each in verbs.items()]
    assert len({each["operationId"] for _, _, each in operations}) == len(operations)
    for path, _, each in operations:
        assert set(re.findall(r"\{([^}]+)\}", path)) == set(parameters(each, "path"))
    shapes = [re.sub(r"\{[^}]+\}", "{}", path) for path in whole["paths"]]
    assert len(set(shapes)) == len(shapes)


def test_comments_become_descriptions() -> None:
    whole = told(orders_pb2.DESCRIPTOR.services_by_name["Orders"])
    assert whole["paths"]["/v1/orders"]["post"]["summary"] == "Accepts an order"
    [tag] = whole["tags"]
    assert tag["description"].startswith("Orders, from their placing to their end.")
    assert whole["components"]["schemas"]["shop.orders.v1.Order"]["properties"]["reason"]["description"] == (
        "Why it was rejected."
    )


def test_a_comment_of_several_lines_flows_and_keeps_its_paragraphs() -> None:
    place = SourceCodeInfo.Location(path=[4, 0], leading_comments=" One\n two.\n\n Three.\n laneway:ignore X: why\n")
    file = FileDescriptorProto(package="a.v1", source_code_info=SourceCodeInfo(location=[place]))
    file.message_type.add(name="M")
    assert comments_of(file) == {"a.v1.M": "One two.\n\nThree."}


def test_a_contract_of_other_origin_has_no_comments(tmp_path: Path) -> None:
    file = service_of(tmp_path, BODY, head=HEAD).file
    assert Comments([file]).of("test.shelf.v1.Book") == ""
