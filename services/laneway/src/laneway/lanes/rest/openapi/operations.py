"""One binding of a method as an operation: its parameters, its body, and everything that it answers."""

from collections.abc import Iterator

from google.protobuf.descriptor import FieldDescriptor

from laneway.contract.model import Method, descriptor_of
from laneway.lanes.rest.binding import HTTP_BODY, JSON, Binding
from laneway.lanes.rest.openapi.constraints import Schema, demanded
from laneway.lanes.rest.openapi.parameters import Names, elsewhere, in_headers, in_path, in_query
from laneway.lanes.rest.openapi.schemas import Schemas, under
from laneway.lanes.rest.streams import EVENTS, NDJSON, is_raw

OPERATION = "google.longrunning.Operation"
ERROR = "Error"

_RETRY: Schema = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}
_BODY_ERRORS = {
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body is in an encoding that is not read.",
}
_ERRORS = {
    400: "What was sent does not fit or is not valid, and the details name the fields; or it cannot be done now.",
    404: "There is no such thing.",
    409: "It exists already, or something changed meanwhile, or the same call is under way.",
    422: "The key was used for another request.",
    429: "Too much at a time.",
    500: "The service failed.",
    503: "The service cannot be reached now.",
    504: "There was no answer in time.",
}
_RETRIED = frozenset({409, 429, 503, 504})


def operation(binding: Binding, schemas: Schemas, name: str, wildcards: Names) -> Schema:
    """What a verb does at a path."""
    method = binding.method
    comment = schemas.comments.of(method.full_name)
    reasons = ", ".join(f"`{reason}`" for reason in sorted(method.policy.errors))
    said = [comment, f"Refused with {reasons}, where that is the answer." if reasons else ""]
    result: Schema = {
        "operationId": name,
        "tags": [method.service_name],
        "parameters": [
            *in_path(binding, schemas, wildcards),
            *in_query(binding, schemas),
            *in_headers(method, schemas, is_stream=method.server_streaming),
        ],
        "responses": {**_answers(binding, schemas), **_failures(binding)},
    }
    if comment:
        result["summary"] = comment.split("\n\n")[0].partition(". ")[0].rstrip(".")
    if any(said):
        result["description"] = "\n\n".join(filter(None, said))
    body = _body(binding, schemas)
    if body is not None:
        result["requestBody"] = body
    return result


def components() -> Schema:
    """What operations refer to besides the contract's messages."""
    return {ERROR: _ERROR, OPERATION: _OPERATION, f"{OPERATION}s": _OPERATIONS}


def queued_calls(owners: list[str]) -> Schema:
    """The paths at which queued calls tell how they stand, and are cancelled."""
    service = {"name": "service", "in": "path", "required": True, "schema": {"type": "string", "enum": owners}}
    id = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "pattern": r"^[\w.-]+$"}}
    one, told = [service, id], _told("It is done, or not yet.", _reference(OPERATION))
    wait = {"name": "X-Request-Timeout", "in": "header", "description": "Seconds.", "schema": {"type": "number"}}
    said = "How a call stands when it has ended, or after a while."
    done = _told("It is so.", {"type": "object"})
    page = _told("Some of them.", _reference(f"{OPERATION}s"))
    return {
        "/v1/operations/{service}": {
            "get": _asked("ListOperations", "The caller's calls, the newest first.", [service, *_LISTED], page)
        },
        "/v1/operations/{service}/{id}": {
            "get": _asked("GetOperation", "How a call stands that was answered with 202.", one, told),
            "delete": _asked("DeleteOperation", "Forget a call that has ended.", one, done),
        },
        "/v1/operations/{service}/{id}:cancel": {
            "post": _asked("CancelOperation", "Cancel a call that has not ended.", one, done)
        },
        "/v1/operations/{service}/{id}:wait": {"post": _asked("WaitOperation", said, [*one, wait], told)},
    }


def _told(text: str, schema: Schema) -> Schema:
    return {"description": text, "content": _json(schema)}


def _asked(name: str, summary: str, parameters: list[Schema], told: Schema) -> Schema:
    errors = {str(each): _failure(_ERRORS[each], each) for each in (400, 404, 503, 504)}
    responses = {"200": told, **errors, "default": _failure("What went wrong.", 0)}
    if name == "ListOperations":
        responses["401"] = _failure("Nobody is named whose calls they are.", 401)
    return {"operationId": name, "summary": summary, "parameters": parameters, "responses": responses}


def _body(binding: Binding, schemas: Schemas) -> Schema | None:
    kind = descriptor_of(binding.method.input)
    if binding.whole:
        if kind.full_name == HTTP_BODY:
            return {"content": {"*/*": {"schema": {}}}}
        schema, needed = _whole(binding, schemas), bool(demanded(kind) - elsewhere(binding))
    elif binding.body is not None:
        if binding.body.message_type is not None and binding.body.message_type.full_name == HTTP_BODY:
            return {"content": {"*/*": {"schema": {}}}}
        schema, needed = _one_field(binding, binding.body, schemas), binding.body.name in demanded(kind)
    else:
        return None
    if binding.method.client_streaming:
        return {"required": True, "description": "One on each line.", "content": {NDJSON: {"schema": schema}}}
    return {"required": needed, "content": _json(schema)}


def _whole(binding: Binding, schemas: Schemas) -> Schema:
    kind, omit = descriptor_of(binding.method.input), elsewhere(binding)
    return schemas.object(kind, omit=omit) if omit else schemas.message(kind)


