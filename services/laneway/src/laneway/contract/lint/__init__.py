"""`laneway lint`: mistakes of a contract that a program can see, each found by one rule of a family.

A family is a module with its `RULES` and one function that applies them. What a rule means, with a contract that it
finds something in and one that it does not, is in docs/lint.md.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from laneway.contract.findings import Finding, Placed, Rule
from laneway.contract.lint import calls, contradictions, ignored, keys, times, unreachable
from laneway.contract.sources import Source

Family = Callable[[Source], Iterator[Finding]]

RULES: Sequence[Rule] = (
    *contradictions.RULES,
    *keys.RULES,
    *times.RULES,
    *unreachable.RULES,
    *calls.RULES,
    *ignored.RULES,
)
"""The rules of contracts, whatever lane carries their calls."""

_FAMILIES: Sequence[Family] = (contradictions.check, keys.check, times.check, unreachable.check, calls.check)


def lint(source: Source, further: Iterable[Family] = ()) -> list[Placed]:
    """What all families find, `further` ones included, by place; without what is ignored on purpose."""
    found = [finding for family in (*_FAMILIES, *further) for finding in family(source)]
    placed = [source.placed(finding) for finding in ignored.without(found, source)]
    return sorted(placed, key=lambda each: (each.place.file, each.place.line or 0, each.finding.rule.code))
