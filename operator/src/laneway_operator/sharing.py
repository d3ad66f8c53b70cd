"""Queues of one broker that several pools consume. Pure.

Their pods drain in one set, and each pool is sized for all that waits: two of them ask for twice the pods. That may be
meant for a while, when one takes over from the other; so it is said, and not refused.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from laneway.scaling.model import Fact
from laneway.scaling.signals import Source

Consumers = Mapping[str, Sequence[Source]]
"""The pools of each queue, by the queue's key."""


def consumers(sources: Iterable[Source]) -> Consumers:
    """Who consumes each queue of a broker."""
    found: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        for queue in source.queues:
            found[source.prefix + queue].append(source)
    return found


def pods_of_others(source: Source, known: Consumers) -> set[str]:
    """The pods of other pools that consume a pool's queues, whose drains are not its to take back."""
    pods = {pod for queue in source.queues for other in known[source.prefix + queue] for pod in other.pods}
    return pods.difference(source.pods)


def shared(source: Source, known: Consumers) -> Fact | None:
    """That others consume a pool's queues, if they do."""
    for queue in source.queues:
        others = sorted(other.pool for other in known[source.prefix + queue] if other.pool != source.pool)
        if others:
            said = (
                f"The queue {queue} is also in {' and '.join(others)}: each of these WorkerPools asks for the pods "
                "that all of it needs. Name it in one."
            )
            return Fact(holds=True, reason="SharedQueue", message=said)
    return None
