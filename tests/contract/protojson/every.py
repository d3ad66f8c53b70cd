"""A message with a field of every type, in every form that a field can have."""

from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor, FileDescriptor

from tests.fixtures.protos import file_of

SCALARS = (
    "double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "sfixed32",
    "sfixed64", "bool", "string", "bytes",
)  # fmt: skip
KEYS = tuple(kind for kind in SCALARS if kind not in ("double", "float", "bytes"))
WELL_KNOWN = (
    "Any", "Duration", "Empty", "FieldMask", "ListValue", "NullValue", "Struct", "Timestamp", "Value", "BoolValue",
    "BytesValue", "DoubleValue", "FloatValue", "Int32Value", "Int64Value", "StringValue", "UInt32Value", "UInt64Value",
)  # fmt: skip
IMPORTS = ("any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers")


def proto() -> str:
    """The file's text."""
    kinds = [*SCALARS, "Colour", "Every", *(f"google.protobuf.{name}" for name in WELL_KNOWN)]
    forms = [
        *(f"{kind} {_name(kind)}" for kind in kinds),
        *(f"optional {kind} optional_{_name(kind)}" for kind in kinds),
        *(f"repeated {kind} repeated_{_name(kind)}" for kind in kinds),
        *(f"map<string, {kind}> map_of_{_name(kind)}" for kind in kinds),
        *(f"map<{kind}, string> map_by_{kind}" for kind in KEYS),
    ]
    fields = "\n".join(f"  {form} = {number};" for number, form in enumerate(forms, 1))
    choices = "\n".join(f"    {kind} one_{_name(kind)} = {number};" for number, kind in enumerate(kinds, 1001))
    imports = "\n".join(f'import "google/protobuf/{name}.proto";' for name in IMPORTS)
    return f"""
syntax = "proto3";
package test.every.v1;
{imports}
enum Colour {{ option allow_alias = true; NONE = 0; RED = 1; ROT = 1; BLUE = 5; NEGATIVE = -2; }}
message Every {{
{fields}
  oneof choice {{
{choices}
  }}
  string renamed = 2001 [json_name = "an other"];
  string from = 2002;
  string fooBar = 2003;
  string foo__baz_ = 2004;
}}
"""


def _name(kind: str) -> str:
    return f"a_{kind.rpartition('.')[2].lower()}"


@pytest.fixture(scope="package")
def every_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileDescriptor]:
    yield file_of(tmp_path_factory.mktemp("every"), proto())


@pytest.fixture(scope="package")
def every(every_file: FileDescriptor) -> Descriptor:
    return every_file.message_types_by_name["Every"]
