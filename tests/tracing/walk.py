"""The way of one order, as its trace shows it: over gRPC, events, queues, a provider and a mail server."""

import secrets

from tests.tracing.language import Trace, calls, edge, process, project, publish, serves

PLACED = serves("orders", "*/PlaceOrder")
BY_SAGA = PLACED >> publish("fulfilment.saga", "orders") >> process("fulfilment.saga")
PAID = BY_SAGA >> publish("payments.provider") >> process("payments.provider")
SHIPPED = PAID >> publish("fulfilment.saga", "payments") >> process("fulfilment.saga") >> publish("fulfilment.bulk")
TOLD = SHIPPED >> process("fulfilment.bulk") >> publish("notifications.events") >> process("notifications.events")

WALK = (
    PLACED >> edge("orders", "catalog", "*/GetProduct"),
    PLACED >> edge("orders", "inventory", "*/CheckStock"),
    PLACED >> project("bestsellers"),
    BY_SAGA >> edge("fulfilment", "inventory", "*/Reserve"),
    PAID >> calls("payments", "POST authorizations"),
    SHIPPED >> process("fulfilment.bulk") >> publish("orders.events") >> process("orders.events"),
    TOLD >> publish("notifications.email") >> process("notifications.email") >> calls("notifications", "SMTP send"),
)


def chosen() -> tuple[str, str]:
    """The id of a trace, and the `traceparent` of a caller in it."""
    trace_id = secrets.token_hex(16)
    return trace_id, f"00-{trace_id}-{secrets.token_hex(8)}-01"


def missing(trace: Trace) -> list[str]:
    """What the trace of an order does not show, or shows wrongly; its caller's own span is nowhere."""
    found = [str(path) for path in WALK if not trace.shows(path)]
    orphans = [
        f"an orphan: {span.service} {span.name}" for span in trace.orphans if not span.name.endswith("/PlaceOrder")
    ]
    return [*found, *orphans, *(f"times do not add up: {each}" for each in trace.discords)]
