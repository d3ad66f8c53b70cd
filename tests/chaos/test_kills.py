"""Orders arrive while every service process is killed once and the broker is flushed: none is lost, and each is charged,
reserved and told of once."""

import asyncio
import random
import sqlite3
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis.asyncio

from tests.fixtures.shop import RunningShop

ORDERS = 200
IN_FLIGHT = 8
ACCEPTED_WITHIN = 60.0
ENDED_WITHIN = 150.0
IN_STOCK = 1_000_000
"""Of each product, in the beginning."""


async def place(client: httpx.AsyncClient, number: int) -> str:
    """Place an order as a patient client does: again with the same key, until it is acknowledged."""
    order = {
        "lines": [{"product": "products/book", "quantity": 1}],
        "email": f"customer{number}@example.org",
        "cardToken": "visa",
    }
    async with asyncio.timeout(ACCEPTED_WITHIN):
        while True:
            try:
                answer = await client.post("/v1/orders", json=order, headers={"Idempotency-Key": f"order-{number}"})
            except httpx.HTTPError:
                await asyncio.sleep(0.1)
                continue
            if answer.status_code == 200:
                return str(answer.json()["name"])
            assert answer.status_code in (409, 429, 500, 503, 504), answer.text
            await asyncio.sleep(float(answer.headers.get("retry-after", "0.1")) / 4)


async def states(client: httpx.AsyncClient) -> dict[str, str]:
    """All orders and their states, by the list; patient with an edge that is being killed."""
    page = (await client.get("/v1/orders", params={"page_size": 1000})).json()
    return {order["name"]: order["state"] for order in page["orders"]}


@pytest.mark.timeout(900)
async def test_killing_each_process_and_flushing_the_broker_loses_no_order(shop: RunningShop) -> None:
    victims = [
        name for name, process in shop.state["processes"].items() if process["role"] in ("grpc", "worker", "rest")
    ]
    random.Random(7).shuffle(victims)
    broker = redis.asyncio.Redis.from_url(f"redis://127.0.0.1:{shop.state['processes']['valkey']['port']}")
    queue: asyncio.Queue[int] = asyncio.Queue()
    for number in range(ORDERS):
        queue.put_nowait(number)
    acknowledged: list[str] = []
    progress = asyncio.Condition()

    async with httpx.AsyncClient(base_url=shop.url, timeout=15) as client:

        async def customer() -> None:
            while not queue.empty():
                acknowledged.append(await place(client, queue.get_nowait()))
                async with progress:
                    progress.notify_all()

        async def mischief() -> None:
            step = ORDERS // (len(victims) + 1)
            for count, name in enumerate(victims, 1):
                async with progress:
                    await progress.wait_for(lambda goal=count * step: len(acknowledged) >= goal)
                shop.kill(name)
                if count == len(victims) // 2:
                    await broker.flushall()

        async with asyncio.TaskGroup() as group:
            group.create_task(mischief())
            for _ in range(IN_FLIGHT):
                group.create_task(customer())

        assert len(set(acknowledged)) == ORDERS
        begin = time.monotonic()
        seen: dict[str, str] = {}
        while time.monotonic() - begin < ENDED_WITHIN:
            try:
                seen = await states(client)
            except (httpx.HTTPError, KeyError):
                seen = {}
            if all(seen.get(name) == "SHIPPED" for name in acknowledged):
                break
            await asyncio.sleep(0.2)
        left = {name: seen.get(name, "LOST") for name in acknowledged if seen.get(name) != "SHIPPED"}
        assert left == {}
        assert set(seen) == set(acknowledged)
        await charged_once(client, shop.state["urls"]["provider"])
        reserved_once(shop.data / "inventory.db", acknowledged)
        await mailed_once(client, shop.state["urls"]["mail"])
    await broker.aclose()


async def charged_once(client: httpx.AsyncClient, provider: str) -> None:
    """Each order was authorized once, and captured once; captures follow the shipment."""
    async with asyncio.timeout(ENDED_WITHIN):
        while True:
            books: list[dict[str, Any]] = (await client.get(f"{provider}/ledger")).json()["authorizations"]
            assert len(books) <= ORDERS
            assert all(entry["captured"] in (0, entry["amount"]) for entry in books)
            if len(books) == ORDERS and all(entry["captured"] for entry in books):
                return
            await asyncio.sleep(0.2)


def reserved_once(inventory: Path, orders: list[str]) -> None:
    """Each order holds its one book, and no other book has left the shelf."""
    with sqlite3.connect(f"file:{inventory}?mode=ro", uri=True) as database:
        held = Counter(name for (name,) in database.execute("SELECT order_name FROM reservations WHERE quantity = 1"))
        [(left,)] = database.execute("SELECT available FROM stock WHERE product = 'products/book'")
    database.close()
    assert held == Counter(orders)
    assert left == IN_STOCK - ORDERS


async def mailed_once(client: httpx.AsyncClient, mailbox: str) -> None:
    """Each customer has one mail; what was sent twice is one and the same, by its Message-ID."""
    async with asyncio.timeout(ENDED_WITHIN):
        while True:
            mails = {(mail["to"], mail["message_id"]) for mail in (await client.get(mailbox)).json()}
            told = Counter(to for to, _ in mails)
            assert max(told.values(), default=0) <= 1
            if len(told) == ORDERS:
                return
            await asyncio.sleep(0.2)
