"""`laneway breaking`: what a change of a contract takes away from those who use it today.

A family is a module with its `RULES` and one function that applies them to what was and what is. What a rule means is
in docs/breaking.md. Rules of the wire have the names of buf's.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from laneway.contract.breaking import effects, keys, lanes, names, services, validation, wire
from laneway.contract.findings import Finding, Placed, Rule
from laneway.contract.sources import Source

Family = Callable[[Source, Source], Iterator[Finding]]

_MODULES = (wire, names, services, keys, lanes, effects, validation)
_FAMILIES: Sequence[Family] = [module.check for module in _MODULES]

RULES: Sequence[Rule] = [rule for module in _MODULES for rule in module.RULES]
"""The rules of contracts, whatever lane carries their calls."""


def breaking(before: Source, after: Source, further: Iterable[Family] = ()) -> list[Placed]:
    """What all families find, `further` ones included, in the order of the files as they are now."""
    found = (finding for family in (*_FAMILIES, *further) for finding in family(before, after))
    placed = [after.placed(finding) for finding in found]
    return sorted(placed, key=lambda each: (each.place.file, each.place.line or 0, each.finding.rule.code))
