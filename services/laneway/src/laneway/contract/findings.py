"""What a reading of a contract finds: by which rule, where, what is wrong, and what to do.

Must not know any rule.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """How sure a rule is: a warning may be meant, and then says so with a reason (`laneway:ignore`)."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is written; a descriptor set may know no more than the file."""

    file: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a rule found: `element` is the full name of what it is about."""

    rule: "Rule"
    element: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule. Its code is stable: scripts and comments name it; its title is its entry's in the documents."""

    code: str
    title: str
    severity: Severity = Severity.ERROR

    def at(self, element: str, message: str, remedy: str) -> Finding:
        """What it found about an element."""
        return Finding(self, element, message, remedy)


@dataclass(frozen=True, slots=True)
class Placed:
    """A finding and its place."""

    finding: Finding
    place: Place


def by_code(families: Iterable[Iterable[Rule]]) -> dict[str, Rule]:
    """The rules of some families by their codes."""
    return {rule.code: rule for family in families for rule in family}
