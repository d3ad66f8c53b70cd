"""A policy file that can be obeyed, and of which a part has no effect: `laneway policy` tells it."""

from collections.abc import Collection, Iterator

from laneway.contract.findings import Finding, Rule, Severity
from laneway.contract.model import Method
from laneway.contract.tuning import Layers

TUNING_UNKNOWN = Rule("TUNING_UNKNOWN", "A policy file names what is no method and no service here.")
TUNING_ABOVE_CEILING = Rule(
    "TUNING_ABOVE_CEILING", "A policy file gives a call more time than its owner does.", Severity.WARNING
)
RULES = (TUNING_UNKNOWN, TUNING_ABOVE_CEILING)


def check(file: Layers, methods: Collection[Method]) -> Iterator[Finding]:
    """Applies the rules to a file, given all methods that it may name.

    Raises:
        ConfigurationError: what comes of the file cannot be obeyed for one of them.
    """
    for name in file.unknown(methods):
        yield TUNING_UNKNOWN.at(name, "it is no method and no service here", "correct its name, or remove it")
    for method in methods:
        asked, given = file.deadline_of(method), file.of(method).deadline
        if asked is not None and asked > given:
            yield TUNING_ABOVE_CEILING.at(
                method.full_name,
                f"its deadline is to be {asked:g} s and stays {given:g} s, its owner's ceiling",
                "lower it, or ask the owner for a higher `max_deadline`",
            )
