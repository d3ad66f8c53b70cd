"""Which method answers a verb on a raw path: literal before `*` before `**`."""

from collections.abc import Iterable
from dataclasses import dataclass

from google.api.http_pb2 import HttpRule

from laneway.contract.model import Method
from laneway.errors import ConfigurationError
from laneway.lanes.rest.template import Template, parse


@dataclass(frozen=True, slots=True)
class Route:
    """One binding of a method."""

    verb: str
    template: Template
    rule: HttpRule
    method: Method


@dataclass(frozen=True, slots=True)
class Match:
    """A route and the values of its variables, decoded."""

    route: Route
    variables: dict[str, str]


class Router:
    """The routes of an edge.

    Raises:
        ConfigurationError: a template is invalid, or two routes are the same.
    """

    def __init__(self, methods: Iterable[Method]) -> None:
        routes = [_route(method, rule) for method in methods for rule in method.http]
        self._routes = sorted(routes, key=lambda route: route.template.precedence)
        known: dict[tuple[object, ...], Route] = {}
        for route in self._routes:
            shape = (route.verb, route.template.segments, route.template.verb)
            if shape in known:
                raise ConfigurationError(
                    f"{known[shape].method.full_name} and {route.method.full_name} both answer "
                    f"{route.verb} {route.template.text}; change one."
                )
            known[shape] = route

    def match(self, verb: str, path: str) -> Match | None:
        """The route of a verb on a raw path."""
        for route in self._routes:
            if route.verb == verb and (variables := route.template.match(path)) is not None:
                return Match(route, variables)
        return None

    def allowed(self, path: str) -> list[str]:
        """The verbs that a path has."""
        return sorted({route.verb for route in self._routes if route.template.match(path) is not None})


def _route(method: Method, rule: HttpRule) -> Route:
    pattern = rule.WhichOneof("pattern")
    if pattern == "custom":
        return Route(rule.custom.kind.upper(), parse(rule.custom.path), rule, method)
    return Route(str(pattern).upper(), parse(getattr(rule, str(pattern))), rule, method)
