"""What was, beside what is: elements of two contracts by their full names, or their numbers."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

from google.protobuf.descriptor import FieldDescriptor

from laneway.contract.sources import Source

K = TypeVar("K", str, int)
T = TypeVar("T")


def kept(before: Mapping[K, T], after: Mapping[K, T]) -> Iterator[tuple[T, T]]:
    """The elements that are in both."""
    return ((before[name], after[name]) for name in before if name in after)


def gone(before: Mapping[str, T], after: Mapping[str, T]) -> Iterator[str]:
    """The names of those that are not any more."""
    return (name for name in before if name not in after)


def fields(before: Source, after: Source) -> Iterator[tuple[FieldDescriptor, FieldDescriptor]]:
    """The fields that are in both: those of one number in one message."""
    for was, now in kept(before.messages, after.messages):
        yield from kept(was.fields_by_number, now.fields_by_number)
