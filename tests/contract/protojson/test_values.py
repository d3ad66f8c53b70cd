"""Values that json_format is no judge of, and what is said of those that do not fit."""

from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message_factory import GetMessageClass

from laneway.errors import Internal, InvalidArgument
from laneway.lanes.rest.codec import JsonCodec

CODEC = JsonCodec(max_depth=8)

READ = [
    ('{"aBytes": "-_8"}', {"a_bytes": b"\xfb\xff"}),
    ('{"aBytes": "+/8="}', {"a_bytes": b"\xfb\xff"}),
    ('{"aBytes": "+/8"}', {"a_bytes": b"\xfb\xff"}),
    ('{"aBytes": "-_8="}', {"a_bytes": b"\xfb\xff"}),
    ('{"aInt32": 1.0, "aUint64": "18446744073709551615"}', {"a_int32": 1, "a_uint64": 2**64 - 1}),
    ('{"aInt64": 9223372036854775807}', {"a_int64": 2**63 - 1}),
    ('{"aInt64": "9.007199254740993e15"}', {"a_int64": 9007199254740993}),
    ('{"aFloat": 3.4028235e38}', {"a_float": 3.4028234663852886e38}),
    ('{"aInt64": -9223372036854775808}', {"a_int64": -(2**63)}),
    ('{"aColour": "ROT"}', {"a_colour": 1}),
    ('{"aColour": 77}', {"a_colour": 77}),
    ('{"an other": "x"}', {"renamed": "x"}),
    ('{"renamed": "x", "from": "y", "fooBar": "z"}', {"renamed": "x", "from": "y", "fooBar": "z"}),
    ('{"aString": null, "repeatedAString": null, "mapOfAString": null, "aEvery": null}', {}),
    ('{"mapByBool": {"true": "x"}, "mapByInt64": {"-9223372036854775808": "y"}}', {"map_by_bool": {True: "x"}, "map_by_int64": {-(2**63): "y"}}),
    ('{"aTimestamp": "1970-01-01T01:00:00.5+01:00"}', {"a_timestamp": {"nanos": 500_000_000}}),
    ('{"aTimestamp": "0001-01-01T00:00:00Z"}', {"a_timestamp": {"seconds": -62135596800}}),
    ('{"aDuration": "-0.000000001s"}', {"a_duration": {"nanos": -1}}),
    ('{"aFieldmask": "fooBar,baz.quxQuux"}', {"a_fieldmask": {"paths": ["foo_bar", "baz.qux_quux"]}}),
    ('{"aString": "\\u00e9\\ud83d\\ude00"}', {"a_string": "é😀"}),
    (' { "aString" : "x" } ', {"a_string": "x"}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "fields"), READ)
def test_a_value_is_read(every: Descriptor, text: str, fields: dict[str, Any]) -> None:
    kind = GetMessageClass(every)
    assert CODEC.decode(text.encode(), kind) == kind(**fields)


