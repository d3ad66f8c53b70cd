"""Where a call's fields are sent over HTTP: in the path, in the query, and what headers it takes."""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from laneway.contract.model import Method, descriptor_of
from laneway.lanes.rest.binding import Binding
from laneway.lanes.rest.openapi.constraints import Schema, demanded
from laneway.lanes.rest.openapi.schemas import Schemas
from laneway.lanes.rest.parameters import from_text, parameter
from laneway.lanes.rest.protojson.decode import is_special, map_entry
from laneway.lanes.rest.protojson.mismatch import Mismatch
from laneway.lanes.rest.streams import cursor_of
from laneway.lanes.rest.template import Template, Variable, Wildcard

KEY: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[!#-+\-.-~]+$"}
"""An idempotency key as most clients send it: bare, one value."""


Names = Mapping[int, str]
"""What the wildcards of a template are called, by their place."""


def path_of(template: Template, names: Names) -> str:
    """The template as OpenAPI writes it: each wildcard a name in braces."""
    parts = [quote(part) if isinstance(part, str) else f"{{{names[at]}}}" for at, part in enumerate(template.segments)]
    return "/" + "/".join(parts) + (f":{quote(template.verb)}" if template.verb else "")


def in_path(binding: Binding, schemas: Schemas, names: Names) -> Iterator[Schema]:
    """The parameters of a path."""
    template = binding.template
    named: set[int] = set()
    for variable in template.variables:
        field = parameter(descriptor_of(binding.method.input), variable.path).field
        taken = template.segments[variable.begin : variable.end]
        places = [variable.begin + at for at, part in enumerate(taken) if isinstance(part, Wildcard)]
        named.update(places)
        for place in places:
            schema = schemas.field(field) if variable.single else _part(template, variable, field, places, schemas)
            yield _parameter("path", names[place], _plain(schema), needed=True)
    for place, name in names.items():
        if place not in named:
            yield _parameter("path", name, {"type": "string", "minLength": 1}, needed=True)


def in_query(binding: Binding, schemas: Schemas) -> Iterator[Schema]:
    """The parameters of a query: what neither the path nor the body has."""
    if not binding.whole:
        yield from _fields(descriptor_of(binding.method.input), elsewhere(binding), schemas, (), ())


def elsewhere(binding: Binding) -> frozenset[str]:
    """The paths of fields that are sent neither in the query nor in a whole body; the key is a header."""
    idempotency = binding.method.policy.idempotency
    key = idempotency.key if idempotency is not None else None
    return binding.bound | ({key} if key else set())


def in_headers(method: Method, schemas: Schemas, *, is_stream: bool) -> Iterator[Schema]:
    """The headers that a call takes."""
    idempotency = method.policy.idempotency
    if idempotency is not None:
        text = "Names this call. The same key and the same request have one effect, however often they are sent."
        yield _parameter("header", "Idempotency-Key", {"description": text, **KEY}, needed=idempotency.required)
    if method.policy.queue is not None and method.awaitable:
        text = "Do not wait: 202 at once, and `Location` says where the answer will be."
        yield _parameter("header", "Prefer", {"description": text, "type": "string", "enum": ["respond-async"]})
    cursor = cursor_of(method) if is_stream else None
    if cursor is not None:
        text = "The `id` of the last event that was seen: the stream goes on behind it."
        yield _parameter("header", "Last-Event-ID", {**_plain(schemas.field(cursor.request)), "description": text})
    text = "Seconds that the client waits, within the contract's ceiling."
    timeout: Schema = {"description": text, "type": "number", "exclusiveMinimum": 0, "examples": [2.5]}
    yield _parameter("header", "X-Request-Timeout", timeout)


def _fields(
    kind: Descriptor, bound: frozenset[str], schemas: Schemas, above: tuple[FieldDescriptor, ...], seen: tuple[str, ...]
) -> Iterator[Schema]:
    needed = demanded(kind) if not above else set()
    for field in kind.fields:
        path = (*above, field)
        if ".".join(each.name for each in path) in bound or map_entry(field) is not None:
            continue
        message = field.message_type
        if message is None or is_special(message):
            if _has_text(field):
                name = ".".join(each.json_name for each in path)
                yield _parameter("query", name, _plain(schemas.field(field)), needed=field.name in needed)
        elif not field.is_repeated and message.full_name not in seen:
            yield from _fields(message, bound, schemas, path, (*seen, message.full_name))


def _has_text(field: FieldDescriptor) -> bool:
    try:
        from_text(field)
    except Mismatch:
        return False
    return True


def names_of(template: Template) -> Names:
    """The wildcards by their place, each with a name of its own: that of the field which it is."""
    owners: dict[int, str] = {}
    for variable in template.variables:
        end = len(template.segments) if variable.end is None else variable.end
        owners |= dict.fromkeys(range(variable.begin, end), variable.path.replace(".", "_"))
    places = [at for at, part in enumerate(template.segments) if isinstance(part, Wildcard)]
    given = [owners.get(at, "segment") for at in places]
    return {
        at: name if given.count(name) == 1 else f"{name}_{given[: number + 1].count(name)}"
        for number, (at, name) in enumerate(zip(places, given, strict=True))
    }


def _part(
    template: Template, variable: Variable, field: FieldDescriptor, places: list[int], schemas: Schemas
) -> Schema:
    """One part of a variable of several segments. A rule on the whole is one on the part, where the rest is literal."""
    whole = schemas.field(field)
    taken = template.segments[variable.begin : variable.end]
    text = "/".join(part if isinstance(part, str) else f"{{{part.value}}}" for part in taken)
    schema: Schema = {"description": whole.get("description") or f"Of `{text}`.", "type": "string", "minLength": 1}
    before = "".join(f"{part}/" for part in taken[:-1] if isinstance(part, str))
    rule = str(whole.get("pattern", ""))
    if len(places) == 1 and isinstance(taken[-1], Wildcard) and rule.startswith(prefix := "^" + re.escape(before)):
        schema["pattern"] = "^" + rule.removeprefix(prefix)
    return schema


def _plain(schema: Schema) -> Schema:
    """As a parameter says it, which cannot be null."""
    choices = schema.get("anyOf", ())
    if {"type": "null"} not in choices:
        return schema
    return {**choices[0], **{key: value for key, value in schema.items() if key != "anyOf"}}


def _parameter(place: str, name: str, schema: Schema, *, needed: bool = False) -> Schema:
    text = schema.get("description")
    own = {key: value for key, value in schema.items() if key != "description"}
    said = {"description": text} if text else {}
    return {"name": name, "in": place, "required": needed, **said, "schema": own}
