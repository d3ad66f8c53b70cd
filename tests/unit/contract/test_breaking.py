"""Each kind of breaking change: an edit that is one, and one that looks like it and is none."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

from laneway.contract.breaking import RULES, breaking
from laneway.contract.compile import includes
from laneway.contract.findings import Placed
from laneway.contract.sources import Source
from laneway.lanes.rest import routes

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "breaking.md").read_text()
KNOWN = {rule.code: rule for rule in (*RULES, *routes.BREAKING_RULES)}

CONTRACT = """
syntax = "proto3";
package test.shelf.v1;
import "buf/validate/validate.proto";
import "google/api/annotations.proto";
import "google/protobuf/empty.proto";
import "laneway/v1/call.proto";

message Request {
  option (buf.validate.message).cel = {id: "a" expression: "this.size < 9"};
  reserved 20 to 22;
  reserved "old";
  optional string request_id = 1;
  optional string name = 2;
  optional int32 size = 3;
  repeated string tags = 4;
  oneof place { string row = 5; string box = 6; }
  optional int64 weight = 7;
  optional Colour colour = 8;
  map<string, int32> labels = 9;
  optional string shelf = 10 [(buf.validate.field).string = {min_len: 2 max_len: 40 in: "A" in: "B"}];
  optional string slot = 12 [(buf.validate.field).string = {pattern: "^[a-z]+$"}];
  optional Reply note = 11;
}
message Reply { optional string text = 1; optional Request of = 2; }
message Answer { optional string words = 1; }
message Retired { optional string name = 1; }
message Happened { option (laneway.v1.event) = {published: true}; optional string name = 1; }
enum Colour { reserved 8 to 9; reserved "BLUE"; COLOUR_UNSPECIFIED = 0; RED = 1; GREEN = 2; }
enum Spare { SPARE_UNSPECIFIED = 0; }

