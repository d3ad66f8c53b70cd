"""Which binding answers a verb on a raw path: a trie, so that a route costs the same among ten as among a thousand.

A literal beats `*`, and `*` beats `**`, segment by segment from the left; a path that ends in a verb some route has is
that route's before it is any other's. A route is only found where it has the HTTP verb: one without it hides no other.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

from laneway.contract.model import Method
from laneway.errors import ConfigurationError
from laneway.lanes.rest.binding import Binding, bindings_of
from laneway.lanes.rest.codec import JsonCodec
from laneway.lanes.rest.template import Wildcard

ANY_VERB = "*"
"""The verb of a `custom` rule that leaves it unspecified."""


@dataclass(frozen=True, slots=True)
class Match:
    """A binding, and the segments of the path that it matched: raw, and without the template's verb."""

    binding: Binding
    parts: Sequence[str]


@dataclass(slots=True)
class _Node:
    literals: dict[str, "_Node"] = field(default_factory=dict)
    one: "_Node | None" = None
    many: dict[str, Binding] = field(default_factory=dict)
    ends: dict[str, Binding] = field(default_factory=dict)


class Router:
    """The routes of an edge.

    Raises:
        ConfigurationError: a rule is invalid, or two routes are the same.
    """

    def __init__(self, methods: Iterable[Method], codec: JsonCodec) -> None:
        self.bindings: list[Binding] = []
        self._roots: dict[str, _Node] = {}
        self._verbs: set[str] = set()
        for method in methods:
            for binding in bindings_of(method, codec):
                self.add(binding)

    def match(self, verb: str, path: str) -> Match | None:
        """The route of a verb on a raw path."""
        for root, parts in self._readings(path):
            literals = [unquote(part) for part in parts] if "%" in path else parts
            binding = _find(root, literals, 0, verb)
            if binding is not None:
                return Match(binding, parts)
        return None

    def allowed(self, path: str) -> list[str]:
        """The verbs that a path has."""
        return [verb for verb in sorted(self._verbs) if self.match(verb, path) is not None]

    def _readings(self, path: str) -> Iterator[tuple[_Node, Sequence[str]]]:
        if path[:1] != "/":
            return
        parts = path[1:].split("/")
        if ":" in parts[-1]:
            last, _, verb = parts[-1].rpartition(":")
            root = self._roots.get(unquote(verb)) if verb else None
            if root is not None:
                yield root, [*parts[:-1], last]
        if (root := self._roots.get("")) is not None:
            yield root, parts

    def add(self, binding: Binding) -> None:
        """Take a route in.

        Raises:
            ConfigurationError: another answers the same.
        """
        template = binding.template
        node = self._roots.setdefault(template.verb, _Node())
        ends = node.ends
        for segment in template.segments:
            if segment is Wildcard.MANY:
                ends = node.many
                break
            if segment is Wildcard.ONE:
                node.one = node.one or _Node()
                node = node.one
            else:
                node = node.literals.setdefault(str(segment), _Node())
            ends = node.ends
        known = ends.setdefault(binding.verb, binding)
        if known is not binding:
            raise ConfigurationError(
                f"{known.method.full_name} and {binding.method.full_name} both answer "
                f"{binding.verb} {template.text}; change one."
            )
        self._verbs.add(binding.verb)
        self.bindings.append(binding)


def _find(node: _Node, parts: Sequence[str], at: int, verb: str) -> Binding | None:
    if at < len(parts):
        part = parts[at]
        child = node.literals.get(part)
        found = None if child is None else _find(child, parts, at + 1, verb)
        if found is None and node.one is not None and part:
            found = _find(node.one, parts, at + 1, verb)
        if found is not None:
            return found
    elif (found := node.ends.get(verb) or node.ends.get(ANY_VERB)) is not None:
        return found
    # `**` takes what is left, also nothing.
    return node.many.get(verb) or node.many.get(ANY_VERB)
