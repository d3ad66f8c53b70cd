"""One binding of a method: an HTTP request as its request message, and its reply as an HTTP body.

Everything that the rule and the descriptors say is looked up once, at the start. A request then becomes the arguments
of the message's constructor, and the constructor is called once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import parse_qsl

from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from laneway.contract.model import Method, descriptor_of
from laneway.errors import ConfigurationError, InvalidArgument, Violation
from laneway.lanes.rest.codec import JsonCodec, unfit
from laneway.lanes.rest.parameters import Parameter, field_of, parameter
from laneway.lanes.rest.protojson import well_known
from laneway.lanes.rest.protojson.decode import is_special
from laneway.lanes.rest.protojson.mismatch import Mismatch
from laneway.lanes.rest.template import BAD_ESCAPE, Template, Variable, parse

HTTP_BODY = "google.api.HttpBody"
JSON = "application/json"
MAX_PARAMETERS = 1000
ROUTE_RULE, ROUTE_TEMPLATE, ROUTE_FIELD = "ROUTE_RULE", "ROUTE_TEMPLATE", "ROUTE_FIELD"
"""Why a rule is refused: the codes of lint's rules that find it earlier."""

_VERBS = frozenset({"get", "put", "post", "delete", "patch"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One way in: a verb and a template, for a method."""

    method: Method
    verb: str
    template: Template
    codec: JsonCodec
    variables: tuple[tuple[Variable, Parameter], ...]
    whole: bool
    """The body is the request (`body: "*"`)."""
    body: FieldDescriptor | None
    """The body is this field of the request."""
    reply: FieldDescriptor | None
    """The answer's body is this field of the reply."""
    mask: FieldDescriptor | None
    """A PATCH names here what its body has."""
    bound: frozenset[str] = field(default_factory=frozenset)
    """The paths of fields that are not in the query, since the path or the body has them."""

    def request(self, parts: Sequence[str], query: str, body: bytes, content_type: str = JSON) -> Message:
        """The request message that an HTTP request stands for.

        Raises:
            InvalidArgument: a parameter is unknown, something does not fit, or there is a body where none belongs.
        """
        given, fields = self._of_body(body, content_type)
        if query:
            self._put_query(query, fields)
        for variable, known in self.variables:
            _put(known, known.path, known.convert, variable.value(parts), fields)
        if self.mask is not None and self.body is not None and self.mask.name not in fields and type(given) is dict:
            fields[self.mask.name] = {"paths": list(_mask_of(self.body.message_type, given))}
        return self._made(fields)

    def further(self, body: bytes) -> Message:
        """A request of a client's stream after its first: path and query are not said again.

        Raises:
            InvalidArgument: it does not fit.
        """
        return self._made(self._of_body(body, JSON)[1])

    def _made(self, fields: dict[str, Any]) -> Message:
        message: Any = self.method.input(**fields)
        if not message.IsInitialized():
            missing = [Violation(path, "it is required") for path in message.FindInitializationErrors()]
            raise InvalidArgument("Required fields are missing.", reason="MALFORMED_REQUEST", violations=missing)
        return cast(Message, message)

    def answer(self, reply: Message) -> tuple[bytes, str]:
        """A reply as an HTTP body, and its media type."""
        if self.reply is None:
            raw: Any = reply if reply.DESCRIPTOR.full_name == HTTP_BODY else None
        else:
            raw = getattr(reply, self.reply.name) if _is_http_body(self.reply) else None
        if raw is not None:
            return raw.data, _media(raw.content_type)
        if self.reply is not None:
            return self.codec.encode_field(reply, self.reply), JSON
        return self.codec.encode(reply), JSON

    def _of_body(self, body: bytes, content_type: str) -> tuple[Any, dict[str, Any]]:
        """What the body says: its JSON value, and the arguments it makes."""
        if not body:
            return None, {}
        raw = {"content_type": content_type, "data": body}
        if self.whole:
            if self.method.input.DESCRIPTOR.full_name == HTTP_BODY:
                return None, raw
            return None, self._decoded(body)
        if self.body is None:
            raise InvalidArgument("This call takes no body.", reason="BODY_NOT_EXPECTED")
        if _is_http_body(self.body):
            return None, {self.body.name: raw}
        value = self.codec.parse(body)
        if value is None and not _is_value(self.body):
            return None, {}
        try:
            return value, {self.body.name: self.codec.decoders.field(self.body)(value)}
        except Mismatch as mismatch:
            raise unfit(mismatch.under(self.body.name)) from None

    def _decoded(self, body: bytes) -> dict[str, Any]:
        value = self.codec.parse(body)
        try:
            fields: dict[str, Any] = self.codec.decoders.root(descriptor_of(self.method.input))(value)
        except Mismatch as mismatch:
            raise unfit(mismatch) from None
        return fields

    def _put_query(self, query: str, fields: dict[str, Any]) -> None:
        given: dict[str, tuple[Parameter, str, list[str]]] = {}
        for name, text in _pairs(query):
            known = self._parameter(name)
            if known is not None:
                given.setdefault(known.path, (known, name, []))[2].append(text)
        for known, name, texts in given.values():
            if known.field.is_repeated:
                convert = known.convert
                _put(known, name, lambda texts, convert=convert: [convert(text) for text in texts], texts, fields)
            elif len(texts) > 1:
                raise _refused(name, f"it is given {len(texts)} times, and takes one value", "TWICE")
            else:
                _put(known, name, known.convert, texts[0], fields)

    def _parameter(self, name: str) -> Parameter | None:
        lenient = self.codec.lenient
        if self.whole and not lenient:
            raise _refused(name, "this call takes its fields from the body, and none from the query")
        try:
            found = parameter(descriptor_of(self.method.input), name)
        except Mismatch as mismatch:
            if lenient:
                return None
            raise _refused(name, mismatch.why) from None
        if self.whole or not self.bound.isdisjoint(_prefixes(found.path)):
            if lenient:
                return None
            raise _refused(name, "it is set elsewhere in the request", "TWICE")
        return found


def bindings_of(method: Method, codec: JsonCodec) -> Iterator[Binding]:
    """The bindings of a method: its rule, and the additional ones.

    Raises:
        ConfigurationError: a rule names what is not there, or its template is invalid.
    """
    for number, rule in enumerate(method.http):
        if number and rule.additional_bindings:
            raise _mistake(method, "additional_bindings have no additional_bindings of their own", ROUTE_RULE)
        yield binding_of(method, rule, codec)


def binding_of(method: Method, rule: HttpRule, codec: JsonCodec) -> Binding:
    """The binding of one rule, whatever additional ones it has.

    Raises:
        ConfigurationError: it names what is not there, or its template is invalid; the reason says which.
    """
    verb, template = _pattern(method, rule)
    message = descriptor_of(method.input)
    variables = tuple((variable, _variable(method, message, variable)) for variable in template.variables)
    whole = rule.body == "*"
    body = None if whole or not rule.body else _top(method, message, rule.body, "body")
    output, name = descriptor_of(method.output), rule.response_body
    reply = _top(method, output, name, "response_body") if name else None
    bound = {known.path for _, known in variables} | ({body.name} if body is not None else set())
    masked = verb == "PATCH" and body is not None and body.message_type is not None and not body.is_repeated
    return Binding(
        method=method,
        verb=verb,
        template=template,
        codec=codec,
        variables=variables,
        whole=whole,
        body=body,
        reply=reply,
        mask=_mask_field(message) if masked else None,
        bound=frozenset(bound),
    )


def _pattern(method: Method, rule: HttpRule) -> tuple[str, Template]:
    kind = rule.WhichOneof("pattern")
    if kind in _VERBS:
        verb, path = kind.upper(), getattr(rule, kind)
    elif kind == "custom":
        verb, path = rule.custom.kind.upper(), rule.custom.path
    else:
        raise _mistake(method, "a google.api.http rule has a verb and a path", ROUTE_RULE)
    if not verb:
        raise _mistake(method, "a custom rule names its verb in `kind`", ROUTE_RULE)
    try:
        return verb, parse(path)
    except ConfigurationError as error:
        raise _mistake(method, error.message.rstrip("."), ROUTE_TEMPLATE) from None


def _variable(method: Method, message: Descriptor, variable: Variable) -> Parameter:
    try:
        found = parameter(message, variable.path)
    except Mismatch as mismatch:
        raise _mistake(method, f"the path's variable `{variable.path}`: {mismatch.why}") from None
    if found.field.is_repeated:
        raise _mistake(method, f"the path's variable `{variable.path}` is repeated; a path holds one value")
    return found


def _top(method: Method, message: Descriptor, name: str, what: str) -> FieldDescriptor:
    found: FieldDescriptor | None = message.fields_by_name.get(name)
    if found is None:
        raise _mistake(method, f"{what} `{name}` is no field of {message.full_name}")
    return found


def _mask_field(message: Descriptor) -> FieldDescriptor | None:
    """The request's field mask, where it has exactly one."""
    masks = [
        field
        for field in message.fields
        if field.message_type is not None
        and field.message_type.full_name == well_known.FIELD_MASK
        and not field.is_repeated
    ]
    return masks[0] if len(masks) == 1 else None


def _mask_of(message: Descriptor | None, given: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """What a PATCH's body names, down to its leaves (AIP-134); an etag is a condition and no change."""
    for name, value in given.items():
        found = None if message is None else field_of(message, name)
        if found is None or (not prefix and found.name == "etag"):
            continue
        inner = found.message_type
        nested = inner is not None and not found.is_repeated and not is_special(inner)
        if nested and type(value) is dict and value:
            yield from _mask_of(inner, value, f"{prefix}{found.name}.")
        else:
            yield f"{prefix}{found.name}"


def _put(known: Parameter, name: str, convert: Any, value: Any, fields: dict[str, Any]) -> None:
    try:
        known.put(convert(value), fields)
    except Mismatch as mismatch:
        raise _refused(name, mismatch.why, "MALFORMED_REQUEST") from None


def _pairs(query: str) -> list[tuple[str, str]]:
    if "%" in query and BAD_ESCAPE.search(query):
        raise InvalidArgument("The percent-encoding of the query is invalid.", reason="MALFORMED_REQUEST")
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except UnicodeDecodeError:
        raise InvalidArgument("The query is not UTF-8.", reason="MALFORMED_REQUEST") from None
    except ValueError:
        raise InvalidArgument(f"The query has more than {MAX_PARAMETERS} parameters.", reason="TOO_MANY") from None


def _prefixes(path: str) -> Iterator[str]:
    """A path and those that lead to it."""
    names = path.split(".")
    return (".".join(names[:length]) for length in range(1, len(names) + 1))


def _is_http_body(field: FieldDescriptor) -> bool:
    message = field.message_type
    return message is not None and message.full_name == HTTP_BODY and not field.is_repeated


def _media(said: str) -> str:
    """A service's word for its bytes, unless it cannot stand in a header: it may be what a stranger once sent."""
    return said if said and said.isascii() and said.isprintable() else "application/octet-stream"


def _is_value(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == well_known.VALUE and not field.is_repeated


def _refused(name: str, why: str, reason: str = "UNKNOWN_PARAMETER") -> InvalidArgument:
    return InvalidArgument(f"The parameter `{name}`: {why}.", reason=reason, violations=[Violation(name, why)])


def _mistake(method: Method, what: str, reason: str = ROUTE_FIELD) -> ConfigurationError:
    return ConfigurationError(f"{method.full_name}: {what}.", reason=reason)
