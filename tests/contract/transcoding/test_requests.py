"""HTTP requests as request messages: body, query and path, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from laneway.contract.model import Contract
from laneway.errors import InvalidArgument
from laneway.lanes.rest.codec import JsonFormat
from laneway.lanes.rest.router import Router
from laneway.lanes.rest.transcode import request_message
from tests.fixtures.protos import service_of

HEAD = """
syntax = "proto3";
package test.lib.v1;
import "google/api/annotations.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/empty.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "laneway/v1/call.proto";
enum Kind { KIND_UNSPECIFIED = 0; NOVEL = 1; }
message Book {
  optional string name = 1; optional string title = 2; optional int32 pages = 3; Kind kind = 4; optional string etag = 5;
}
message FindRequest {
  optional string name = 1; optional int32 page_size = 2; optional int64 big = 3; optional bool deep = 4; Kind kind = 5;
  repeated string tags = 6; Book book = 7; optional bytes data = 8; google.protobuf.Timestamp at = 9;
  google.protobuf.Duration wait = 10; google.protobuf.Int32Value boxed = 11; google.protobuf.FieldMask mask = 12;
  optional double ratio = 13; repeated int32 numbers = 14;
}
message ChangeRequest { Book book = 1; google.protobuf.FieldMask update_mask = 2; optional bool force = 3; }
"""
BODY = """
service Library {
  rpc Find(FindRequest) returns (Book) { option (google.api.http) = {get: "/v1/{name=books/*}"}; }
  rpc Search(FindRequest) returns (Book) { option (google.api.http) = {post: "/v1/search" body: "*"}; }
  rpc Create(ChangeRequest) returns (Book) { option (google.api.http) = {post: "/v1/books" body: "book"}; }
  rpc Update(ChangeRequest) returns (Book) {
    option (google.api.http) = {patch: "/v1/{book.name=books/*}" body: "book"};
  }
  rpc Remove(FindRequest) returns (google.protobuf.Empty) { option (google.api.http) = {delete: "/v1/{name=books/*}"}; }
}
"""


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Router:
    folder: Path = tmp_path_factory.mktemp("protos")
    return Router(Contract.of([service_of(folder, BODY, head=HEAD)]))


def transcode(router: Router, verb: str, target: str, body: bytes = b"") -> Any:
    path, _, query = target.partition("?")
    match = router.match(verb, path)
    assert match is not None
    return json_format.MessageToDict(
        request_message(match, query, body, JsonFormat()), preserving_proto_field_name=True
    )


GOOD = [
    ("GET", "/v1/books/1", b"", {"name": "books/1"}),
    ("GET", "/v1/books/1?page_size=5", b"", {"name": "books/1", "page_size": 5}),
    ("GET", "/v1/books/1?pageSize=5", b"", {"name": "books/1", "page_size": 5}),
    ("GET", "/v1/books/1?big=9007199254740993", b"", {"name": "books/1", "big": "9007199254740993"}),
    ("GET", "/v1/books/1?deep=true", b"", {"name": "books/1", "deep": True}),
    ("GET", "/v1/books/1?kind=NOVEL", b"", {"name": "books/1", "kind": "NOVEL"}),
    ("GET", "/v1/books/1?kind=1", b"", {"name": "books/1", "kind": "NOVEL"}),
    ("GET", "/v1/books/1?tags=a&tags=b", b"", {"name": "books/1", "tags": ["a", "b"]}),
    ("GET", "/v1/books/1?numbers=1&numbers=2", b"", {"name": "books/1", "numbers": [1, 2]}),
    ("GET", "/v1/books/1?book.title=x&book.pages=3", b"", {"name": "books/1", "book": {"title": "x", "pages": 3}}),
    ("GET", "/v1/books/1?data=AQI%3D", b"", {"name": "books/1", "data": "AQI="}),
    ("GET", "/v1/books/1?data=_-8", b"", {"name": "books/1", "data": "/+8="}),
    ("GET", "/v1/books/1?at=2026-01-02T03:04:05Z", b"", {"name": "books/1", "at": "2026-01-02T03:04:05Z"}),
    ("GET", "/v1/books/1?wait=1.5s", b"", {"name": "books/1", "wait": "1.500s"}),
    ("GET", "/v1/books/1?boxed=3", b"", {"name": "books/1", "boxed": 3}),
    ("GET", "/v1/books/1?mask=a,b.c", b"", {"name": "books/1", "mask": "a,b.c"}),
    ("GET", "/v1/books/1?ratio=0.5", b"", {"name": "books/1", "ratio": 0.5}),
    ("GET", "/v1/books/a%20b", b"", {"name": "books/a b"}),
    ("GET", "/v1/books/1?tags=a%26b", b"", {"name": "books/1", "tags": ["a&b"]}),
    ("POST", "/v1/search", b"", {}),
    ("POST", "/v1/search", b'{"page_size": 2, "tags": ["x"]}', {"page_size": 2, "tags": ["x"]}),
    ("POST", "/v1/search", b'{"pageSize": 2}', {"page_size": 2}),
    ("POST", "/v1/books", b'{"title": "x"}', {"book": {"title": "x"}}),
    ("POST", "/v1/books?force=true", b'{"title": "x"}', {"book": {"title": "x"}, "force": True}),
    ("PATCH", "/v1/books/1", b'{"title": "x"}', {"book": {"name": "books/1", "title": "x"}, "update_mask": "title"}),
    (
        "PATCH",
        "/v1/books/1?update_mask=pages",
        b'{"title": "x"}',
        {"book": {"name": "books/1", "title": "x"}, "update_mask": "pages"},
    ),
    ("DELETE", "/v1/books/1", b"", {"name": "books/1"}),
]


@pytest.mark.parametrize(("verb", "target", "body", "message"), GOOD)
def test_a_request_becomes_its_message(
    router: Router, verb: str, target: str, body: bytes, message: dict[str, Any]
) -> None:
    assert transcode(router, verb, target, body) == message


BAD = [
    ("GET", "/v1/books/1?nothing=1", b"", "`nothing`"),
    ("GET", "/v1/books/1?book.nothing=1", b"", "`book.nothing`"),
    ("GET", "/v1/books/1?tags.x=1", b"", "`tags.x`"),
    ("GET", "/v1/books/1?page_size=many", b"", "page_size"),
    ("GET", "/v1/books/1?page_size=2147483648", b"", "page_size"),
    ("GET", "/v1/books/1?page_size=1&page_size=2", b"", "2 times"),
    ("GET", "/v1/books/1?deep=yes", b"", "true or false"),
    ("GET", "/v1/books/1?kind=POEM", b"", "kind"),
    ("GET", "/v1/books/1?at=yesterday", b"", "at"),
    ("GET", "/v1/books/1?name=books/2", b"", "set elsewhere"),
    ("GET", "/v1/books/1", b"{}", "takes no body"),
    ("POST", "/v1/search?page_size=1", b"{}", "none from the query"),
    ("POST", "/v1/search", b"{", "not JSON"),
    ("POST", "/v1/search", b"[]", "fit"),
    ("POST", "/v1/search", b"\xff", "not JSON"),
    ("POST", "/v1/search", b'{"nothing": 1}', "nothing"),
    ("POST", "/v1/search", b"[" * 100_000, "not JSON"),
    ("POST", "/v1/books?book.title=x", b'{"title": "y"}', "set elsewhere"),
]


@pytest.mark.parametrize(("verb", "target", "body", "says"), BAD)
def test_a_request_that_does_not_fit_is_refused_and_says_where(
    router: Router, verb: str, target: str, body: bytes, says: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        transcode(router, verb, target, body)
    assert says in refused.value.message


def test_a_path_knows_its_verbs(router: Router) -> None:
    assert router.allowed("/v1/books/1") == ["DELETE", "GET", "PATCH"]
    assert router.match("PUT", "/v1/books/1") is None
