"""The part of `values.schema.json` that says what a policy file may hold, made of the vocabulary itself.

Names and kinds are those of `laneway.v1.CallPolicy`; bounds are what the process that would read the file refuses.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from laneway.contract.tuning import Layers, is_tunable
from laneway.errors import ConfigurationError
from laneway.v1 import call_pb2
from tests.charts.rendering import ROOT

FILE = ROOT / "charts/laneway/values.schema.json"
_BLOCK = re.compile(r'^    "tuning": \{\n.*?^    \},$', re.MULTILINE | re.DOTALL)
_DURATION = r"^[0-9]+(\.[0-9]{1,9})?s$"


def written(text: str) -> str:
    """The schema's text with this part as it should be."""
    fields = ",\n".join(f"        {json.dumps(name)}: {json.dumps(schema)}" for name, schema in tuning().items())
    block = (
        '    "tuning": {\n      "description": "Values of laneway.v1.CallPolicy; made by `make golden`.",\n'
        f'      "type": "object",\n      "additionalProperties": false,\n      "properties": {{\n{fields}\n      }}\n    }},'
    )
    return _BLOCK.sub(lambda _: block, text)


def tuning() -> dict[str, Any]:
    """A schema for each field that a deployment may tune."""
    return dict(_properties(call_pb2.CallPolicy.DESCRIPTOR, ()))


def _properties(message: Descriptor, above: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for field in message.fields:
        path = (*above, field.name)
        schema = _field(field, path)
        if schema is not None:
            # ProtoJSON reads either name.
            yield from ((name, schema) for name in dict.fromkeys((field.name, field.json_name)))


def _field(field: FieldDescriptor, path: tuple[str, ...]) -> dict[str, Any] | None:
    part = field.message_type
    if part is not None and part.full_name != "google.protobuf.Duration":
        own = dict(_properties(part, path))
        return {"type": "object", "additionalProperties": False, "properties": own} if own else None
    if field.is_repeated or not is_tunable(".".join(path)):
        return None
    return _leaf(field) | _bounds(field, path)


def _leaf(field: FieldDescriptor) -> dict[str, Any]:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_MESSAGE:
            return {"type": "string", "pattern": _DURATION}
        case FieldDescriptor.CPPTYPE_ENUM if field.enum_type is not None:
            return {"enum": [value.name for value in field.enum_type.values if value.number]}
        case FieldDescriptor.CPPTYPE_INT32:
            return {"type": "integer", "minimum": 0}
        case FieldDescriptor.CPPTYPE_DOUBLE:
            return {"type": "number", "minimum": 0}
        case FieldDescriptor.CPPTYPE_BOOL:
            return {"type": "boolean"}
    raise NotImplementedError(f"{field.full_name} is of a kind that no field of a policy had")


def _bounds(field: FieldDescriptor, path: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_MESSAGE if _refuses(path, "0s", "1s"):
            found["not"] = {"pattern": r"^0+(\.0+)?s$"}
        case FieldDescriptor.CPPTYPE_INT32 if _refuses(path, 0, 1):
            found["minimum"] = 1
        case FieldDescriptor.CPPTYPE_DOUBLE:
            if _refuses(path, 0, 1):
                found["exclusiveMinimum"] = 0
            if _refuses(path, 1.5, 1):
                found["maximum"] = 1
    return found


def _refuses(path: tuple[str, ...], value: object, other: object) -> bool:
    """Whether a policy file may not say this, though it may say the other."""
    return not _takes(path, value) and _takes(path, other)


def _takes(path: tuple[str, ...], value: object) -> bool:
    said: Any = value
    for name in reversed(path):
        said = {name: said}
    try:
        Layers(json.dumps({"defaults": said}))
    except ConfigurationError:
        return False
    return True
