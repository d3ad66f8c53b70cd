"""A message as kombu's Redis transport and Celery's protocol 2 put it on a list.

Wire format: kombu/transport/virtual/base.py (`prepare_message`), kombu/transport/redis.py (`_put`), and
https://docs.celeryq.dev/en/stable/internals/protocol.html. The payload is the protobuf message, base64, as the
task's only argument; Laneway's own headers stand beside Celery's. A task of a plain application is what that would send
itself. docs/celery.md is for who reads or writes them elsewhere.
"""

import base64
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from laneway.store.outbox import OutboxMessage, name_in_broker
from laneway.telemetry import names

CALL_HEADERS = (
    names.IDEMPOTENCY_KEY, names.TENANT, names.PRINCIPAL, names.SCHEDULED_AT, "traceparent", "tracestate", "baggage",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A copy of a message as a worker takes it. Times are seconds since the epoch."""

    id: str
    method: str
    payload: bytes
    producer: str
    attempt: int
    enqueued_at: float
    start_by: float | None
    headers: Mapping[str, str]


def queue_of(message: OutboxMessage) -> str:
    """The queue's name in the broker."""
    return name_in_broker(message.service, message.queue)


def encode(message: OutboxMessage, *, producer: str, now: float) -> bytes:
    """The copy to push on the queue's list."""
    if message.service:
        arguments, given = [base64.b64encode(message.payload).decode()], {}
        headers = _own_headers(message, producer, now)
    else:
        arguments, given = json.loads(message.payload)
        headers = {}
    body = json.dumps([arguments, given, _NO_CANVAS])
    envelope = {
        "body": base64.b64encode(body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": message.method,
            "id": message.id,
            "root_id": message.id,
            "parent_id": None,
            "group": None,
            "retries": 0,
            "eta": None,
            "expires": None,
            "timelimit": [None, None],
            "argsrepr": "(…)",  # where there is none, Celery makes one of the payload, for its log
            "kwargsrepr": "{}",
            "origin": producer,
            "ignore_result": bool(message.service),
            **headers,
            **{name: value for name, value in message.headers.items() if name in CALL_HEADERS},
        },
        "properties": {
            "correlation_id": message.id,
            "reply_to": "",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue_of(message)},
            "priority": message.priority,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),  # of the copy: two of one message are acknowledged apart
        },
    }
    return json.dumps(envelope).encode()


def _own_headers(message: OutboxMessage, producer: str, now: float) -> dict[str, str]:
    return {
        names.MESSAGE_ID: message.id,
        names.PRODUCER: producer,
        names.ENQUEUED_AT: str(now),
        names.ATTEMPT: str(message.attempts + 1),
        **({} if message.start_by is None else {names.START_BY: str(message.start_by)}),
    }


def decode(method: str, argument: str, headers: Mapping[str, Any]) -> Delivery:
    """What a task was given: its argument and its message's headers.

    Raises:
        KeyError, ValueError: it was not written by `encode`.
    """
    start_by = headers.get(names.START_BY)
    return Delivery(
        id=str(headers[names.MESSAGE_ID]),
        method=method,
        payload=base64.b64decode(argument, validate=True),
        producer=str(headers[names.PRODUCER]),
        attempt=int(headers[names.ATTEMPT]),
        enqueued_at=float(headers[names.ENQUEUED_AT]),
        start_by=None if start_by is None else float(start_by),
        headers={name: str(headers[name]) for name in _DELIVERED if headers.get(name) is not None},
    )


_DELIVERED = (*CALL_HEADERS, names.PRODUCER)
_NO_CANVAS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
