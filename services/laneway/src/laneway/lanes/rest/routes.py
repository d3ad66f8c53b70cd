"""Lint and breaking changes of REST routes, by the code that serves them: what a start would refuse is found before."""

from collections.abc import Iterator

from google.protobuf.descriptor import FieldDescriptor

from laneway.contract.breaking.pairs import kept
from laneway.contract.findings import Finding, Rule, by_code
from laneway.contract.model import Method
from laneway.contract.sources import Source
from laneway.errors import ConfigurationError
from laneway.lanes.rest.binding import ROUTE_FIELD, ROUTE_RULE, ROUTE_TEMPLATE, Binding, binding_of
from laneway.lanes.rest.codec import JsonCodec
from laneway.lanes.rest.router import Router
from laneway.lanes.rest.template import Segment

DUPLICATE = Rule("ROUTE_DUPLICATE", "Two routes are the same.")
GET_WRITES = Rule("ROUTE_GET_WRITES", "A GET may change something.")
GET_BODY = Rule("ROUTE_GET_BODY", "A GET has a body.")
LINT_RULES = (
    Rule(ROUTE_RULE, "A route has no verb, or nests its additional bindings."),
    Rule(ROUTE_TEMPLATE, "The path of a route is no template."),
    Rule(ROUTE_FIELD, "A route names a field that is not there, or cannot be in its place."),
    DUPLICATE,
    GET_WRITES,
    GET_BODY,
)

ROUTE_REMOVED = Rule("ROUTE_REMOVED", "A method has no REST route any more.")
ROUTE_MOVED = Rule("ROUTE_MOVED", "A REST path or its verb has moved.")
ROUTE_VARIABLE_MOVED = Rule("ROUTE_VARIABLE_MOVED", "A part of a path goes into another field.")
ROUTE_BODY_CHANGED = Rule("ROUTE_BODY_CHANGED", "A request's body means something else.")
ROUTE_RESPONSE_BODY_CHANGED = Rule("ROUTE_RESPONSE_BODY_CHANGED", "A reply's body is another part of it.")
BREAKING_RULES = (ROUTE_REMOVED, ROUTE_MOVED, ROUTE_VARIABLE_MOVED, ROUTE_BODY_CHANGED, ROUTE_RESPONSE_BODY_CHANGED)

_REFUSED = by_code([LINT_RULES])
_REMEDIES = {
    ROUTE_RULE: "see google/api/http.proto",
    ROUTE_TEMPLATE: "see the grammar in google/api/http.proto",
    ROUTE_FIELD: "name a field of the message as the contract spells it",
}


def lint(source: Source) -> Iterator[Finding]:
    """Applies lint's rules to every route."""
    codec = JsonCodec()
    router = Router([], codec)
    for method in source.methods.values():
        for place, rule in enumerate(method.http):
            if place and rule.additional_bindings:
                yield _refused(ROUTE_RULE, method, "additional_bindings have additional_bindings of their own")
            try:
                binding = binding_of(method, rule, codec)
            except ConfigurationError as error:
                yield _refused(error.reason or ROUTE_RULE, method, _why(error, method))
                continue
            try:
                router.add(binding)
            except ConfigurationError as error:
                yield DUPLICATE.at(method.full_name, error.message.partition(";")[0], "change one")
            yield from _of_get(method, binding)


def _of_get(method: Method, binding: Binding) -> Iterator[Finding]:
    if binding.verb != "GET":
        return
    if not method.reads:
        yield GET_WRITES.at(
            method.full_name,
            "what lies between may repeat, prefetch and keep a GET",
            "declare `idempotency_level = NO_SIDE_EFFECTS`, or use another verb",
        )
    if binding.whole or binding.body is not None:
        yield GET_BODY.at(
            method.full_name, "what lies between may drop it", "take the fields from the query, or use POST"
        )


def _refused(code: str, method: Method, why: str) -> Finding:
    return _REFUSED[code].at(method.full_name, why, _REMEDIES[code])


def _why(error: ConfigurationError, method: Method) -> str:
    return error.message.removeprefix(f"{method.full_name}: ").rstrip(".")


def breaking(before: Source, after: Source) -> Iterator[Finding]:
    """Applies the rules of changes to every method that had routes."""
    for was, now in kept(before.methods, after.methods):
        old, new = _routes(was), _routes(now)
        for signature, binding in old.items():
            if signature in new:
                yield from _of_route(now.full_name, binding, new[signature])
            elif new:
                yield ROUTE_MOVED.at(
                    now.full_name, f"{_shown(binding)} is not answered any more", "keep it in `additional_bindings`"
                )
        if old and not new:
            shown = ", ".join(map(_shown, old.values()))
            yield ROUTE_REMOVED.at(now.full_name, f"{shown} is not answered any more", "keep its google.api.http")


Signature = tuple[str, tuple[Segment, ...], str]


def _routes(method: Method) -> dict[Signature, Binding]:
    """The routes that can be served, by what they match."""
    codec, found = JsonCodec(), {}
    for rule in method.http:
        try:
            binding = binding_of(method, rule, codec)
        except ConfigurationError:
            continue
        found[binding.verb, binding.template.segments, binding.template.verb] = binding
    return found


def _of_route(name: str, was: Binding, now: Binding) -> Iterator[Finding]:
    old, new = ({(each.begin, each.end): each.path for each in binding.template.variables} for binding in (was, now))
    if old != new:
        fields = " and ".join(sorted({*old.values()} ^ {*new.values()}) or sorted(old.values()))
        yield ROUTE_VARIABLE_MOVED.at(name, f"{_shown(now)}: see {fields}", "let the path fill the fields that it did")
    if (was.whole, _name(was.body)) != (now.whole, _name(now.body)):
        yield ROUTE_BODY_CHANGED.at(
            name, f"{_shown(now)}: the body was {_body(was)} and is {_body(now)}", "keep it, or add a route"
        )
    if _name(was.reply) != _name(now.reply):
        yield ROUTE_RESPONSE_BODY_CHANGED.at(
            name,
            f"{_shown(now)}: it was {_name(was.reply) or 'the reply'} and is {_name(now.reply) or 'the reply'}",
            "keep it, or add a route",
        )


def _shown(binding: Binding) -> str:
    return f"{binding.verb} {binding.template.text}"


def _name(field: FieldDescriptor | None) -> str | None:
    return None if field is None else str(field.name)


def _body(binding: Binding) -> str:
    return "the request" if binding.whole else _name(binding.body) or "none"
