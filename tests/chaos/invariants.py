"""What must hold of a shop that has come to rest, whatever was done to it. Each check gives sentences: what is wrong."""

import asyncio
import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from sqlalchemy import func, select

from laneway.domain.saga import Outcome
from laneway.domain.upcasting import Upcasters
from laneway.errors import LanewayError
from laneway.history.log import EventLog
from laneway.store import Store, events, subscriptions
from laneway.store.compile import Row
from laneway.store.events import START, Event
from laneway.store.schema import outbox
from shop.payments.v1.events_pb2 import PaymentAuthorized, PaymentCaptured, PaymentDeclined, PaymentRefunded
from shop_fulfilment.domain import Fulfilment
from shop_inventory.domain import reservations, stock
from shop_orders.domain import UPCASTERS, Order, orders
from shop_orders.domain import State as OrderState
from shop_payments.domain import State as PaymentState
from shop_payments.domain import payments
from tests.chaos import trouble
from tests.chaos.customers import Customers, email
from tests.chaos.mischief import KEYS, Done
from tests.chaos.shop import SERVICES, TroubledShop

TIMER = "shop.fulfilment.v1.Fulfilment.ExpirePayment"
"""Waits for a quarter of an hour beside each order; nobody waits for it."""

LOOK_AGAIN = 1.0

TERMINAL = (OrderState.SHIPPED, OrderState.REJECTED, OrderState.CANCELLED)


async def at_rest(shop: TroubledShop, within: float) -> str:
    """Wait until every message has come to its end and every event was told; what is left, if it takes too long."""
    looks, left = 0, ""
    try:
        async with asyncio.timeout(within):
            while looks < 2:  # a message may pass from one database to another between two of a look
                left = await _left(shop)
                looks = 0 if left else looks + 1
                await asyncio.sleep(LOOK_AGAIN)
    except TimeoutError:
        return left
    return ""


async def _left(shop: TroubledShop) -> str:
    found = []
    for name, store in shop.stores.items():
        try:
            found += [f"{name}: {each}" async for each in _left_of(store)]
        except LanewayError as error:
            found.append(f"{name}: {error.message}")
    return "; ".join(found)


async def _left_of(store: Store) -> Any:
    alive = (
        select(outbox.c.method, func.count().label("number"))
        .where(outbox.c.parked_at.is_(None), outbox.c.method != TIMER)
        .group_by(outbox.c.method)
    )
    for row in await store.fetch(alive):
        yield f"{row.number} messages for {row.method}"
    for each in await subscriptions.all(store):
        if await events.read_after(store, each.cursor, [each.event_type], 1):
            yield f"events for {each.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Everything that is written down about the orders of a run."""

    customers: Customers
    done: Done
    orders: Mapping[str, Row]
    histories: Mapping[str, Order]
    sagas: Mapping[str, Fulfilment]
    payments: Mapping[str, Row]
    ledger: Mapping[str, Mapping[str, Any]]
    stock: Mapping[str, int]
    stock_before: Mapping[str, int]
    reservations: Sequence[Row]
    parked: Mapping[str, str]
    mails: Counter[tuple[str, str]]
    notes: Sequence[Row]
    counts: Sequence[int]
    heard: Sequence[str]
    logs: Mapping[str, Sequence[Event]]


async def read(shop: TroubledShop, customers: Customers, done: Done, stock_before: Mapping[str, int]) -> Books:
    """Read them all."""
    of = shop.stores
    async with httpx.AsyncClient(timeout=60) as client:
        ledger = (await client.get(f"{shop.running.state['urls']['provider']}/ledger")).json()["authorizations"]
    known = {row.name: row for row in await of["orders"].fetch(select(orders))}
    parked = select(outbox.c.id, outbox.c.error).where(outbox.c.parked_at.is_not(None))
    own = of[trouble.OWNER]
    return Books(
        customers=customers,
        done=done,
        orders=known,
        histories={
            name: await EventLog(of["orders"], UPCASTERS).load(Order, name.removeprefix("orders/")) for name in known
        },
        sagas={name: await EventLog(own, Upcasters()).load(Fulfilment, name) for name in known},
        payments={row.order: row for row in await of["payments"].fetch(select(payments))},
        ledger={entry["id"]: entry for entry in ledger},
        stock=await stock_of(shop),
        stock_before=stock_before,
        reservations=await of["inventory"].fetch(select(reservations)),
        parked={row.id: str(row.error) for store in of.values() for row in await store.fetch(parked)},
        mails=Counter(
            (to, subject) for to, subject, _ in {(m.to, m.subject, m.message_id) for m in shop.mailbox.mails()}
        ),
        notes=await own.fetch(select(trouble.notes).order_by(trouble.notes.c.serial)),
        counts=[row.number for row in await own.fetch(select(trouble.counts))],
        heard=[row.order for row in await own.fetch(select(trouble.heard))],
        logs={name: await _log(store) for name, store in of.items()},
    )


