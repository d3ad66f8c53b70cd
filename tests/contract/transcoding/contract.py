"""The contract that the tables of requests and replies are about."""

HEAD = """
syntax = "proto3";
package test.lib.v1;
import "google/api/annotations.proto";
import "google/api/httpbody.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/empty.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "laneway/v1/call.proto";
enum Kind { ENUM_UNSPECIFIED = 0; ENUM_VALUE = 1; }
message Values {
  double double_value = 1; float float_value = 2; int32 int32_value = 3; int64 int64_value = 4; uint32 uint32_value = 5;
  uint64 uint64_value = 6; sint32 sint32_value = 7; sint64 sint64_value = 8; fixed32 fixed32_value = 9;
  fixed64 fixed64_value = 10; sfixed32 sfixed32_value = 11; sfixed64 sfixed64_value = 12; bool bool_value = 13;
  string string_value = 14; bytes bytes_value = 15; Kind enum_value = 16;
  google.protobuf.Timestamp timestamp = 17; google.protobuf.Duration duration = 18;
  google.protobuf.FieldMask field_mask = 19; google.protobuf.BoolValue bool_value_wrapper = 20;
  google.protobuf.Int32Value int32_value_wrapper = 21; google.protobuf.Int64Value int64_value_wrapper = 22;
  google.protobuf.UInt32Value uint32_value_wrapper = 23; google.protobuf.UInt64Value uint64_value_wrapper = 24;
  google.protobuf.DoubleValue double_value_wrapper = 25; google.protobuf.FloatValue float_value_wrapper = 26;
  google.protobuf.BytesValue bytes_value_wrapper = 27; google.protobuf.StringValue string_value_wrapper = 28;
  repeated Kind enum_list = 29; repeated double double_list = 30; repeated string string_list = 31;
  repeated google.protobuf.Timestamp timestamp_list = 32; repeated Nested nested_list = 33;
  map<string, string> string_map = 34; map<string, Nested> nested_map = 35;
  Nested nested = 36; Values recursive = 37; google.protobuf.Value any_value = 38; google.protobuf.Struct struct_value = 39;
  oneof oneof_value { string oneof_string_value = 40; bool oneof_bool_value = 41; double oneof_double_value = 42; }
  optional string optional_value = 43; string renamed_value = 44 [json_name = "other"];
}
message Nested { double double_value = 1; string string_value = 2; Nested nested = 3; Kind enum_value = 4; }
message SubMessage { string subfield = 1; }
message Message { string message_id = 1; string text = 2; string etag = 3; SubMessage sub = 4; repeated string tags = 5;
  map<string, string> labels = 6; google.protobuf.Timestamp at = 7; google.protobuf.Struct extra = 8; }
message GetMessageRequest { string message_id = 1; int64 revision = 2; SubMessage sub = 3; string user_id = 4; string name = 5; }
message UpdateMessageRequest { string message_id = 1; Message message = 2; google.protobuf.FieldMask update_mask = 3; bool force = 4; }
message TagsRequest { string name = 1; repeated string tags = 2; map<string, int32> counts = 3; int64 number = 4;
  google.protobuf.Value value = 5; }
message UploadRequest { string name = 1; google.api.HttpBody file = 2; string author = 3; }
message Page { repeated Message messages = 1; string next = 2; google.api.HttpBody file = 3; int64 count = 4;
  google.protobuf.StringValue note = 5; Kind kind = 6; bytes data = 7; map<string, string> labels = 8; Message first = 9; }
message Required { string name = 1; }
"""

