"""Lint and breaking changes of REST routes, by the code that serves them: what a start would refuse is found before."""

from collections.abc import Iterator

from laneway.contract.findings import Finding, Rule, by_code
from laneway.contract.model import Method
from laneway.contract.sources import Source
from laneway.errors import ConfigurationError
from laneway.lanes.rest.binding import ROUTE_FIELD, ROUTE_RULE, ROUTE_TEMPLATE, Binding, binding_of
from laneway.lanes.rest.codec import JsonCodec
from laneway.lanes.rest.router import Router

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