async def stock_of(shop: TroubledShop) -> Mapping[str, int]:
    return {row.product: row.available for row in await shop.stores["inventory"].fetch(select(stock))}


async def _log(store: Store) -> list[Event]:
    found: list[Event] = []
    cursor = START
    while page := await events.read_after(store, cursor, limit=5_000):
        found += page
        cursor = page[-1].cursor
    return found


def violations(books: Books) -> list[str]:
    """What is not as it was promised."""
    checks = (_ended, _shown, _charged, _reserved, _parked, _mailed, _in_order, _once, _traced)
    return [sentence for check in checks for sentence in check(books)]


def story(books: Books, name: str) -> list[str]:
    """What happened to an order, for who looks for the cause."""
    told = [
        (event.recorded_at, f"{service}: {event.stream} {event.version} {event.type.rpartition('.')[2]}")
        for service, log in books.logs.items()
        for event in log
        if _order_of(event) == name
    ]
    return [f"{at:.3f} {what}" for at, what in sorted(told)]


def _ended(books: Books) -> Iterator[str]:
    acknowledged = set(books.customers.placed.values())
    for name in acknowledged - books.orders.keys():
        yield f"{name} was acknowledged, and is not there"
    for name in books.orders.keys() - acknowledged:
        yield f"{name} is there, and nobody has placed it"
    if len(acknowledged) != len(books.customers.placed):
        yield "two customers have one order"
    for name, row in books.orders.items():
        saga = books.sagas[name]
        if row.state not in TERMINAL:
            yield f"{name} is {OrderState.Name(row.state)}, which is no end"
        if not saga.done:
            yield f"the saga of {name} has not ended, or owes something"
        if row.state == OrderState.SHIPPED and saga.outcome is not Outcome.COMPLETED:
            yield f"{name} is SHIPPED, and its saga {saga.outcome}"
        if row.state == OrderState.REJECTED and saga.outcome is not Outcome.COMPENSATED:
            yield f"{name} is REJECTED, and its saga {saga.outcome}"
    for name in books.customers.cancelled:
        if books.orders[name].state != OrderState.CANCELLED:
            yield f"the cancellation of {name} was acknowledged, and it is not CANCELLED"


def _shown(books: Books) -> Iterator[str]:
    """The rows that customers see are a fold of the log. Views are compared by `laneway events verify`."""
    for name, row in books.orders.items():
        told = books.histories[name].message
        if (row.state, row.total_minor, row.currency) != (told.state, told.total_minor, told.currency):
            yield f"the row of {name} is not what its log tells"


def _charged(books: Books) -> Iterator[str]:
    of_rows = Counter(row.authorization for row in books.payments.values() if row.authorization)
    for id, entry in books.ledger.items():
        if of_rows[id] != 1:
            yield f"the provider holds {entry['amount']} under {id}, which {of_rows[id]} payments know of"
        if entry["captured"] not in (0, entry["amount"]) or entry["refunded"] not in (0, entry["captured"]):
            yield f"of {entry['amount']} under {id}, {entry['captured']} were captured, {entry['refunded']} given back"
    for name in books.orders:
        yield from _charge_of(name, books)
    captured = sum(entry["captured"] - entry["refunded"] for entry in books.ledger.values())
    owed = sum(books.orders[name].total_minor for name, saga in books.sagas.items() if _completed(saga))
    if captured != owed:
        yield f"the provider has taken {captured}, and what was shipped costs {owed}"


def _charge_of(name: str, books: Books) -> Iterator[str]:
    payment = books.payments.get(name)
    entry = books.ledger.get(payment.authorization) if payment is not None else None
    if _completed(books.sagas[name]):
        if payment is None or entry is None or payment.state != PaymentState.CAPTURED:
            yield f"{name} was shipped, and is not paid"
        elif (entry["captured"], entry["refunded"]) != (books.orders[name].total_minor, 0):
            yield f"{name} costs {books.orders[name].total_minor}, and {entry['captured']} were taken"
    elif entry is not None and entry["open"]:
        yield f"{name} was not shipped, and its money is held"