def _one_field(binding: Binding, field: FieldDescriptor, schemas: Schemas) -> Schema:
    omit = under(field, binding.bound)
    demand = under(field, demanded(descriptor_of(binding.method.input)))
    if (omit or demand) and field.message_type is not None and not field.is_repeated:
        return schemas.object(field.message_type, omit=omit, demand=demand)
    return schemas.field(field)


def _answers(binding: Binding, schemas: Schemas) -> Schema:
    method = binding.method
    answers: Schema = {}
    if method.awaitable:
        answers["200"] = {
            "description": schemas.comments.of(descriptor_of(method.output).full_name) or "The answer.",
            "headers": dict(_answer_headers(method)),
            "content": _content(binding, schemas),
        }
    if method.policy.queue is not None:
        where = {"Location": {"description": "Where the answer will be.", "schema": {"type": "string"}}}
        said = "It is accepted, and will be done."
        headers = {**where, **_mark(method)}
        answers["202"] = {"description": said, "headers": headers, "content": _json(_reference(OPERATION))}
    return answers


def _answer_headers(method: Method) -> Iterator[tuple[str, Schema]]:
    text: Schema = {"type": "string"}
    yield "traceparent", {"description": "The trace of this call.", "schema": text}
    yield from _mark(method).items()
    yield "Laneway-Degraded", {"description": "This is a lesser answer, and why.", "schema": text}


def _mark(method: Method) -> Schema:
    """What a repetition is told by."""
    if method.policy.idempotency is None:
        return {}
    replayed = "`true`: this is the answer that an earlier call with this key was given."
    return {"Idempotent-Replayed": {"description": replayed, "schema": {"type": "string", "enum": ["true"]}}}


def _content(binding: Binding, schemas: Schemas) -> Schema:
    if is_raw(binding):
        return {"*/*": {"schema": {}}}
    output = descriptor_of(binding.method.output)
    schema = schemas.message(output) if binding.reply is None else schemas.field(binding.reply)
    if not binding.method.server_streaming:
        return _json(schema)
    item = {"anyOf": [schema, _reference(ERROR)]}
    return {
        NDJSON: {"schema": item},
        EVENTS: {"schema": {"type": "string", "description": "Each event's data is one item."}},
        JSON: {"schema": {"type": "array", "items": item}},
    }


def _failures(binding: Binding) -> Schema:
    method = binding.method
    absent = set()
    if method.policy.idempotency is None:
        absent.add(422)
    texts = {**_ERRORS, **(_BODY_ERRORS if binding.whole or binding.body is not None else {})}
    kept = _mark(method) if method.policy.errors else {}
    failures = {
        str(status): _failure(text, status, kept) for status, text in sorted(texts.items()) if status not in absent
    }
    return {**failures, "default": _failure("What went wrong.", 0, kept)}


def _failure(text: str, status: int, kept: Schema | None = None) -> Schema:
    """`kept` are the headers of an error that is kept like an answer."""
    headers = {**(_RETRY if status in _RETRIED else {}), **(kept or {})}
    told = {"headers": headers} if headers else {}
    return {"description": text, **told, "content": _json(_reference(ERROR))}


def _json(schema: Schema) -> Schema:
    return {JSON: {"schema": schema}}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_STATUS: Schema = {
    "type": "object",
    "properties": {
        "code": {"type": "integer"},
        "message": {"type": "string"},
        "details": {"type": "array", "items": {"type": "object"}},
    },
}
_ERROR: Schema = {
    "description": "What went wrong, as AIP-193 says it.",
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "status"],
            "properties": {
                "code": {"type": "integer", "description": "The HTTP status."},
                "message": {"type": "string", "description": "For people."},
                "status": {"type": "string", "description": "The google.rpc.Code.", "examples": ["NOT_FOUND"]},
                "details": {
                    "type": "array",
                    "description": "`google.rpc.ErrorInfo` has the `reason` that a program reacts to, "
                    "`google.rpc.BadRequest` the fields that are wrong, `google.rpc.RetryInfo` when to try again.",
                    "items": {"type": "object", "required": ["@type"], "properties": {"@type": {"type": "string"}}},
                },
            },
        }
    },
}
_OPERATION: Schema = {
    "description": "A call that was accepted, and how it stands.",
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "examples": ["operations/orders/4f0c"]},
        "done": {"type": "boolean"},
        "error": _STATUS,
        "response": {"type": "object", "description": "The answer, with its type as `@type`."},
        "metadata": {
            "type": "object",
            "description": "`laneway.v1.OperationMetadata`: its method, state and times, and how far its handler is.",
        },
    },
}
_OPERATIONS: Schema = {
    "description": "A page of calls that were accepted.",
    "type": "object",
    "properties": {
        "operations": {"type": "array", "items": _reference(OPERATION)},
        "nextPageToken": {"type": "string", "description": "Of the next page, if there is one."},
    },
}
_LISTED: list[Schema] = [
    {
        "name": "filter",
        "in": "query",
        "description": 'Such as `done = false AND method = "shop.orders.v1.Orders.PlaceOrder"`.',
        "schema": {"type": "string"},
    },
    {"name": "pageSize", "in": "query", "schema": {"type": "integer", "minimum": 0, "maximum": 99999}},
    {"name": "pageToken", "in": "query", "schema": {"type": "string"}},
]
