"""Findings that are meant: `// laneway:ignore CODE: why` in a comment of what they are about."""

import re
from collections.abc import Iterable, Iterator

from laneway.contract.comments import IGNORE
from laneway.contract.findings import Finding, Rule
from laneway.contract.sources import Source

IGNORE_WITHOUT_REASON = Rule("IGNORE_WITHOUT_REASON", "A rule is ignored, and nobody says why.")
IGNORE_UNUSED = Rule("IGNORE_UNUSED", "A rule is ignored that finds nothing.")
RULES = (IGNORE_WITHOUT_REASON, IGNORE_UNUSED)

_IGNORE = re.compile(IGNORE + r"[ \t]+([A-Z_]+)[ \t]*:?[ \t]*(.*)")


def without(found: Iterable[Finding], source: Source) -> Iterator[Finding]:
    """The findings that are not ignored, and what is wrong with the comments that ignore."""
    reasons = {
        (element, code): reason.strip()
        for element, comment in source.comments()
        for code, reason in _IGNORE.findall(comment)
    }
    used = set()
    for finding in found:
        asked = (finding.element, finding.rule.code)
        used.add(asked)
        if not reasons.get(asked):
            yield finding
    for element, code in reasons:
        if (element, code) not in used:
            yield IGNORE_UNUSED.at(element, f"{code} finds nothing here", "remove the comment")
        elif not reasons[element, code]:
            yield IGNORE_WITHOUT_REASON.at(
                element,
                f"{code} is ignored without a reason",
                f"write it: `laneway:ignore {code}: why it is right here`",
            )
