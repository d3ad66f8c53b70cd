"""Projections as their author declares them; well-known messages serve as events."""

import pytest
from google.protobuf.wrappers_pb2 import Int64Value, StringValue
from sqlalchemy import Column, Integer, MetaData, Table, Text

from laneway.domain import Add, Projection, Recorded, projects
from laneway.errors import ConfigurationError

words = Table(
    "words",
    MetaData(),
    Column("generation", Integer, primary_key=True),
    Column("word", Text, primary_key=True),
    Column("times", Integer),
)


class WordCount(Projection):
    tables = (words,)

    @projects(StringValue)
    def _said(self, event):
        yield Add(words, {"word": event.message.value}, {"times": 1})


def recorded(message):
    return Recorded(message, "talk/1", 1, "e-1", 0.0)


def test_an_event_changes_what_its_method_says():
    [change] = WordCount().changes(recorded(StringValue(value="hello")))
    assert (change.key, change.amounts) == ({"word": "hello"}, {"times": 1})


def test_a_name_is_the_classs_in_snake_case_unless_it_is_set():
    assert WordCount.name == "word_count"
    assert type("Named", (Projection,), {"name": "other"}).name == "other"


def test_a_subclass_adds_events():
    class More(WordCount):
        @projects(Int64Value)
        def _counted(self, event):
            return []

    assert sorted(More.event_types()) == ["google.protobuf.Int64Value", "google.protobuf.StringValue"]
    assert list(WordCount.event_types()) == ["google.protobuf.StringValue"]


def test_readers_see_no_generations():
    assert [column.name for column in WordCount.view(words).c] == ["word", "times"]


def test_a_table_without_generations_is_refused_at_definition():
    plain = Table("plain", MetaData(), Column("word", Text, primary_key=True))
    with pytest.raises(ConfigurationError, match="table plain of the projection Plain has no `generation`"):
        type("Plain", (Projection,), {"tables": (plain,)})


def test_an_event_with_two_methods_is_refused_at_definition():
    with pytest.raises(ConfigurationError, match="Twice projects an event twice"):

        class Twice(Projection):
            @projects(StringValue)
            def _one(self, event): ...

            @projects(StringValue)
            def _other(self, event): ...


def test_what_is_no_message_is_refused_at_definition():
    with pytest.raises(ConfigurationError, match="@projects needs the class of a protobuf message"):
        projects(str)
