"""What makes two requests of a method the same: a fingerprint of their content, which names its own algorithm.

A stored one is compared by the algorithm that made it, so that a newer version of the code can replay what an older
one has kept. One that only a newer version knows is not compared: the key is the caller's word that it is the same.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import reduce

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from laneway.contract.model import Method, descriptor_of


def fingerprint(method: Method, request: Message) -> str:
    """The fingerprint to keep."""
    return f"{_NEWEST}:{_ALGORITHMS[_NEWEST](method, request)}"


def same(kept: str, method: Method, request: Message) -> bool:
    """Whether a request is the one that a fingerprint was made of."""
    version, _, digest = kept.rpartition(":")
    algorithm = _ALGORITHMS.get(version)
    return algorithm is None or algorithm(method, request) == digest


def _of_content(method: Method, request: Message) -> str:
    """Before fingerprints had versions."""
    return hashlib.sha256(_bare(method, request).SerializeToString(deterministic=True)).hexdigest()


def _sorted_at_the_top(method: Method, request: Message) -> str:
    content = _bare(method, request).SerializeToString(deterministic=True)
    return _digest(method, _sorted(content))


def _sorted_throughout(method: Method, request: Message) -> str:
    bare = _bare(method, request)
    content = bare.SerializeToString(deterministic=True)
    is_known = _known_bytes(bare) == len(content)
    return _digest(method, content if is_known else _sorted(content, descriptor_of(type(bare))))


def _digest(method: Method, content: bytes) -> str:
    return hashlib.sha256(method.full_name.encode() + b"\0" + content).hexdigest()


_ALGORITHMS: Mapping[str, Callable[[Method, Message], str]] = {
    "": _of_content,
    "1": _sorted_at_the_top,
    "2": _sorted_throughout,
}
_NEWEST = "2"


def _bare(method: Method, request: Message) -> Message:
    """Without the key itself."""
    policy = method.policy.idempotency
    if policy is None or policy.key is None:
        return request
    bare = type(request)()
    bare.CopyFrom(request)
    *parents, last = policy.key.split(".")
    reduce(getattr, parents, bare).ClearField(last)
    return bare


def _known_bytes(request: Message) -> int:
    """How long it is without the fields, at any depth, that this version's schema does not know."""
    known = type(request)()
    known.CopyFrom(request)
    known.DiscardUnknownFields()
    return known.ByteSize()


def _sorted(content: bytes, kind: Descriptor | None = None) -> bytes:
    """A message's bytes in the order of its field numbers, and within, as far as its `kind` tells what is a message.

    Fields that this version's schema does not know are serialized last, and would move once it does.
    """
    messages = {} if kind is None else {field.number: field.message_type for field in kind.fields}
    fields = sorted(_fields(content), key=lambda field: field[0])
    return b"".join(
        content[begin:value] + _sorted(content[value:end], inner)
        if (inner := messages.get(number)) is not None
        else content[begin:end]
        for number, begin, value, end in fields
    )


def _fields(content: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Number of each field; where it begins, where what may be a message does, and its end.

    https://protobuf.dev/programming-guides/encoding/
    """
    begin = 0
    while begin < len(content):
        tag, end = _varint(content, begin)
        kind, length = tag & 7, 0
        if kind == 2:
            length, end = _varint(content, end)
            end += length
        elif kind == 0:
            _, end = _varint(content, end)
        elif kind in _FIXED:
            end += _FIXED[kind]
        else:  # a group, which is not of proto3, is left where it is, with what follows
            end = len(content)
        yield tag >> 3, begin, end - length, end
        begin = end


_FIXED = {1: 8, 5: 4}
"""Bytes of the kinds that are always as long."""


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
