"""`buf/validate/validate.proto` for google.protobuf: what protoc writes of a contract with rules imports this module.

No package has it. It is made of the descriptor that protovalidate itself was generated from, so that both always agree.
"""

from google.protobuf import descriptor_pb2 as _descriptor  # noqa: F401 the file imports it
from google.protobuf import descriptor_pool
from google.protobuf import duration_pb2 as _duration  # noqa: F401
from google.protobuf import field_mask_pb2 as _field_mask  # noqa: F401
from google.protobuf import timestamp_pb2 as _timestamp  # noqa: F401
from protovalidate import ViolationPb

FILE = ViolationPb.desc().file.proto.to_binary()
"""The file's descriptor, serialized."""

DESCRIPTOR = descriptor_pool.Default().AddSerializedFile(FILE)

message = DESCRIPTOR.extensions_by_name["message"]
oneof = DESCRIPTOR.extensions_by_name["oneof"]
field = DESCRIPTOR.extensions_by_name["field"]
predefined = DESCRIPTOR.extensions_by_name["predefined"]

_ignore = DESCRIPTOR.enum_types_by_name["Ignore"].values_by_name
IGNORE_IF_ZERO_VALUE = _ignore["IGNORE_IF_ZERO_VALUE"].number
IGNORE_ALWAYS = _ignore["IGNORE_ALWAYS"].number
