"""The name of a new service, and every other name that follows from it. Pure: looks at no file."""

import keyword
import re
from dataclasses import dataclass

from laneway.contract.model import owner_of, python_name
from laneway.errors import ConfigurationError

LONGEST = 24
"""Letters of a name: with more, lines of what is made would be too long, and a host's name as a release makes it."""

BESIDE = frozenset({
    "default", "edge", "grafana", "jaeger", "mailbox", "migrate", "postgres", "postgresql", "prometheus", "provider",
    "valkey",
})  # fmt: skip
"""What runs beside the services of a release, and the users and databases that its backends have of their own."""

VOCABULARY = frozenset({"buf", "google", "laneway", "shop"})
"""In a package of such a name, protoc would look there for what a contract imports."""

LIBRARY = frozenset({"call", "client", "handlers", "lanes", "notfound", "path", "pb", "queued", "service"})
"""What the code of every service imports."""


@dataclass(frozen=True, slots=True)
class Name:
    """`price-alerts`: words, of which a service, its contract and its tables are named."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> "Name":
        """The name that was typed.

        Raises:
            ConfigurationError: no service can have it.
        """
        wrong = _wrong(text)
        if wrong:
            raise ConfigurationError(f"A service cannot be called `{text}`: {wrong}.")
        return cls(tuple(re.split(r"[-_]", text)))

    @property
    def service(self) -> str:
        """`pricealerts`: part of the contract's package and of a host's name, which share no dash and no underscore."""
        return "".join(self.words)

    @property
    def title(self) -> str:
        """`PriceAlerts`: the service in its contract, and the class of its handlers."""
        return _camel(self.words)

    @property
    def resource(self) -> str:
        """`PriceAlert`: what there is one of; of a name that is no plural, an item."""
        *first, last = self.words
        return _camel((*first, *_singular(last)))

    @property
    def plural(self) -> tuple[str, ...]:
        """The words of what there are many of."""
        *_, last = self.words
        return self.words if _singular(last) != (last, "item") else (*self.words, "items")

    def placeholders(self) -> dict[str, str]:
        """What the templates ask for."""
        first, *rest = self.plural
        return {
            "service": self.service,
            "title": self.title,
            "resource": self.resource,
            "one": python_name(self.resource),
            "words": " ".join(self.plural),
            "collection": first + _camel(tuple(rest)),
            "table": "_".join(self.plural),
        }


def _wrong(text: str) -> str:
    """Why this is no name; empty if it is one."""
    joined = re.sub(r"[-_]", "", text)
    reasons = {
        "use small letters and digits in words that begin with a letter, joined by dashes or underscores, as in "
        "`price-alerts`": not re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z][a-z0-9]*)*", text)
        or ("-" in text and "_" in text),
        f"it has more than {LONGEST} letters": len(text) > LONGEST,
        "it is a keyword of Python": keyword.iskeyword(joined) or keyword.issoftkeyword(joined),
        "it reads as the version of a contract": owner_of(f"shop.{joined}.v1") != joined,
        "something else that is deployed with the services has this name": joined in BESIDE,
        "contracts import a package of this name": joined in VOCABULARY,
        "the code of every service has something of this name": joined in LIBRARY,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _singular(word: str) -> tuple[str, ...]:
    if word.endswith("ies") and len(word) > 4:
        return (f"{word[:-3]}y",)
    if word.endswith("s") and not word.endswith(("ss", "us", "is", "ics")) and len(word) > 3:
        return (word[:-1],)
    return (word, "item")


def _camel(words: tuple[str, ...]) -> str:
    return "".join(word.capitalize() for word in words)
