"""Whatever a message holds, our JSON is json_format's, and reads back as the same message."""

import json
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from laneway.errors import InvalidArgument
from laneway.lanes.rest.codec import JsonCodec
from tests.contract.protojson.messages import messages

EXAMPLES = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def codec() -> JsonCodec:
    return JsonCodec()


@EXAMPLES
@given(data=st.data())
def test_messages_are_written_as_json_format_writes_them(codec: JsonCodec, every: Descriptor, data: Any) -> None:
    message = data.draw(messages(every))
    theirs = json_format.MessageToJson(message, descriptor_pool=every.file.pool)
    assert json.loads(codec.encode(message)) == json.loads(theirs)


@EXAMPLES
@given(data=st.data())
def test_what_is_written_reads_back(codec: JsonCodec, every: Descriptor, data: Any) -> None:
    message = data.draw(messages(every))
    again = codec.decode(codec.encode(message), GetMessageClass(every))
    assert again.SerializeToString(deterministic=True) == message.SerializeToString(deterministic=True)


@EXAMPLES
@given(data=st.data())
def test_both_names_of_a_field_are_read(codec: JsonCodec, every: Descriptor, data: Any) -> None:
    message = data.draw(messages(every))
    text = json_format.MessageToJson(message, preserving_proto_field_name=True, descriptor_pool=every.file.pool)
    again = codec.decode(text.encode(), GetMessageClass(every))
    assert again.SerializeToString(deterministic=True) == message.SerializeToString(deterministic=True)


VALUES = [
    "",
    "null true false 0 1 -1 1.0 1.5 2147483648 4294967296 9223372036854775808 18446744073709551616 -2147483649 1e10 1e300 3.5e38",
    '"" "1" "-1" "1.0" "+1" " 1" "01" "1_0" "0x1" "1.5" "1e3" "1e999999999" "x" "true" "NaN" "nan" "inf" "Infinity" "-Infinity"',
    '"RED" "ROT" "5" "NOPE" "AQI=" "AQI" "_-8=" "/+8" "NULL_VALUE" "1s" "1.5s" "-3s" "s" "1.s" ".5s" "315576000001s"',
    '"2026-01-02T03:04:05Z" "2026-01-02T03:04:05.123+02:00" "2026-01-02t03:04:05Z" "2026-01-02T03:04:05" "0000-01-02T03:04:05Z"',
    '"9999-12-31T23:59:59.999999999Z" "9999-12-31T23:59:59-01:00" "2026-13-02T03:04:05Z" "a,bC.d" "a_b" [] [null] [1] ["1"]',
    '["RED"] [[]] [{}] {} {"value":1} {"a":1} {"a":null} {"1":"x"} {"true":"x"} {"a":{}} {"@type":"x"} {"aString":"y"} {"a_string":"y"}',
    '{"nope":1} {"@type":"type.googleapis.com/google.protobuf.Duration"} {"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"}',
    "",
]

NUMBERS = {"double", "float", "doublevalue", "floatvalue"}
INTEGERS = {"int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "sfixed32", "sfixed64",
            "int32value", "int64value", "uint32value", "uint64value"}  # fmt: skip
ENUMS = {"colour", "nullvalue"}
WE_REFUSE = [
    # Python's conversions take what is no number in JSON.
    (("true", "false"), NUMBERS | ENUMS),
    (('"+1"', '"01"', '"1_0"'), NUMBERS | INTEGERS | ENUMS),
    (('" 1"',), NUMBERS | ENUMS),
    (('"inf"', '"1e999999999"'), NUMBERS),
    (("1.5", "4294967296", '"1e999999999"'), ENUMS),
    # Python's base64 leaves out what is none.
    (
        (
            '"1.5s"', '"1.s"', '".5s"', '"2026-01-02T03:04:05Z"', '"2026-01-02T03:04:05.123+02:00"', '"2026-01-02T03:04:05"',
            '"2026-01-02t03:04:05Z"', '"0000-01-02T03:04:05Z"', '"9999-12-31T23:59:59.999999999Z"', '"a,bC.d"', '"+1"',
            '"9999-12-31T23:59:59-01:00"', '"2026-13-02T03:04:05Z"', '" 1"', '"1.0"', '"1.5"',
            '{"@type":"type.googleapis.com/google.protobuf.Duration"}',
            '{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"}',
        ),
        {"bytes", "bytesvalue"},
    ),
    # What has no members is no object for that.
    (('""', "[]", "[[]]"), {"every", "empty"}),
    (('"1.s"', '".5s"'), {"duration"}),
]  # fmt: skip
WE_ACCEPT = [
    # An enum's number is an integer like any other.
    (('"1.0"', '"1e3"'), ENUMS),
    # null is NullValue's only value, wherever it stands; and for an array null is the empty one.
    (("null", "[null]", '{"a":null}'), {"nullvalue", "value"}),
]


def test_each_value_in_each_field_means_what_it_means_to_json_format_but_for_its_mistakes(
    codec: JsonCodec, every: Descriptor
) -> None:
    for text in [value for line in VALUES for value in line.split(" ") if value] + ['" 1"']:
        for field in every.fields:
            document = f'{{"{field.json_name}":{text}}}'
            ours, theirs = _by_us(codec, document, every), _by_json_format_or_none(document, every)
            kind = field.name.rpartition("_")[2]
            assert (
                ours == theirs
                or (ours is None and _listed(WE_REFUSE, text, kind))
                or (theirs is None and _listed(WE_ACCEPT, text, kind))
            ), document


def _listed(differences: list[tuple[tuple[str, ...], set[str]]], text: str, kind: str) -> bool:
    return any(text in values and kind in kinds for values, kinds in differences)


def _by_us(codec: JsonCodec, document: str, every: Descriptor) -> bytes | None:
    try:
        return codec.decode(document.encode(), GetMessageClass(every)).SerializeToString(deterministic=True)
    except InvalidArgument:
        return None


def _by_json_format_or_none(document: str, every: Descriptor) -> bytes | None:
    try:
        return _by_json_format(document, every)
    except json_format.ParseError:
        return None


def _by_json_format(text: str | bytes, every: Descriptor) -> bytes:
    message = GetMessageClass(every)()
    json_format.Parse(text, message, descriptor_pool=every.file.pool)
    return message.SerializeToString(deterministic=True)
