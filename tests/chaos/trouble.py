"""Fulfilment, with methods beside its own whose effects say what was done how often, and some that nobody survives.

Installed for a run alone, in the place of the shop's: its messages run in the worker that runs the saga. None of its
effects is idempotent by itself, and none has a key: what keeps them single is the inbox.
"""

import asyncio
import ctypes
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from sqlalchemy import Column, Integer, MetaData, Table, Text, insert

from laneway.call import Call
from laneway.client import Lanes
from laneway.contract.model import Method, method_of
from laneway.errors import Unavailable
from laneway.lanes.operation import queued
from laneway.service import Service
from laneway.store.outbox import OutboxMessage
from shop_fulfilment.service import service as fulfilment
from tests.fixtures.protos import service_of

OWNER = "fulfilment"

HEAD = """
syntax = "proto3";
package trouble.v1;
import "google/protobuf/empty.proto";
import "laneway/v1/call.proto";
import "shop/orders/v1/events.proto";
message Request { optional string key = 1; optional int32 number = 2; }
"""

BODY = """
service Trouble {
  rpc Note(Request) returns (google.protobuf.Empty) {
    option idempotency_level = IDEMPOTENT;
    option (laneway.v1.call) = {
      queue {use: ONLY name: "notes" order_by: "key" max_attempts: 100
             initial_backoff {nanos: 50000000} max_backoff {seconds: 1}}
    };
  }
  rpc Count(Request) returns (google.protobuf.Empty) {
    option idempotency_level = IDEMPOTENT;
    option (laneway.v1.call) = {queue {use: ONLY name: "counts" max_attempts: 100}};
  }
  rpc Raise(Request) returns (google.protobuf.Empty) {
    option idempotency_level = IDEMPOTENT;
    option (laneway.v1.call) = {queue {use: ONLY name: "poison" max_attempts: 3 initial_backoff {nanos: 50000000}}};
  }
  rpc Hang(Request) returns (google.protobuf.Empty) {
    option idempotency_level = IDEMPOTENT;
    option (laneway.v1.call) = {
      queue {use: ONLY name: "poison" max_attempts: 2 run_timeout {seconds: 1} initial_backoff {nanos: 50000000}}
    };
  }
  rpc Segfault(Request) returns (google.protobuf.Empty) {
    option idempotency_level = IDEMPOTENT;
    option (laneway.v1.call) = {queue {use: ONLY name: "poison" max_attempts: 2}};
  }
  rpc OnOrderPlaced(shop.orders.v1.OrderPlaced) returns (google.protobuf.Empty) {
    option (laneway.v1.call) = {subscribe {queue: "heard" from_start: true}};
  }
}
"""

metadata = MetaData()

notes = Table(
    "trouble_notes",
    metadata,
    Column("serial", Integer, primary_key=True, autoincrement=True),
    Column("key", Text, nullable=False),
    Column("number", Integer, nullable=False),
)
counts = Table(
    "trouble_counts",
    metadata,
    Column("serial", Integer, primary_key=True, autoincrement=True),
    Column("number", Integer, nullable=False),
)
heard = Table(
    "trouble_heard",
    metadata,
    Column("serial", Integer, primary_key=True, autoincrement=True),
    Column("order", Text, nullable=False),
)


class Trouble:
    """The handlers."""

    def __init__(self) -> None:
        self._done = GetMessageClass(descriptor().methods_by_name["Note"].output_type)
        self._failed_once: set[tuple[str, int]] = set()

    async def note(self, request: Any, call: Call) -> Message:
        told = (request.key, request.number)
        if request.number % 7 == 0 and told not in self._failed_once:
            self._failed_once.add(told)
            raise Unavailable("It is tried again, before what comes after it.")
        call.execute(insert(notes), [{"key": request.key, "number": request.number}])
        return self._done()

    async def count(self, request: Any, call: Call) -> Message:
        call.execute(insert(counts), [{"number": request.number}])
        return self._done()

    async def raise_(self, request: Any, call: Call) -> Message:
        raise RuntimeError("poison")

    async def hang(self, request: Any, call: Call) -> Message:
        await asyncio.Event().wait()
        return self._done()

    async def segfault(self, request: Any, call: Call) -> Message:
        ctypes.string_at(0)
        return self._done()

    async def on_order_placed(self, event: Any, call: Call) -> Message:
        call.execute(insert(heard), [{"order": event.order}])
        return self._done()


@cache
def descriptor() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return service_of(Path(folder), BODY, head=HEAD)


def method(name: str) -> Method:
    """One of the methods, as its owner has it."""
    return replace(method_of(descriptor().methods_by_name[name]), owner=OWNER)


def message(name: str, id: str, now: float, *, key: str = "", number: int = 0) -> OutboxMessage:
    """A call of one, as it stands in the outbox of whoever started it."""
    of = method(name)
    return queued(of, of.input(key=key, number=number), id, {}, now)


def service(lanes: Lanes) -> Service:
    """Fulfilment, as it is installed for a run."""
    own, trouble = fulfilment(lanes), Trouble()
    return own.bind(
        descriptor(),
        {
            "Note": trouble.note,
            "Count": trouble.count,
            "Raise": trouble.raise_,
            "Hang": trouble.hang,
            "Segfault": trouble.segfault,
            "OnOrderPlaced": trouble.on_order_placed,
        },
    )
