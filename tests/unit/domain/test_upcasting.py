"""Upcasters: any version of an event comes to the newest. Well-known messages serve as events."""

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from laneway.domain.upcasting import VERSION, Upcaster, Upcasters, version_of
from laneway.errors import ConfigurationError, DataLoss, Internal, Unavailable

NAME = StringValue.DESCRIPTOR.full_name


def louder(event: StringValue) -> StringValue:
    event.value = event.value.upper()
    return event


def marked(event: StringValue) -> StringValue:
    return StringValue(value=f"{event.value}!")


THREE = Upcasters([Upcaster(StringValue, 2, marked), Upcaster(StringValue, 1, louder)])


def read(upcasters: Upcasters, message, version: int = 1):
    name = message.DESCRIPTOR.full_name
    return upcasters.read(name, message.SerializeToString(), version, {name: type(message)})


@pytest.mark.parametrize(("version", "value"), [(1, "HELLO!"), (2, "hello!"), (3, "hello")])
def test_every_version_comes_to_the_newest(version, value):
    assert read(THREE, StringValue(value="hello"), version) == StringValue(value=value)


def test_what_is_written_now_says_its_version_unless_it_is_the_first():
    assert (THREE.newest(NAME), THREE.stamp(NAME)) == (3, {VERSION: "3"})
    assert (Upcasters().newest(NAME), Upcasters().stamp(NAME)) == (1, {})


def test_other_events_are_left_alone():
    assert read(THREE, Int64Value(value=7)) == Int64Value(value=7)


def test_an_event_may_become_another_which_goes_on_from_its_first_version():
    counted = Upcaster(Int64Value, 1, lambda event: StringValue(value=f"{event.value} times"), becomes=StringValue)
    upcasters = Upcasters([counted, Upcaster(StringValue, 1, louder)])
    assert read(upcasters, Int64Value(value=7)) == StringValue(value="7 TIMES")
    assert list(upcasters.sources([NAME])) == [Int64Value.DESCRIPTOR.full_name, NAME]


def test_a_version_that_this_code_does_not_know_yet_is_tried_again_later():
    with pytest.raises(Unavailable, match="StringValue of version 4, and this code knows 3") as refused:
        read(THREE, StringValue(value="from the future"), 4)
    assert refused.value.transient


def test_an_unknown_type_and_bytes_that_are_none_are_told_apart():
    with pytest.raises(Internal, match=r"google\.protobuf\.Duration.*older than the log"):
        THREE.read("google.protobuf.Duration", b"", 1)
    with pytest.raises(DataLoss, match="StringValue that cannot be decoded"):
        THREE.read(NAME, b"\xff", 1)


def test_an_upcaster_that_gives_something_else_is_named():
    wrong = Upcasters([Upcaster(StringValue, 1, lambda event: Duration())])
    with pytest.raises(Internal, match=r"upcaster of version 1 of .*StringValue gave Duration instead of StringValue"):
        read(wrong, StringValue())


@pytest.mark.parametrize("versions", [[2], [1, 3], [1, 1], [0]])
def test_a_version_that_is_left_out_or_there_twice_is_refused_at_definition(versions):
    with pytest.raises(ConfigurationError, match="write one for each version, from 1"):
        Upcasters([Upcaster(StringValue, version, louder) for version in versions])


@pytest.mark.parametrize(
    ("metadata", "version"), [("{}", 1), ('{"traceparent": "00-1"}', 1), (f'{{"{VERSION}": "7"}}', 7)]
)
def test_the_version_of_an_event_is_in_its_metadata(metadata, version):
    assert version_of(metadata) == version
