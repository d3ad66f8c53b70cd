"""What no process can obey: a start refuses it as well (`laneway.contract.model`), only later and one by one."""

from collections.abc import Iterator

from laneway.contract.findings import Finding, Rule, by_code
from laneway.contract.model import contradictions, mixed_queues
from laneway.contract.sources import Source

RULES = (
    Rule("VALUE_OUT_OF_RANGE", "A number has no meaning at its place."),
    Rule("QUEUE_NAME", "A queue's name cannot be used as one."),
    Rule("QUEUE_ON_STREAM", "A stream is queued."),
    Rule("QUEUE_NOT_IDEMPOTENT", "A queued call has no idempotency, and is delivered at least once."),
    Rule("QUEUE_MIXED", "Methods of one queue do not agree on whether it is cpu_bound."),
    Rule("ORDER_FIELD", "The key of an order is no single string of the request, or of the event."),
    Rule("QUEUE_AND_SUBSCRIBE", "A method is queued, and subscribes as well."),
    Rule("SUBSCRIBE_UNPUBLISHED", "A subscription listens to an event that is not published."),
    Rule("SUBSCRIBE_RETURNS", "A subscription returns something."),
    Rule("SUBSCRIBE_HTTP", "A subscription has a REST route."),
    Rule("KEY_FIELD", "The idempotency key is no single string of the request."),
    Rule("KEY_ON_STREAM", "A stream has an idempotency key."),
    Rule("FALLBACK_ON_STREAM", "A stream has a fallback."),
    Rule("FALLBACK_LAST_GOOD_OF_WRITE", "A write falls back to the last good answer."),
    Rule("FALLBACK_QUEUE_UNQUEUED", "A call falls back to a queue that it cannot be put into."),
)
_BY_CODE = by_code([RULES])


def check(source: Source) -> Iterator[Finding]:
    """The contradictions of every method, and those among methods of a queue."""
    methods = source.methods.values()
    alone = ((method, found) for method in methods for found in contradictions(method))
    for method, found in (*alone, *mixed_queues(methods)):
        yield _BY_CODE[found.code].at(method.full_name, found.why, found.remedy)
