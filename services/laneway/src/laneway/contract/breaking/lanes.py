"""How calls and events travel: a lane that is closed, a queue or an order that is another."""

from collections.abc import Iterator

from laneway.contract.breaking.pairs import kept
from laneway.contract.findings import Finding, Rule
from laneway.contract.model import Method, published
from laneway.contract.sources import Source

QUEUE_REMOVED = Rule("QUEUE_REMOVED", "A call cannot be started any more.")
QUEUE_ONLY = Rule("QUEUE_ONLY", "A call cannot be awaited any more.")
QUEUE_RENAMED = Rule("QUEUE_RENAMED", "A queue has another name.")
ORDER_CHANGED = Rule("ORDER_CHANGED", "Messages are ordered by another key, or by none.")
SUBSCRIPTION_ADDED = Rule("SUBSCRIPTION_ADDED", "A method became a subscription, and cannot be called any more.")
SUBSCRIPTION_REMOVED = Rule("SUBSCRIPTION_REMOVED", "A method does not subscribe any more.")
EVENT_UNPUBLISHED = Rule("EVENT_UNPUBLISHED", "An event is not published any more.")
RULES = (
    QUEUE_REMOVED, QUEUE_ONLY, QUEUE_RENAMED, ORDER_CHANGED, SUBSCRIPTION_ADDED, SUBSCRIPTION_REMOVED,
    EVENT_UNPUBLISHED,
)  # fmt: skip


def check(before: Source, after: Source) -> Iterator[Finding]:
    """Applies the rules to every method, and to every event."""
    for was, now in kept(before.methods, after.methods):
        yield from _of_lanes(was, now)
        if was.work is not None and now.work is not None:
            yield from _of_queue(was, now)
            yield from _of_order(now.full_name, was.work.order_by, now.work.order_by)
    for old, event in kept(before.messages, after.messages):
        if published(old) and not published(event):
            yield EVENT_UNPUBLISHED.at(
                event.full_name,
                "a service that listens to it is refused at its start",
                "publish it as long as anybody listens",
            )


def _of_lanes(was: Method, now: Method) -> Iterator[Finding]:
    name = now.full_name
    if was.policy.subscription and not now.policy.subscription:
        yield SUBSCRIPTION_REMOVED.at(
            name,
            "its producer goes on writing deliveries that nobody runs",
            "keep it, doing nothing, until its producer has forgotten it",
        )
    if now.policy.subscription and not was.policy.subscription:
        yield SUBSCRIPTION_ADDED.at(name, "who calls it is refused", "add a method beside it")
        return
    if was.policy.queue and not now.policy.queue:
        yield QUEUE_REMOVED.at(
            name,
            "who starts it is refused, and what waits in its queue is parked",
            "keep `queue` until nobody starts it",
        )
    if was.awaitable and not now.awaitable:
        yield QUEUE_ONLY.at(name, "who awaits it is refused", "use ALLOWED until all callers start it")


def _of_queue(was: Method, now: Method) -> Iterator[Finding]:
    if was.queue_name != now.queue_name:
        yield QUEUE_RENAMED.at(
            now.full_name,
            f"its queue was `{was.queue_name}` and is `{now.queue_name}`: what waits in the old one has no worker",
            "keep the name, or let workers of both run until the old one is empty",
        )


def _of_order(name: str, old: str | None, new: str | None) -> Iterator[Finding]:
    if old != new:
        yield ORDER_CHANGED.at(
            name,
            f"its messages were ordered by {old or 'nothing'} and are by {new or 'nothing'}",
            "drain the queue first, and see that nobody relies on the order",
        )
