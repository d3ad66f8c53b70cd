"""What a request must be like, by `buf.validate`: a rule that is added, or narrowed, refuses what was good.

Replies are not validated, so that only what a request holds counts.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from buf.validate import validate_pb2
from laneway.contract.breaking.pairs import kept
from laneway.contract.findings import Finding, Rule
from laneway.contract.layers import stated
from laneway.contract.model import descriptor_of
from laneway.contract.sources import Source

VALIDATION_TIGHTENED = Rule("VALIDATION_TIGHTENED", "A request must fit a rule that is new, or narrower.")
VALIDATION_CHANGED = Rule("VALIDATION_CHANGED", "A rule of a request is another, and the two cannot be compared.")
RULES = (VALIDATION_TIGHTENED, VALIDATION_CHANGED)

_LEAST = frozenset({"min_len", "min_bytes", "min_items", "min_pairs", "gt", "gte", "gt_now"})
_MOST = frozenset({"max_len", "max_bytes", "max_items", "max_pairs", "lt", "lte", "lt_now"})
_NO_RULES = frozenset({"example", "ignore"})

Rules = dict[str, Any]


def check(before: Source, after: Source) -> Iterator[Finding]:
    """Applies the rules to every message that a request is, or holds."""
    for was, now in kept(_requested(before), _requested(after)):
        yield from _compared(now.full_name, _rules(was, validate_pb2.message), _rules(now, validate_pb2.message))
        for oneof_was, oneof in kept(was.oneofs_by_name, now.oneofs_by_name):
            old, new = _rules(oneof_was, validate_pb2.oneof), _rules(oneof, validate_pb2.oneof)
            yield from _compared(f"{now.full_name}.{oneof.name}", old, new)
        yield from _of_fields(was.fields_by_number, now.fields_by_number)


def _of_fields(was: Mapping[int, FieldDescriptor], now: Mapping[int, FieldDescriptor]) -> Iterator[Finding]:
    for number, field in now.items():
        rules = _rules(field, validate_pb2.field)
        if number in was:
            yield from _compared(field.full_name, _rules(was[number], validate_pb2.field), rules)
        elif rules.get("required"):
            yield VALIDATION_TIGHTENED.at(
                field.full_name, "it is new and required: nobody sends it yet", "let it be optional"
            )


def _requested(source: Source) -> dict[str, Descriptor]:
    """The messages of these files that a request is, or holds."""
    found: dict[str, Descriptor] = {}
    waiting = [descriptor_of(method.input) for method in source.methods.values()]
    while waiting:
        message = waiting.pop()
        if message.full_name not in found:
            found[message.full_name] = message
            waiting += [field.message_type for field in message.fields if field.message_type is not None]
    return {name: message for name, message in found.items() if name in source.messages}


def _rules(described: Any, option: Any) -> Rules:
    return dict(_flat(stated(described, option), ""))


def _flat(message: Message, prefix: str) -> Iterator[tuple[str, Any]]:
    for field, value in message.ListFields():
        path = f"{prefix}{field.name}"
        if field.is_repeated:
            yield path, frozenset(getattr(each, "expression", str(each)) for each in value)
        elif isinstance(value, Duration | Timestamp):
            yield path, value.ToNanoseconds()
        elif isinstance(value, Message):
            yield from _flat(value, f"{path}.")
        elif field.name not in _NO_RULES:
            yield path, value


def _compared(name: str, old: Rules, new: Rules) -> Iterator[Finding]:
    for path, value in new.items():
        before = old.get(path, False)
        narrower = _narrower(path.rpartition(".")[2], before, value)
        if narrower:
            yield _tightened(name, path, before, value)
        elif narrower is None and value != before:
            yield VALIDATION_CHANGED.at(
                name, f"`{path}` was {_shown(before)} and is {_shown(value)}", "see that all that was good still is"
            )


def _narrower(rule: str, before: Any, value: Any) -> bool | None:
    """Whether a rule refuses more than it did; None if that cannot be told. A rule that was not there was False."""
    if before is False or value is False:
        return value is not False
    if rule in _LEAST or rule in _MOST:
        return bool(value > before if rule in _LEAST else value < before)
    if isinstance(value, frozenset):
        return bool(before - value if rule == "in" else value - before)
    return None


def _tightened(name: str, path: str, before: Any, value: Any) -> Finding:
    was = "there was no such rule" if before is False else f"it was {_shown(before)}"
    return VALIDATION_TIGHTENED.at(
        name, f"`{path}` is {_shown(value)}, and {was}: what was good before is refused", "take what you took before"
    )


def _shown(value: Any) -> str:
    return " or ".join(sorted(map(str, value))) if isinstance(value, frozenset) else str(value)