def _reserved(books: Books) -> Iterator[str]:
    held: Counter[str] = Counter()
    of_orders: dict[str, Counter[str]] = defaultdict(Counter)
    for row in books.reservations:
        held[row.product] += row.quantity
        of_orders[row.order_name][row.product] += row.quantity
    for product, before in books.stock_before.items():
        if books.stock[product] < 0:
            yield f"there are {books.stock[product]} of {product}"
        if books.stock[product] + held[product] != before:
            yield f"of {before} {product}, {books.stock[product]} are left and {held[product]} reserved"
    for name in books.orders:
        lines = books.histories[name].message.lines
        wanted = (
            Counter({line.product: line.quantity for line in lines}) if _completed(books.sagas[name]) else Counter()
        )
        if of_orders[name] != wanted:
            yield f"for {name}, {dict(of_orders[name])} is reserved instead of {dict(wanted)}"


def _completed(saga: Fulfilment) -> bool:
    return saga.outcome is Outcome.COMPLETED and not saga.compensating


def _parked(books: Books) -> Iterator[str]:
    for id in set(books.done.poison) - books.parked.keys():
        yield f"{id} cannot be done, and is not parked"
    for id in books.parked.keys() - set(books.done.poison):
        yield f"{id} was parked: {books.parked[id]}"


def _mailed(books: Books) -> Iterator[str]:
    """Each customer hears the end, and each of its mails is one, by its Message-ID."""
    for (to, subject), number in books.mails.items():
        if number != 1:
            yield f"{to} has {number} mails `{subject}`"
    told = {to for to, _ in books.mails}
    for number, name in books.customers.placed.items():
        if email(number) not in told:
            yield f"{email(number)} has heard nothing of {name}"


def _in_order(books: Books) -> Iterator[str]:
    numbers: dict[str, list[int]] = defaultdict(list)
    for row in books.notes:
        numbers[row.key].append(row.number)
    for key in (f"key-{number}" for number in range(KEYS)):
        wanted = list(range(books.done.noted))
        if numbers[key] != wanted:
            at = next((i for i, pair in enumerate(zip(numbers[key], wanted, strict=False)) if pair[0] != pair[1]), -1)
            yield f"the {len(numbers[key])} messages of {key} are not {len(wanted)} in order, from place {at} on"


def _once(books: Books) -> Iterator[str]:
    for number, times in (Counter(range(books.done.flooded)) - Counter(books.counts)).items():
        yield f"call {number} of the flood was not done, {times} time"
    for number, times in (Counter(books.counts) - Counter(range(books.done.flooded))).items():
        yield f"call {number} of the flood was done {times} times too often"
    for name, times in (Counter(books.orders.keys()) - Counter(books.heard)).items():
        yield f"the subscriber has not heard of {name}, {times} time"
    for name, times in (Counter(books.heard) - Counter(books.orders.keys())).items():
        yield f"the subscriber has heard of {name} {times} times too often"


def _traced(books: Books) -> Iterator[str]:
    """All that happened because an order was placed, in whatever service, carries the trace of its placing."""
    traces: dict[str, set[str]] = defaultdict(set)
    for log in books.logs.values():
        for event in log:
            _, trace, *_ = event.metadata["traceparent"].split("-")
            traces[_order_of(event)].add(trace)
    cancelled = {name for name, row in books.orders.items() if row.state == OrderState.CANCELLED}
    for name in books.orders:
        most = 2 if name in cancelled else 1  # a cancellation is a request of its own
        if not 1 <= len(traces[name]) <= most:
            yield f"what happened to {name} lies in {len(traces[name])} traces"


def _order_of(event: Event) -> str:
    """The order of which an event tells: of what payments tell, in the event; else in its stream's name."""
    if event.type in _OF_PAYMENTS:
        return str(_OF_PAYMENTS[event.type].FromString(event.payload).order)
    return f"orders/{event.stream.rpartition('/')[2]}"


_OF_PAYMENTS: Mapping[str, Any] = {
    kind.DESCRIPTOR.full_name: kind for kind in (PaymentAuthorized, PaymentCaptured, PaymentDeclined, PaymentRefunded)
}


async def verified(shop: TroubledShop) -> list[str]:
    """What `laneway events verify` finds wrong: versions with gaps, what cannot be read, views unlike the log."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LANEWAY_")}
    environment |= {name: value for name, value in shop.environment.items() if name != "PYTHONPATH"}
    arguments = ("events", "verify", *SERVICES, "--data", str(shop.running.data), "--format", "json")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "laneway.cli", *arguments, env=environment | {"PYTHONPATH": shop.environment["PYTHONPATH"]},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await process.communicate()
    reports = json.loads(said)
    wrong = [f"{name}: {sentence}" for name, report in reports.items() for sentence in report["wrong"]]
    assert bool(wrong) == (process.returncode != 0)
    assert reports["orders"]["events"], "the log that was looked at is empty"
    return wrong
