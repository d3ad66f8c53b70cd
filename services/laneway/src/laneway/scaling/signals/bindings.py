"""Which queues an exchange of kombu's Redis transport leads to.

`kombu/transport/redis.py`, `_queue_bind`: an exchange is the set `_kombu.binding.<exchange>`, each member of it a
routing key, a regular expression where the exchange is a topic's, and a queue. The expression is not used: it comes
from outside, and the routing key says the same.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


def binding_key(exchange: str) -> str:
    """Where an exchange's bindings are, but for the application's prefix."""
    return f"_kombu.binding.{exchange}"


@dataclass(frozen=True, slots=True)
class Binding:
    """One way from an exchange to a queue; `words` are those of a topic, None where keys are compared whole."""

    key: str
    words: Sequence[str] | None
    queue: str

    def takes(self, routing_key: str) -> bool:
        """Whether a message goes this way."""
        if self.words is None:
            return self.key == routing_key
        return _matches(self.words, routing_key.split("."))


def bindings_in(members: Iterable[bytes], separator: str) -> tuple[Binding, ...]:
    """The bindings of an exchange.

    Raises:
        ValueError: a member is none.
    """
    split = (member.decode().split(separator) for member in members)
    return tuple(Binding(key, key.split(".") if pattern else None, queue) for key, pattern, queue in split)


def _matches(pattern: Sequence[str], words: Sequence[str]) -> bool:
    """Whether words fit a topic: `*` is one of them, `#` one or more, as kombu's `TopicExchange` has it."""
    reached = {0}
    for part in pattern:
        if part == "#":
            reached = set(range(min(reached, default=len(words)) + 1, len(words) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(words) and part in (words[at], "*" if words[at] else None)}
    return len(words) in reached
