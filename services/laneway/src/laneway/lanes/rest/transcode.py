"""An HTTP request as a request message: path variables, body and query, as the rule says."""

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from laneway.errors import InvalidArgument
from laneway.lanes.rest.codec import Codec
from laneway.lanes.rest.router import Match

_MASK = FieldMask.DESCRIPTOR.full_name


def request_message(match: Match, query: str, body: bytes, codec: Codec) -> Message:
    """The request that a matched call stands for.

    Raises:
        InvalidArgument: a parameter is unknown or does not fit, or there is a body where none belongs.
    """
    method, rule = match.route.method, match.route.rule
    message = method.input()
    given = _body(rule.body, body)
    if rule.body == "*":
        if not isinstance(given, dict | None):
            raise InvalidArgument("The body does not fit: a JSON object is expected.", reason="MALFORMED_REQUEST")
        codec.merge(given if given is not None else {}, message)
    elif rule.body and given is not None:
        codec.merge({rule.body: given}, message)
    if rule.body != "*":
        for name, values in _grouped(parse_qsl(query, keep_blank_values=True)).items():
            if name in match.variables or name.split(".")[0] == rule.body:
                raise InvalidArgument(f"The parameter `{name}` is set elsewhere in the request.", reason="TWICE")
            codec.merge(_nested(message, name, values), message)
    elif query:
        raise InvalidArgument("This call takes its fields from the body, and none from the query.")
    for path, value in match.variables.items():
        codec.merge(_nested(message, path, [value]), message)
    if match.route.verb == "PATCH" and isinstance(given, dict):
        _fill_mask(message, rule.body, given)
    return message


def _body(kind: str, body: bytes) -> Any:
    if not body:
        return None
    if not kind:
        raise InvalidArgument("This call takes no body.", reason="BODY_NOT_EXPECTED")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidArgument("The body is not JSON.", reason="MALFORMED_JSON") from None


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, value in pairs:
        groups.setdefault(name, []).append(value)
    return groups


def _nested(message: Message, path: str, values: list[str]) -> dict[str, Any]:
    """`a.b=1` as the JSON value {"a": {"b": 1}}; the message's descriptor tells what exists and repeats."""
    descriptor: Any = message.DESCRIPTOR
    *parents, last = path.split(".")
    result: dict[str, Any] = {}
    place = result
    for name in parents:
        found = _field(descriptor, name)
        if found is None or found.message_type is None or found.is_repeated:
            raise _unknown(path)
        place[found.name] = place = {}
        descriptor = found.message_type
    found = _field(descriptor, last)
    if found is None:
        raise _unknown(path)
    if not found.is_repeated and len(values) > 1:
        raise InvalidArgument(f"The parameter `{path}` is given {len(values)} times.", reason="TWICE")
    converted = [_scalar(found, value, path) for value in values]
    place[found.name] = converted if found.is_repeated else converted[0]
    return result


def _field(descriptor: Any, name: str) -> FieldDescriptor | None:
    found: FieldDescriptor | None = descriptor.fields_by_name.get(name) or descriptor.fields_by_camelcase_name.get(name)
    return found


def _scalar(field: FieldDescriptor, value: str, path: str) -> Any:
    if field.type == FieldDescriptor.TYPE_BOOL:
        if value not in ("true", "false"):
            raise InvalidArgument(f"The parameter `{path}` is true or false.", reason="MALFORMED_REQUEST")
        return value == "true"
    if field.type == FieldDescriptor.TYPE_ENUM and value.lstrip("-").isdigit():
        return int(value)
    return value


def _fill_mask(message: Message, body: str, given: dict[str, Any]) -> None:
    """A PATCH without a mask changes what its body names (AIP-134)."""
    descriptor: Any = message.DESCRIPTOR
    for field in descriptor.fields:
        is_mask = field.message_type is not None and field.message_type.full_name == _MASK
        if not is_mask or getattr(message, field.name).paths:
            continue
        resource = descriptor.fields_by_name.get(body)
        fields = descriptor if resource is None else resource.message_type
        names = [found.name for name in given if (found := _field(fields, name)) is not None]
        getattr(message, field.name).paths.extend(name for name in names if name != "etag")


def _unknown(path: str) -> InvalidArgument:
    return InvalidArgument(f"There is no parameter `{path}`.", reason="UNKNOWN_PARAMETER")