BODY = """
service Library {
  rpc Query(Values) returns (Values) { option (google.api.http) = {get: "/v1/values"}; }
  rpc Path(Values) returns (Values) {
    option (google.api.http) = {
      get: "/v1/int32/{int32_value}"
      additional_bindings {get: "/v1/int64/{int64_value}"}
      additional_bindings {get: "/v1/uint64/{uint64_value}"}
      additional_bindings {get: "/v1/double/{double_value}"}
      additional_bindings {get: "/v1/bool/{bool_value}"}
      additional_bindings {get: "/v1/string/{string_value}"}
      additional_bindings {get: "/v1/bytes/{bytes_value}"}
      additional_bindings {get: "/v1/enum/{enum_value}"}
      additional_bindings {get: "/v1/timestamp/{timestamp}"}
      additional_bindings {get: "/v1/duration/{duration}"}
      additional_bindings {get: "/v1/mask/{field_mask}"}
      additional_bindings {get: "/v1/wrapper/{int64_value_wrapper}"}
      additional_bindings {get: "/v1/wrapped/{string_value_wrapper}"}
      additional_bindings {get: "/v1/nested/{nested.string_value}/{recursive.nested.double_value}"}
      additional_bindings {get: "/v1/many/{string_value=**}"}
      additional_bindings {get: "/v1/oneof/{oneof_string_value}"}
      additional_bindings {get: "/v1/json/{stringValue}"}
      additional_bindings {post: "/v1/posted/{nested.string_value}" body: "*"}
      additional_bindings {post: "/v1/posted/oneof/{oneof_string_value}" body: "*"}
    };
  }
  rpc Post(Values) returns (Values) { option (google.api.http) = {post: "/v1/values" body: "*"}; }
  rpc GetMessage(GetMessageRequest) returns (Message) {
    option (google.api.http) = {
      get: "/v2/messages/{message_id}"
      additional_bindings {get: "/v2/users/{user_id}/messages/{message_id}"}
      additional_bindings {get: "/v2/messages/{message_id}/{sub.subfield}"}
      additional_bindings {get: "/v3/{name=messages/*}"}
      additional_bindings {custom {kind: "HEAD" path: "/v2/messages/{message_id}"}}
      additional_bindings {custom {kind: "*" path: "/v2/whatever/{message_id}"}}
      additional_bindings {delete: "/v2/messages/{message_id}"}
    };
  }
  rpc UpdateMessage(UpdateMessageRequest) returns (Message) {
    option (google.api.http) = {
      patch: "/v2/messages/{message_id}" body: "message"
      additional_bindings {put: "/v2/messages/{message_id}" body: "message"}
      additional_bindings {patch: "/v2/{message.message_id=inner/*}" body: "message"}
    };
  }
  rpc ReplaceMessage(Message) returns (Message) {
    option (google.api.http) = {patch: "/v4/messages/{message_id}" body: "*"};
  }
  rpc SetTags(TagsRequest) returns (google.protobuf.Empty) {
    option (google.api.http) = {
      post: "/v1/{name}/tags" body: "tags"
      additional_bindings {post: "/v1/{name}/counts" body: "counts"}
      additional_bindings {post: "/v1/{name}/number" body: "number"}
      additional_bindings {post: "/v1/{name}/value" body: "value"}
    };
  }
  rpc Upload(UploadRequest) returns (google.protobuf.Empty) {
    option (google.api.http) = {post: "/v1/files/{name=**}" body: "file"};
  }
  rpc Raw(google.api.HttpBody) returns (google.api.HttpBody) { option (google.api.http) = {post: "/v1/raw" body: "*"}; }
  rpc GetPage(Required) returns (Page) {
    option (google.api.http) = {
      get: "/v1/page"
      additional_bindings {get: "/v1/page/messages" response_body: "messages"}
      additional_bindings {get: "/v1/page/file" response_body: "file"}
      additional_bindings {get: "/v1/page/next" response_body: "next"}
      additional_bindings {get: "/v1/page/count" response_body: "count"}
      additional_bindings {get: "/v1/page/note" response_body: "note"}
      additional_bindings {get: "/v1/page/kind" response_body: "kind"}
      additional_bindings {get: "/v1/page/data" response_body: "data"}
      additional_bindings {get: "/v1/page/labels" response_body: "labels"}
      additional_bindings {get: "/v1/page/first" response_body: "first"}
    };
  }
}
"""
