"""Path templates of google/api/http.proto.

    Template = "/" Segments [ Verb ] ;  Segments = Segment { "/" Segment } ;
    Segment  = "*" | "**" | LITERAL | Variable ;  Variable = "{" FieldPath [ "=" Segments ] "}" ;
    FieldPath = IDENT { "." IDENT } ;  Verb = ":" LITERAL ;

A variable holds no other variable, and `**` is the last segment. Literals are kept decoded, so that a reserved
character and its percent-encoded form are the same.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote, unquote_to_bytes

from laneway.errors import ConfigurationError, InvalidArgument

_LITERAL = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()+,;=@]|%[0-9A-Fa-f]{2})+")
_IDENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SLASH = re.compile(r"(%2[Ff])")


class Wildcard(Enum):
    """What a segment may be other than literal text."""

    ONE = "*"
    MANY = "**"


Segment = str | Wildcard


@dataclass(frozen=True, slots=True)
class Variable:
    """A field path that takes the segments `begin` to `end` of the path; `end` is None for what `**` takes."""

    path: str
    begin: int
    end: int | None
    single: bool
    """It takes exactly one segment, and so may hold a slash."""

    def value(self, parts: Sequence[str]) -> str:
        """What it takes of a raw path, decoded.

        Raises:
            InvalidArgument: the percent-encoding is none, or not of UTF-8.
        """
        if self.single:
            return decoded(parts[self.begin], self.path)
        return "/".join(_decoded_but_slash(part, self.path) for part in parts[self.begin : self.end])


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template."""

    text: str
    segments: tuple[Segment, ...]
    variables: tuple[Variable, ...]
    verb: str
    """Without its colon, decoded; empty where there is none."""


def parse(text: str) -> Template:
    """Parse a template.

    Raises:
        ConfigurationError: it is none; says where, counted from 0, and why.
    """
    return _Parser(text).template()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._segments: list[Segment] = []
        self._variables: list[Variable] = []

    def template(self) -> Template:
        self._take("/", "a template begins with `/`")
        self._segment()
        while self._took("/"):
            self._segment()
        verb = self._literal("a verb has a name") if self._took(":") else ""
        if self._at < len(self._text):
            raise self._wrong(f"`{self._text[self._at]}` cannot be here")
        return Template(self._text, tuple(self._segments), tuple(self._variables), verb)

    def _segment(self) -> None:
        if self._took("{"):
            self._variable()
        else:
            self._plain()

    def _plain(self) -> None:
        if self._took("**"):
            self._add(Wildcard.MANY)
        elif self._took("*"):
            self._add(Wildcard.ONE)
        else:
            self._add(self._literal("expected a literal, `*`, `**` or `{field}`"))

    def _add(self, segment: Segment) -> None:
        if self._segments and self._segments[-1] is Wildcard.MANY:
            raise self._wrong("`**` is the last segment", self._text.index("**"))
        self._segments.append(segment)

    def _variable(self) -> None:
        place, begin = self._at - 1, len(self._segments)
        path = self._field_path()
        if self._took("="):
            self._plain()
            while self._took("/"):
                self._plain()
        else:
            self._add(Wildcard.ONE)
        self._take("}", "expected `}`")
        if any(known.path == path for known in self._variables):
            raise self._wrong(f"`{path}` is bound twice", place)
        taken = self._segments[begin:]
        end = None if taken[-1] is Wildcard.MANY else len(self._segments)
        self._variables.append(Variable(path, begin, end, single=taken == [Wildcard.ONE]))

    def _field_path(self) -> str:
        begin = self._at
        self._identifier()
        while self._took("."):
            self._identifier()
        return self._text[begin : self._at]

    def _identifier(self) -> None:
        found = _IDENT.match(self._text, self._at)
        if found is None:
            raise self._wrong("expected the name of a field")
        self._at = found.end()

    def _literal(self, why: str) -> str:
        found = _LITERAL.match(self._text, self._at)
        if found is None:
            raise self._wrong(why)
        self._at = found.end()
        return unquote(found[0])

    def _take(self, token: str, why: str) -> None:
        if not self._took(token):
            raise self._wrong(why)

    def _took(self, token: str) -> bool:
        if not self._text.startswith(token, self._at):
            return False
        self._at += len(token)
        return True

    def _wrong(self, why: str, place: int | None = None) -> ConfigurationError:
        at = self._at if place is None else place
        return ConfigurationError(f"The path template `{self._text}` is invalid at position {at}: {why}.")


def decoded(text: str, what: str) -> str:
    """Percent-decoded text; `what` names it in the error."""
    if "%" not in text:
        return text
    if BAD_ESCAPE.search(text):
        raise InvalidArgument(f"The percent-encoding of `{what}` in the path is invalid.", reason="MALFORMED_REQUEST")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise InvalidArgument(f"`{what}` in the path is not UTF-8.", reason="MALFORMED_REQUEST") from None


def _decoded_but_slash(part: str, what: str) -> str:
    """A slash inside a segment of several stays encoded, or it would make two of one."""
    if "%" not in part:
        return part
    return "".join(piece if _SLASH.fullmatch(piece) else decoded(piece, what) for piece in _SLASH.split(part))
