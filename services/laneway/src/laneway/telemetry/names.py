"""The names of spans, attributes and headers.

Attributes follow OpenTelemetry's semantic conventions for RPC, HTTP, messaging and databases; the headers are
Laneway's wire format.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType

LANE = "laneway.lane"
IS_DEGRADED = "laneway.degraded"
REASON = "laneway.reason"
ATTEMPT_NUMBER = "laneway.attempt"
BREAKER_STATE = "laneway.breaker.state"

PRINTABLE = " !#$&'()*+,/:;<=>?@[]^`{|}\"\\"
"""Printable ASCII that a header carries unquoted, besides what `urllib.parse.quote` leaves alone; not `%`."""

IDEMPOTENCY_KEY = "idempotency-key"
ATTEMPT = "laneway-attempt"
DEGRADED = "laneway-degraded"
REPLAYED = "idempotent-replayed"
TENANT = "laneway-tenant"
PRINCIPAL = "laneway-principal"
MESSAGE_ID = "laneway-id"
ENQUEUED_AT = "laneway-enqueued-at"
START_BY = "laneway-start-by"
PRODUCER = "laneway-producer"
SCHEDULED_AT = "laneway-scheduled-at"

ANSWER_HEADERS = ("content-language", "etag", "last-modified", "link", "location")
"""What a handler may say about its answer besides the message; kept with it, and replayed."""


@cache
def rpc_span(service: str, method: str) -> str:
    """`shop.orders.v1.Orders/PlaceOrder`."""
    return f"{service}/{method}"


@cache
def rpc(service: str, method: str, lane: str = "grpc") -> Mapping[str, str]:
    """Attributes of a span of a gRPC call, either side."""
    return MappingProxyType({"rpc.system": "grpc", "rpc.service": service, "rpc.method": method, LANE: lane})


def fallback_span(service: str, method: str) -> str:
    """`fallback shop.inventory.v1.Inventory/CheckStock`."""
    return f"fallback {service}/{method}"


def publish_span(queue: str) -> str:
    """`publish fulfilment.bulk`."""
    return f"publish {queue}"


def process_span(queue: str) -> str:
    """`process fulfilment.bulk`."""
    return f"process {queue}"


def project_span(view: str) -> str:
    """`project bestsellers`."""
    return f"project {view}"


def projecting(events: int) -> dict[str, str | int]:
    """Attributes of the span of a batch of events that a view takes in."""
    return {"messaging.batch.message_count": events, "messaging.operation.type": "process", LANE: "event"}


def messaging(queue: str, message_id: str, operation: str) -> dict[str, str]:
    """Attributes of a span of a message; `operation` is `send` or `process`."""
    return {
        "messaging.system": "valkey",
        "messaging.destination.name": queue,
        "messaging.message.id": message_id,
        "messaging.operation.type": operation,
        "messaging.operation.name": "publish" if operation == "send" else operation,
        LANE: "queue",
    }


def http_span(verb: str, route: str) -> str:
    """`POST /v1/orders`."""
    return f"{verb} {route}"


def http(verb: str, route: str, scheme: str) -> Mapping[str, str]:
    """Attributes of the span of an HTTP request at the edge; `scheme` is `http` or `https`."""
    return {"http.request.method": verb, "http.route": route, "url.scheme": scheme, LANE: "rest"}


def database_span(operation: str, tables: Sequence[str] = ()) -> str:
    """`SELECT orders`, `COMMIT`."""
    return " ".join((operation, *tables))


def database(system: str, operation: str, tables: Sequence[str] = (), *, batch: int = 1) -> dict[str, str | int]:
    """Attributes of a span of a database; `system` is `sqlite` or `postgresql`, `batch` the statements in one."""
    told: dict[str, str | int] = {"db.system.name": system, "db.operation.name": operation, LANE: "sql"}
    if len(tables) == 1:
        told["db.collection.name"] = tables[0]
    if batch > 1:
        told["db.operation.batch.size"] = batch
    return told
