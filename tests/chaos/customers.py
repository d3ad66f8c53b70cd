"""Customers who order, some by a card that is declined, and some of whom change their minds."""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import httpx

PATIENCE = 240.0
"""Seconds until an order must have been acknowledged, whatever is being killed."""

BUSY = (409, 429, 500, 502, 503, 504)

SCARCE = "products/chair"
"""Of which there is less than what is ordered."""


@dataclass
class Customers:
    """What was acknowledged to whom. `progress` is notified of each order."""

    url: str
    seed: int
    placed: dict[int, str] = field(default_factory=dict)
    """Names of orders by the numbers of their customers."""
    refused: set[int] = field(default_factory=set)
    """Who was told that there is none left."""
    cancelled: set[str] = field(default_factory=set)
    progress: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def served(self) -> int:
        return len(self.placed) + len(self.refused)

    async def order(self, client: httpx.AsyncClient, number: int) -> None:
        """One customer's business, until it is acknowledged or refused."""
        chance = random.Random(f"{self.seed} {number}")
        product = chance.choices(["products/book", "products/lamp", SCARCE], [7, 2, 1])[0]
        order = {
            "lines": [{"product": product, "quantity": chance.randint(1, 3)}],
            "email": email(number),
            "cardToken": "declined" if chance.random() < 0.08 else "visa",
        }
        answer = await self._patiently(client, "/v1/orders", order, {"Idempotency-Key": f"order-{number}"})
        if answer.status_code == 200:
            name = str(answer.json()["name"])
            if chance.random() < 0.05:
                await self._cancel(client, name)
            self.placed[number] = name
        else:
            assert product == SCARCE, answer.text
            assert "NOT_AVAILABLE" in answer.text, answer.text
            self.refused.add(number)
        async with self.progress:
            self.progress.notify_all()

    async def _cancel(self, client: httpx.AsyncClient, name: str) -> None:
        answer = await self._patiently(client, f"/v1/{name}:cancel", {}, {})
        assert answer.status_code == 200 or "ORDER_CLOSED" in answer.text, answer.text
        if answer.status_code == 200:
            self.cancelled.add(name)

    async def _patiently(
        self, client: httpx.AsyncClient, path: str, body: dict[str, Any], headers: dict[str, str]
    ) -> httpx.Response:
        """The same request again and again, until it has an answer that is one."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    answer = await client.post(path, json=body, headers=headers)
                except httpx.HTTPError:
                    await asyncio.sleep(0.1)
                    continue
                if answer.status_code not in BUSY:
                    return answer
                await asyncio.sleep(float(answer.headers.get("retry-after", "0.1")) / 4)


def email(number: int) -> str:
    return f"customer{number}@example.org"