REFUSED = [
    # document, reason, field, what is said
    ("{", "MALFORMED_JSON", None, "not JSON"),
    ("", "MALFORMED_JSON", None, "not JSON"),
    ("{'aString': 1}", "MALFORMED_JSON", None, "not JSON"),
    ('{"aDouble": NaN}', "MALFORMED_JSON", None, "not JSON"),
    ('{"aDouble": 1e400}', "MALFORMED_JSON", None, "not JSON"),
    (b'{"aString": "\xff"}', "MALFORMED_JSON", None, "not JSON"),
    ('{"aString": "\\ud800"}', "MALFORMED_JSON", None, "not JSON"),
    ('{"aString": "x", "aString": "y"}', "MALFORMED_JSON", "aString", "twice"),
    ('{"aString":"x","aString":"y"}', "MALFORMED_JSON", "aString", "twice"),
    ('{"aStruct": {"x": 1, "x": 2}}', "MALFORMED_JSON", "x", "twice"),
    ('{"aString": "x", "a_string": "y"}', "MALFORMED_REQUEST", "a_string", "twice, by two names"),
    ("[]", "MALFORMED_REQUEST", "", "an object is expected"),
    ("null", "MALFORMED_REQUEST", "", "an object is expected"),
    ('{"nope": 1}', "MALFORMED_REQUEST", "nope", "Every has no such field"),
    ('{"aEvery": {"aEvery": {"nope": 1}}}', "MALFORMED_REQUEST", "aEvery.aEvery.nope", "no such field"),
    ('{"aInt32": 2147483648}', "MALFORMED_REQUEST", "aInt32", "2147483648 is out of range for int32"),
    ('{"aUint32": -1}', "MALFORMED_REQUEST", "aUint32", "out of range for uint32"),
    ('{"aInt64": "9223372036854775808"}', "MALFORMED_REQUEST", "aInt64", "out of range for int64"),
    ('{"aInt64": -9223372036854775809}', "MALFORMED_REQUEST", "aInt64", "an integer (int64) is expected"),
    ('{"aInt64": ' + "9" * 5000 + "}", "MALFORMED_JSON", None, "not JSON"),
    ('{"aDouble": 0.' + "1" * 5000 + ', "aString": "x", "aString": "y"}', "MALFORMED_JSON", "aString", "twice"),
    ('{"aInt64": "1e999999999"}', "MALFORMED_REQUEST", "aInt64", "an integer (int64) is expected"),
    ('{"aInt32": "1e9999"}', "MALFORMED_REQUEST", "aInt32", "out of range for int32"),
    ('{"aInt32": 1.5}', "MALFORMED_REQUEST", "aInt32", "an integer (int32) is expected"),
    ('{"aInt32": true}', "MALFORMED_REQUEST", "aInt32", "an integer (int32) is expected"),
    ('{"aDouble": "1e400"}', "MALFORMED_REQUEST", "aDouble", "out of range for double"),
    ('{"aFloat": 3.5e38}', "MALFORMED_REQUEST", "aFloat", "out of range for float"),
    ('{"aBool": "true"}', "MALFORMED_REQUEST", "aBool", "true or false"),
    ('{"aBool": 1}', "MALFORMED_REQUEST", "aBool", "true or false"),
    ('{"aString": 1}', "MALFORMED_REQUEST", "aString", "a string is expected"),
    ('{"aBytes": "a b"}', "MALFORMED_REQUEST", "aBytes", "not base64"),
    ('{"aBytes": "é"}', "MALFORMED_REQUEST", "aBytes", "not base64"),
    ('{"aColour": "GREEN"}', "MALFORMED_REQUEST", "aColour", "Colour has no value 'GREEN'"),
    ('{"repeatedAInt32": [1, 2, "x"]}', "MALFORMED_REQUEST", "repeatedAInt32[2]", "an integer"),
    ('{"repeatedAInt32": 1}', "MALFORMED_REQUEST", "repeatedAInt32", "an array is expected"),
    ('{"repeatedAString": ["x", null]}', "MALFORMED_REQUEST", "repeatedAString[1]", "a string"),
    ('{"repeatedAEvery": [{}, {"aInt32": "x"}]}', "MALFORMED_REQUEST", "repeatedAEvery[1].aInt32", "an integer"),
    ('{"mapOfAInt32": {"a": 1, "b": "x"}}', "MALFORMED_REQUEST", 'mapOfAInt32["b"]', "an integer"),
    ('{"mapByInt32": {"x": "y"}}', "MALFORMED_REQUEST", 'mapByInt32["x"]', "an integer"),
    ('{"mapByInt32": {"1": "y", "1.0": "z"}}', "MALFORMED_REQUEST", 'mapByInt32["1.0"]', "the key is given twice"),
    ('{"oneAString": "x", "oneAInt32": 1}', "MALFORMED_REQUEST", "one_a_int32", "only one of"),
    ('{"aTimestamp": "2026-02-30T00:00:00Z"}', "MALFORMED_REQUEST", "aTimestamp", "no time of the years"),
    ('{"aTimestamp": "yesterday"}', "MALFORMED_REQUEST", "aTimestamp", "a time is expected"),
    ('{"aDuration": "1"}', "MALFORMED_REQUEST", "aDuration", "a duration is expected"),
    ('{"aFieldmask": "foo_bar"}', "MALFORMED_REQUEST", "aFieldmask", "lowerCamelCase"),
    ('{"aAny": {"value": "1s"}}', "MALFORMED_REQUEST", "aAny.@type", "type's URL"),
    ('{"aAny": {"@type": "x/no.such.Type"}}', "MALFORMED_REQUEST", "aAny.@type", "not known here"),
    ('{"aAny": {"@type": "x/google.protobuf.Duration"}}', "MALFORMED_REQUEST", "aAny.value", "is expected"),
    ('{"aAny": {"@type": "x/google.protobuf.Duration", "value": 1}}', "MALFORMED_REQUEST", "aAny.value", "a duration"),
    ('{"aAny": {"@type": "x/test.every.v1.Every", "aInt32": "x"}}', "MALFORMED_REQUEST", "aAny.aInt32", "an integer"),
    ('{"aStruct": {"x": ' + "[" * 7 + "]" * 7 + "}}", "JSON_TOO_DEEP", None, "deeper than 8"),
    ("[" * 100_000, "JSON_TOO_DEEP", None, "deeper than 8"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason", "field", "says"), REFUSED)
def test_what_does_not_fit_is_refused_with_its_place(
    every: Descriptor, text: str | bytes, reason: str, field: str | None, says: str
) -> None:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(InvalidArgument) as refused:
        CODEC.decode(data, GetMessageClass(every))
    assert refused.value.reason == reason
    assert says in refused.value.message
    assert [violation.field for violation in refused.value.violations] == ([] if field is None else [field])


def test_a_lenient_codec_passes_over_names_it_does_not_know(every: Descriptor) -> None:
    kind = GetMessageClass(every)
    read = JsonCodec(lenient=True).decode(b'{"nope": {"x": [1]}, "aEvery": {"nope": 1, "aInt32": 2}}', kind)
    assert read == kind(a_every={"a_int32": 2})


@pytest.mark.parametrize(
    "fields",
    [
        {"a_any": {"type_url": "x/no.such.Type", "value": b""}},
        {"a_timestamp": {"seconds": 253402300800}},
        {"a_timestamp": {"nanos": -1}},
        {"a_duration": {"seconds": 1, "nanos": -1}},
        {"a_fieldmask": {"paths": ["fooBar"]}},
        {"a_value": {"number_value": float("inf")}},
    ],
)
def test_what_json_cannot_say_is_an_error(every: Descriptor, fields: dict[str, Any]) -> None:
    with pytest.raises(Internal, match="Every cannot be written as JSON"):
        CODEC.encode(GetMessageClass(every)(**fields))


def test_one_field_can_be_written_alone_set_or_not(every: Descriptor) -> None:
    message = GetMessageClass(every)(repeated_a_int64=[1], a_string="x")
    written = {
        name: CODEC.encode_field(message, every.fields_by_name[name])
        for name in ("repeated_a_int64", "a_string", "a_int32", "map_of_a_string", "a_every")
    }
    assert written == {
        "repeated_a_int64": b'["1"]', "a_string": b'"x"', "a_int32": b"0", "map_of_a_string": b"{}", "a_every": b"{}",
    }  # fmt: skip
