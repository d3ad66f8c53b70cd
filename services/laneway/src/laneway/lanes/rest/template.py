"""Path templates of google/api/http.proto, matched on the raw, still percent-encoded path.

Template = "/" Segments [ Verb ] ;  Segments = Segment { "/" Segment } ;
Segment  = "*" | "**" | LITERAL | Variable ;  Variable = "{" FieldPath [ "=" Segments ] "}" ;  Verb = ":" LITERAL ;
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from laneway.errors import ConfigurationError

_SEGMENT = re.compile(r"\{([^{}=]+)(?:=([^{}]+))?\}|(\*\*|\*)|([^{}/*:]+)")
_FIELD_PATH = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*", re.IGNORECASE)
_RESERVED = re.compile(r"%(2[Ff])")


@dataclass(frozen=True, slots=True)
class Variable:
    """A field path that takes the segments `begin` to `end` of the path; `end` is None for what `**` takes."""

    path: str
    begin: int
    end: int | None
    single: bool


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template: its segments (literals, `*`, `**`), variables and verb."""

    text: str
    segments: tuple[str, ...]
    variables: tuple[Variable, ...]
    verb: str

    @property
    def precedence(self) -> tuple[tuple[int, ...], bool]:
        """Sorts templates so that a literal comes before `*`, and `*` before `**`; a verb before none."""
        return tuple({"*": 1, "**": 2}.get(segment, 0) for segment in self.segments), not self.verb

    def match(self, path: str) -> dict[str, str] | None:
        """The variables' values in a raw path, or None."""
        if self.verb:
            path, separator, verb = path.rpartition(":")
            if not separator or unquote(verb) != self.verb:
                return None
        parts = path.removeprefix("/").split("/")
        return self._values(parts) if self._fits(parts) else None

    def _fits(self, parts: list[str]) -> bool:
        fixed = self.segments[:-1] if self.segments[-1] == "**" else self.segments
        if len(parts) < len(fixed) or (len(parts) > len(fixed) and fixed is self.segments):
            return False
        return all(
            part != "" if segment == "*" else unquote(part) == segment
            for segment, part in zip(fixed, parts, strict=False)
        )

    def _values(self, parts: list[str]) -> dict[str, str]:
        return {
            variable.path: unquote(parts[variable.begin])
            if variable.single
            else "/".join(_decode_but_slash(part) for part in parts[variable.begin : variable.end])
            for variable in self.variables
        }


def parse(text: str) -> Template:
    """Parse a template.

    Raises:
        ConfigurationError: it is none; says where.
    """
    if not text.startswith("/"):
        raise _invalid(text, 0, "a template begins with `/`")
    body, verb = _split_verb(text)
    segments: list[str] = []
    variables: list[Variable] = []
    position = 1
    while True:
        found = _SEGMENT.match(body, position)
        if found is None:
            raise _invalid(text, position, "expected a literal, `*`, `**` or `{field}`")
        if found[1] is not None:
            variables.append(_variable(text, position, found[1], found[2] or "*", segments))
        else:
            segments.append(found[3] or found[4])
        position = found.end()
        if position == len(body):
            break
        if body[position] != "/":
            raise _invalid(text, position, "expected `/`")
        position += 1
    if "**" in segments[:-1]:
        raise _invalid(text, text.index("**"), "`**` is the last segment")
    if len({variable.path for variable in variables}) < len(variables):
        raise _invalid(text, 0, "a field is bound twice")
    return Template(text, tuple(segments), tuple(variables), verb)


def _variable(text: str, position: int, path: str, pattern: str, segments: list[str]) -> Variable:
    if not _FIELD_PATH.fullmatch(path):
        raise _invalid(text, position, f"`{path}` is no field path")
    begin, inner = len(segments), pattern.split("/")
    if any(not _SEGMENT.fullmatch(segment) for segment in inner):
        raise _invalid(text, position, f"`{pattern}` is no pattern")
    segments.extend(inner)
    end = None if inner[-1] == "**" else begin + len(inner)
    return Variable(path, begin, end, single=inner == ["*"])


def _split_verb(text: str) -> tuple[str, str]:
    cut = text.rfind(":")
    if cut == -1 or cut < max(text.rfind("/"), text.rfind("}")):
        return text, ""
    if cut == len(text) - 1:
        raise _invalid(text, cut, "a verb has a name")
    return text[:cut], text[cut + 1 :]


def _decode_but_slash(part: str) -> str:
    """A slash inside a segment of several stays encoded, or it would make two of one."""
    return "".join(piece if _RESERVED.fullmatch(piece) else unquote(piece) for piece in re.split("(%2[Ff])", part))


def _invalid(text: str, position: int, why: str) -> ConfigurationError:
    return ConfigurationError(f"The path template `{text}` is invalid at position {position}: {why}.")
