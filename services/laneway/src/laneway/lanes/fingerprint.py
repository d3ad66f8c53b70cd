"""What makes two requests of a method the same: a fingerprint of their content, which names its own algorithm.

A stored one is compared by the algorithm that made it, so that a newer version of the code can replay what an older
one has kept. One that only a newer version knows is not compared: the key is the caller's word that it is the same.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import reduce

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from laneway.contract.model import Method


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


def _of_method_and_content(method: Method, request: Message) -> str:
    content = _canonical(_bare(method, request))
    return hashlib.sha256(method.full_name.encode() + b"\0" + content).hexdigest()


_ALGORITHMS: Mapping[str, Callable[[Method, Message], str]] = {"": _of_content, "1": _of_method_and_content}
_NEWEST = "1"


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


def _canonical(request: Message) -> bytes:
    """The message's bytes in the order of its field numbers.

    Fields that this version's schema does not know are serialized last, and would move once it does.
    """
    content = request.SerializeToString(deterministic=True)
    if not len(UnknownFieldSet(request)):
        return content
    return b"".join(chunk for _, chunk in sorted(_fields(content), key=lambda field: field[0]))


def _fields(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each field: https://protobuf.dev/programming-guides/encoding/"""
    at = 0
    while at < len(content):
        tag, end = _varint(content, at)
        kind = tag & 7
        if kind == 0:
            _, end = _varint(content, end)
        elif kind == 2:
            length, end = _varint(content, end)
            end += length
        else:  # groups are not of proto3
            end += 8 if kind == 1 else 4
        yield tag >> 3, content[at:end]
        at = end


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
