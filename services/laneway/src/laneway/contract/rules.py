"""What `buf.validate` demands of a message, compiled by protovalidate when the contract is read.

Must not know how messages travel.
"""

import json
from collections.abc import Sequence
from typing import Any

import protovalidate
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from buf.validate import validate_pb2
from laneway.errors import ConfigurationError, Internal, InvalidArgument, Violation

NAMED = 3
"""So many violations an error's text names; its details have them all."""


class Rules:
    """The rules of one kind of message, those of its parts included."""

    def __init__(self, kinds: Sequence[Descriptor]) -> None:
        """`kinds` are the message and its parts; each is tried once, so that no call waits for a compilation.

        Raises:
            ConfigurationError: a rule does not compile.
        """
        # A validator knows messages by name: those of another pool may have the names of ours, and other rules.
        ours = kinds[0].file.pool is descriptor_pool.Default()
        self._violations: Any = (protovalidate if ours else protovalidate.Validator()).collect_violations
        for kind in kinds:
            try:
                self._violations(GetMessageClass(kind)())
            except protovalidate.CompilationError as error:
                why = " ".join(str(error).split())
                raise ConfigurationError(f"{kind.full_name}: its buf.validate rules do not compile: {why}") from None
            except protovalidate.EvaluationError:
                continue  # an empty message is none that a call would bring

    def check(self, message: Message) -> None:
        """Refuse a message that breaks a rule.

        Raises:
            InvalidArgument: it does; the violations name the fields.
            Internal: a rule cannot be evaluated: the contract is wrong.
        """
        try:
            broken = self._violations(message)
        except protovalidate.EvaluationError as error:
            raise Internal(
                f"A rule of {message.DESCRIPTOR.full_name} cannot be evaluated: {error}", reason="RULE_FAILED"
            ) from error
        if broken:
            raise _invalid([Violation(_path(each.proto), each.proto.message) for each in broken])


def rules_of(kind: Descriptor) -> Rules | None:
    """The rules of a kind of message; None where the contract states none, so that a check costs nothing."""
    kinds: dict[str, Descriptor] = {}
    _collect(kind, kinds)
    return Rules(list(kinds.values())) if any(map(_is_ruled, kinds.values())) else None


def _collect(kind: Descriptor, known: dict[str, Descriptor]) -> None:
    if kind.full_name in known:
        return
    known[kind.full_name] = kind
    for field in kind.fields:
        if field.message_type is not None:
            _collect(field.message_type, known)


def _is_ruled(kind: Descriptor) -> bool:
    stated = [(kind, validate_pb2.message), *((field, validate_pb2.field) for field in kind.fields)]
    stated += [(oneof, validate_pb2.oneof) for oneof in kind.oneofs]
    return any(described.GetOptions().HasExtension(option) for described, option in stated)


def _invalid(violations: Sequence[Violation]) -> InvalidArgument:
    named = [f"`{each.field}`: {each.description}" if each.field else each.description for each in violations[:NAMED]]
    more = len(violations) - NAMED
    text = "; ".join(named) + (f"; and {more} more" if more > 0 else "")
    return InvalidArgument(f"The request is not valid: {text}.", reason="INVALID_REQUEST", violations=violations)


def _path(violation: Any) -> str:
    """`lines[3].quantity`, `labels["colour"]`; nothing for the message itself."""
    return ".".join(map(_step, violation.field.elements)) if violation.field is not None else ""


def _step(element: Any) -> str:
    if element.subscript is None:
        return str(element.field_name)
    key = element.subscript.value
    return f"{element.field_name}[{json.dumps(key) if isinstance(key, str | bool) else key}]"