service Shelf {
  rpc Put(Request) returns (Reply) {
    option (google.api.http) = {post: "/v1/{name=shelves/*}" body: "note" response_body: "text"};
    option (laneway.v1.call) = {
      deadline {seconds: 5} max_deadline {seconds: 9} errors: "FULL" errors: "GONE"
      idempotency {key: "request_id" keep {seconds: 3600} max_reply_bytes: 4096}
      queue {use: ALLOWED name: "bulk" order_by: "name" run_timeout {seconds: 60} max_attempts: 8 start_within {seconds: 100}}
      fallback {queue: true}
    };
  }
  rpc Get(Request) returns (Reply) {
    option (google.api.http) = {get: "/v1/{name=shelves/*}"};
    option idempotency_level = NO_SIDE_EFFECTS;
    option (laneway.v1.call) = {fallback {last_good {seconds: 60}}};
  }
  rpc Set(Request) returns (Reply) { option idempotency_level = IDEMPOTENT; }
  rpc Charge(Request) returns (Reply) {
    option (laneway.v1.call) = {idempotency {exclusive: true} queue {use: ALLOWED}};
  }
  rpc Watch(Request) returns (stream Answer);
  rpc Send(stream Request) returns (Reply);
  rpc On(Happened) returns (google.protobuf.Empty) { option (laneway.v1.call) = {subscribe {queue: "events"}}; }
  rpc Tell(Happened) returns (google.protobuf.Empty);
}
service Attic { rpc Look(Request) returns (Reply); }
"""
OLD = """
syntax = "proto2";
package test.shelf.v1;
message Request { required string name = 1; optional int32 size = 2 [default = 3]; optional string note = 3; }
"""

Edit = tuple[str, str]


@dataclass(frozen=True)
class Case:
    code: str
    breaks: Edit
    alike: Edit
    contract: str = CONTRACT


CASES = [
    Case("MESSAGE_NO_DELETE", ("message Retired { optional string name = 1; }", ""), ("message Retired {", "message Retired { option deprecated = true;")),
    Case("ENUM_NO_DELETE", ("enum Spare { SPARE_UNSPECIFIED = 0; }", ""), ("enum Spare {", "enum Spare { option deprecated = true;")),
    Case("FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED", ("optional int32 size = 3;", ""), ("optional int32 size = 3;", 'reserved 3; reserved "size";')),
    Case("FIELD_WIRE_COMPATIBLE_TYPE", ("int32 size", "sint32 size"), ("int32 size", "uint32 size")),
    Case("FIELD_WIRE_COMPATIBLE_TYPE", ("optional Reply note", "optional Retired note"), ("optional Reply note = 11;", "optional Reply note = 11 [deprecated = true];")),
    Case("FIELD_WIRE_COMPATIBLE_TYPE", ("map<string, int32>", "map<string, string>"), ("map<string, int32>", "map<string, uint32>")),
    Case("FIELD_WIRE_COMPATIBLE_CARDINALITY", ("optional int32 size", "repeated int32 size"), ("optional int32 size", "int32 size")),
    Case("FIELD_SAME_ONEOF", ("string box = 6; }", "} string box = 6;"), ("string box = 6; }", "string box = 6; string tray = 30; }")),
    Case("FIELD_SAME_DEFAULT", ("default = 3", "default = 4"), ("[default = 3]", "[default = 3, deprecated = true]"), OLD),
    Case("MESSAGE_SAME_REQUIRED_FIELDS", ("required string name", "optional string name"), ("note = 3;", "note = 3; optional string more = 4;"), OLD),
    Case("ENUM_VALUE_NO_DELETE_UNLESS_NUMBER_RESERVED", ("GREEN = 2;", ""), ("GREEN = 2;", "reserved 2; reserved \"GREEN\";")),
    Case("RESERVED_MESSAGE_NO_DELETE", ("reserved 20 to 22;", "reserved 20 to 21;"), ("reserved 20 to 22;", "reserved 20, 21 to 30;")),
    Case("RESERVED_MESSAGE_NO_DELETE", ('reserved "old";', ""), ('reserved "old";', 'reserved "old", "older";')),
    Case("RESERVED_ENUM_NO_DELETE", ("reserved 8 to 9;", "reserved 8;"), ("reserved 8 to 9;", "reserved 8 to 12;")),
    Case("RESERVED_ENUM_NO_DELETE", ('reserved "BLUE";', ""), ('reserved "BLUE";', 'reserved "BLUE", "PINK";')),
    Case("FIELD_SAME_NAME", ("int32 size", "int32 width"), ("int32 size = 3;", "int32 size = 3; optional int32 width = 30;")),
    Case("FIELD_SAME_JSON_NAME", ("int32 size = 3;", 'int32 size = 3 [json_name = "width"];'), ("int32 size = 3;", 'int32 size = 3 [json_name = "size"];')),
    Case("FIELD_WIRE_JSON_COMPATIBLE_TYPE", ("int32 size", "int64 size"), ("int64 weight", "uint64 weight")),
    Case("ENUM_VALUE_SAME_NAME", ("GREEN = 2", "LIME = 2"), ("GREEN = 2;", "GREEN = 2; LIME = 3;")),
    Case("SERVICE_NO_DELETE", ("service Attic { rpc Look(Request) returns (Reply); }", ""), ("service Attic {", "service Attic { option deprecated = true;")),
    Case("RPC_NO_DELETE", ("rpc Set(Request) returns (Reply) { option idempotency_level = IDEMPOTENT; }", ""), ("rpc Set(Request) returns (Reply) {", "rpc Set(Request) returns (Reply) { option deprecated = true;")),
    Case("RPC_SAME_REQUEST_TYPE", ("rpc Look(Request)", "rpc Look(Retired)"), ("rpc Look(Request)", "rpc Look(test.shelf.v1.Request)")),
    Case("RPC_SAME_RESPONSE_TYPE", ("rpc Look(Request) returns (Reply)", "rpc Look(Request) returns (Retired)"), ("rpc Look(Request) returns (Reply)", "rpc Look(Request) returns (.test.shelf.v1.Reply)")),
    Case("RPC_SAME_CLIENT_STREAMING", ("rpc Look(Request)", "rpc Look(stream Request)"), ("rpc Look(Request)", "rpc Feed(stream Request) returns (Reply); rpc Look(Request)")),
    Case("RPC_SAME_SERVER_STREAMING", ("rpc Watch(Request) returns (stream Answer)", "rpc Watch(Request) returns (Answer)"), ("rpc Look(Request)", "rpc Tail(Request) returns (stream Reply); rpc Look(Request)")),
    Case("IDEMPOTENCY_LEVEL_WEAKENED", ("option idempotency_level = IDEMPOTENT;", ""), ("idempotency_level = IDEMPOTENT", "idempotency_level = NO_SIDE_EFFECTS")),
    Case("IDEMPOTENCY_REMOVED", ("idempotency {exclusive: true} queue", "queue"), ("rpc Charge(Request) returns (Reply) {\n    option (laneway.v1.call) = {idempotency {exclusive: true} queue", "rpc Charge(Request) returns (Reply) {\n    option idempotency_level = IDEMPOTENT;\n    option (laneway.v1.call) = {queue")),
    Case("KEY_FIELD_REMOVED", ('key: "request_id"', ""), ('key: "request_id"', 'key: "request_id" lease {seconds: 60}')),
    Case("KEY_FIELD_MOVED", ('key: "request_id"', 'key: "shelf"'), ("idempotency {exclusive: true}", 'idempotency {exclusive: true key: "request_id"}')),
    Case("KEY_REQUIRED", ('key: "request_id"', 'key: "request_id" required: true'), ('key: "request_id"', 'key: "request_id" required: false')),
    Case("KEEP_SHORTENED", ("keep {seconds: 3600}", "keep {seconds: 3599}"), ("keep {seconds: 3600}", "")),
    Case("EXCLUSIVE_ADDED", ('key: "request_id"', 'key: "request_id" exclusive: true'), ("idempotency {exclusive: true}", "idempotency {exclusive: true lease {seconds: 90}}")),
    Case("EXCLUSIVE_REMOVED", ("{exclusive: true}", "{}"), ('key: "request_id"', 'key: "request_id" exclusive: false')),
    Case("REPLY_LOWERED", ("max_reply_bytes: 4096", "max_reply_bytes: 4095"), ("max_reply_bytes: 4096", "")),
    Case("QUEUE_REMOVED", ("{exclusive: true} queue {use: ALLOWED}", "{exclusive: true}"), ("rpc Set(Request) returns (Reply) {", "rpc Set(Request) returns (Reply) { option (laneway.v1.call) = {queue {}};")),
    Case("QUEUE_ONLY", ("{exclusive: true} queue {use: ALLOWED}", "{exclusive: true} queue {use: ONLY}"), ("queue {use: ALLOWED}", "queue {}")),
    Case("QUEUE_RENAMED", ('name: "bulk"', 'name: "large"'), ("queue {use: ALLOWED}", 'queue {use: ALLOWED name: "default"}')),
    Case("QUEUE_RENAMED", ('subscribe {queue: "events"}', 'subscribe {queue: "news"}'), ('subscribe {queue: "events"}', "subscribe {}")),
    Case("ORDER_CHANGED", ('order_by: "name"', 'order_by: "shelf"'), ('order_by: "name"', 'order_by: "name" priority: LOW')),
    Case("ORDER_CHANGED", ('subscribe {queue: "events"}', 'subscribe {queue: "events" order_by: "name"}'), ('subscribe {queue: "events"}', 'subscribe {queue: "events" max_attempts: 20}')),
    Case("SUBSCRIPTION_ADDED", ("rpc Tell(Happened) returns (google.protobuf.Empty);", "rpc Tell(Happened) returns (google.protobuf.Empty) { option (laneway.v1.call) = {subscribe {}}; }"), ("rpc Tell(Happened)", "rpc Hear(Happened) returns (google.protobuf.Empty) { option (laneway.v1.call) = {subscribe {}}; } rpc Tell(Happened)")),
    Case("SUBSCRIPTION_REMOVED", ('subscribe {queue: "events"}', ""), ('subscribe {queue: "events"}', 'subscribe {queue: "events" from_start: true}')),
    Case("EVENT_UNPUBLISHED", ("published: true", "published: false"), ("message Reply {", "message Reply { option (laneway.v1.event) = {published: true};")),
    Case("DEADLINE_LOWERED", ("deadline {seconds: 5}", "deadline {seconds: 4}"), ("deadline {seconds: 5}", "deadline {seconds: 6}")),
    Case("DEADLINE_LOWERED", ("service Attic {", "service Attic { option (laneway.v1.service_defaults) = {deadline {seconds: 9}};"), ("service Attic {", "service Attic { option (laneway.v1.service_defaults) = {deadline {seconds: 10}};")),
    Case("CEILING_LOWERED", ("max_deadline {seconds: 9}", "max_deadline {seconds: 8}"), ("max_deadline {seconds: 9}", "max_deadline {seconds: 10}")),
    Case("CEILING_LOWERED", ("max_deadline {seconds: 9}", ""), ("{fallback {last_good {seconds: 60}}}", "{max_deadline {seconds: 10} fallback {last_good {seconds: 60}}}")),
    Case("RUN_TIMEOUT_LOWERED", ("run_timeout {seconds: 60}", "run_timeout {seconds: 59}"), ("run_timeout {seconds: 60}", "")),
    Case("START_WITHIN_LOWERED", ("start_within {seconds: 100}", "start_within {seconds: 99}"), ("start_within {seconds: 100}", "")),
    Case("START_WITHIN_LOWERED", ("queue {use: ALLOWED}", "queue {use: ALLOWED start_within {seconds: 9}}"), ("start_within {seconds: 100}", "start_within {seconds: 101}")),
    Case("ATTEMPTS_LOWERED", ("max_attempts: 8", "max_attempts: 7"), ("max_attempts: 8", "max_attempts: 9")),
    Case("FALLBACK_REMOVED", ("fallback {queue: true}", ""), ("fallback {queue: true}", "fallback {queue: true reserve {seconds: 1}}")),
    Case("LAST_GOOD_SHORTENED", ("last_good {seconds: 60}", "last_good {seconds: 59}"), ("last_good {seconds: 60}", "last_good {seconds: 61}")),
    Case("REASON_REMOVED", ('errors: "GONE"', ""), ('errors: "GONE"', 'errors: "GONE" errors: "NARROW"')),
    Case("VALIDATION_TIGHTENED", ("max_len: 40", "max_len: 39"), ("max_len: 40", "max_len: 41")),
    Case("VALIDATION_TIGHTENED", ("min_len: 2", "min_len: 3"), ("min_len: 2", "")),
    Case("VALIDATION_TIGHTENED", ("int32 size = 3;", "int32 size = 3 [(buf.validate.field).int32.gte = 0];"), ("optional string words = 1;", "optional string words = 1 [(buf.validate.field).string.max_len = 9];")),
    Case("VALIDATION_TIGHTENED", ('in: "A" in: "B"', 'in: "A"'), ('in: "A" in: "B"', 'in: "A" in: "B" in: "C"')),
    Case("VALIDATION_TIGHTENED", ("string shelf = 10", "string new = 31 [(buf.validate.field).required = true]; optional string shelf = 10"), ("string shelf = 10", "string new = 31 [(buf.validate.field).string.max_len = 9]; optional string shelf = 10")),
    Case("VALIDATION_TIGHTENED", ("oneof place {", "oneof place { option (buf.validate.oneof).required = true;"), ("oneof place {", "oneof place { option (buf.validate.oneof).required = false;")),
    Case("VALIDATION_TIGHTENED", ('message Request {', 'message Request { option (buf.validate.message).cel = {id: "b" expression: "this.size > 0"};'), ('expression: "this.size < 9"', 'message: "too large" expression: "this.size < 9"')),
    Case("VALIDATION_CHANGED", ('pattern: "^[a-z]+$"', 'pattern: "^[a-z]*$"'), ('pattern: "^[a-z]+$"', "")),
    Case("ROUTE_REMOVED", ('option (google.api.http) = {get: "/v1/{name=shelves/*}"};', ""), ("rpc Set(Request) returns (Reply) {", 'rpc Set(Request) returns (Reply) { option (google.api.http) = {put: "/v1/set"};')),
    Case("ROUTE_MOVED", ('get: "/v1/{name=shelves/*}"', 'get: "/v1/{name=racks/*}"'), ('get: "/v1/{name=shelves/*}"', 'get: "/v1/{name=shelves/*}" additional_bindings {get: "/v1/{name=racks/*}"}')),
    Case("ROUTE_MOVED", ('post: "/v1/{name=shelves/*}"', 'put: "/v1/{name=shelves/*}"'), ('post: "/v1/{name=shelves/*}" body: "note" response_body: "text"', 'put: "/v1/{name=shelves/*}" additional_bindings {post: "/v1/{name=shelves/*}" body: "note" response_body: "text"}')),
    Case("ROUTE_VARIABLE_MOVED", ('get: "/v1/{name=shelves/*}"', 'get: "/v1/{shelf=shelves/*}"'), ('get: "/v1/{name=shelves/*}"', 'get: "/v1/{name=shelves/*}" additional_bindings {get: "/v2/{shelf=shelves/*}"}')),
    Case("ROUTE_BODY_CHANGED", ('body: "note"', 'body: "*"'), ('{get: "/v1/{name=shelves/*}"}', '{get: "/v1/{name=shelves/*}" additional_bindings {post: "/v1/find" body: "*"}}')),
    Case("ROUTE_RESPONSE_BODY_CHANGED", ('response_body: "text"', ""), ('{get: "/v1/{name=shelves/*}"}', '{get: "/v1/{name=shelves/*}" additional_bindings {get: "/v2/{name=shelves/*}" response_body: "text"}}')),
]  # fmt: skip


@lru_cache(maxsize=2)  # what was edited, and its edit: a pool with the rules of validation in it takes 10 MiB
def compiled(text: str) -> Source:
    """protoc runs in this process here: two hundred processes would take a minute."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "shelf.proto").write_text(text)
        written, extra = Path(folder) / "shelf.pb", Path(folder) / "extra"
        extra.mkdir()
        include = [f"-I{folder}", *includes(ROOT / "protos", extra)]
        flags = ["--include_imports", "--include_source_info", f"--descriptor_set_out={written}"]
        assert protoc.main(["protoc", *include, *flags, "shelf.proto"]) == 0
        return Source(FileDescriptorSet.FromString(written.read_bytes()), own={"shelf.proto"})


def changed(case: Case, edit: Edit) -> list[Placed]:
    old, new = edit
    assert old in case.contract
    before, after = compiled(case.contract), compiled(case.contract.replace(old, new))
    return breaking(before, after, [routes.breaking])


def test_every_rule_has_its_entry_in_the_document_and_a_case() -> None:
    entries = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", DOCUMENT, re.M))
    assert entries == {code: rule.title for code, rule in KNOWN.items()}
    assert {case.code for case in CASES} == KNOWN.keys()
    assert len(KNOWN) >= 30


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.code}-{case.breaks[1][:30]}")
def test_an_edit_that_breaks_is_found_by_its_rule(case: Case) -> None:
    found = changed(case, case.breaks)
    assert {each.finding.rule.code for each in found} == {case.code}
    assert all(each.place.line and each.finding.message and each.finding.remedy for each in found)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.code}-{case.alike[1][:30]}")
def test_an_edit_that_only_looks_like_it_is_not_found(case: Case) -> None:
    assert changed(case, case.alike) == []


def test_what_is_gone_is_placed_by_what_held_it() -> None:
    [found] = changed(CASES[2], CASES[2].breaks)
    assert str(found.place) == "shelf.proto:9:1"
