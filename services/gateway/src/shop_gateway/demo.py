"""`make demo`: one order, from the click to the e-mail."""

import asyncio
import json
import uuid
from typing import Any

import httpx

from laneway.errors import DeadlineExceeded

PATIENCE = 45.0
"""Seconds for the whole walk."""

ORDER = {
    "lines": [{"product": "products/lamp", "quantity": 1}, {"product": "products/book", "quantity": 2}],
    "email": "ada@example.org",
    "cardToken": "visa",
}


async def demo(base_url: str, mail_url: str | None) -> str:
    """Place an order, wait until it has shipped and its mail has arrived; the id of its trace."""
    async with httpx.AsyncClient(base_url=base_url, timeout=PATIENCE) as client:
        placed = await client.post("/v1/orders", json=ORDER, headers={"Idempotency-Key": str(uuid.uuid4())})
        placed.raise_for_status()
        order = placed.json()
        print(f"placed   {order['name']}  {int(order['totalMinor']) / 100:.2f} {order['currency']}")
        try:
            async with asyncio.timeout(PATIENCE):
                await _watch(client, order["name"])
                mail = await _mail(client, mail_url, order["name"]) if mail_url else None
        except TimeoutError:
            raise DeadlineExceeded(f"{order['name']} was not shipped and mailed within {PATIENCE:g} s.") from None
        if mail is not None:
            print(f"e-mail   {mail['subject']}  to {mail['to']}")
    return placed.headers["traceparent"].split("-")[1]


async def _watch(client: httpx.AsyncClient, name: str) -> None:
    """Follow the order's server-sent events to its end."""
    async with client.stream("GET", f"/v1/{name}:watch", headers={"Accept": "text/event-stream"}) as events:
        async for line in events.aiter_lines():
            if line.startswith("data:"):
                print(f"state    {json.loads(line.removeprefix('data:'))['state']}")


async def _mail(client: httpx.AsyncClient, mail_url: str, name: str) -> dict[str, Any]:
    while True:
        for mail in (await client.get(mail_url)).json():
            if name in mail["subject"]:
                return dict(mail)
        await asyncio.sleep(0.1)
