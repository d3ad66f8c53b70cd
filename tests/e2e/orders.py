"""Customers of a deployed shop: they order at a steady rate, try again with the same key, and remember every answer."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

from laneway.cli import traces

ORDER = {
    "lines": [{"product": "products/book", "quantity": 1}],
    "email": "ada@example.org",
    "cardToken": "visa",
}
ENDED = {"SHIPPED", "REJECTED", "CANCELLED"}


@dataclass
class Customers:
    """A load of orders, from entering to leaving the block."""

    url: str
    rate: float
    acknowledged: list[str] = field(default_factory=list)
    refusals: list[tuple[float, str]] = field(default_factory=list)
    """When, and what was answered instead of an acknowledgement: a status with its Retry-After, or an exception."""
    traces: list[str] = field(default_factory=list)
    """Ids of the traces of the answers among the refusals."""

    async def __aenter__(self) -> Self:
        self._begun = time.monotonic()
        self._client = httpx.AsyncClient(base_url=self.url, timeout=15)
        self._orders: set[asyncio.Task[None]] = set()
        self._arrivals = asyncio.create_task(self._arrive())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._arrivals.cancel()
        await asyncio.gather(self._arrivals, return_exceptions=True)
        if error is not None:
            for order in self._orders:
                order.cancel()
        await asyncio.gather(*self._orders, return_exceptions=error is not None)
        await self._client.aclose()

    async def _arrive(self) -> None:
        while True:
            order = asyncio.create_task(self._order())
            self._orders.add(order)
            await asyncio.sleep(1 / self.rate)

    async def _order(self) -> None:
        key = str(uuid.uuid4())
        async with asyncio.timeout(120):
            while True:
                try:
                    answer = await self._client.post("/v1/orders", json=ORDER, headers={"Idempotency-Key": key})
                except httpx.HTTPError as error:
                    self._refused(type(error).__name__)
                else:
                    if answer.status_code == httpx.codes.OK:
                        self.acknowledged.append(answer.json()["name"])
                        return
                    after = answer.headers.get("retry-after")
                    self._refused(f"{answer.status_code} {'with' if after else 'without'} Retry-After")
                    self.traces.append(traces.named(answer.headers["traceparent"]))
                await asyncio.sleep(0.3)

    @property
    def seconds(self) -> float:
        """Since the first came."""
        return time.monotonic() - self._begun

    async def answered(self) -> None:
        """Wait until a newcomer is answered: a connection of old outlives the way to the edge."""
        async with asyncio.timeout(60):
            while True:
                try:
                    async with httpx.AsyncClient(base_url=self.url, timeout=15) as newcomer:
                        await newcomer.get("/v1/orders")
                    return
                except httpx.HTTPError:
                    await asyncio.sleep(0.1)

    def _refused(self, what: str) -> None:
        self.refusals.append((self.seconds, what))

    def summary(self) -> dict[str, int]:
        """What was answered, and how often."""
        return {"200": len(self.acknowledged), **Counter(what for _, what in self.refusals)}


async def all_ended(url: str, names: Iterable[str], within: float = 120) -> Counter[str]:
    """Wait until every order is in a final state; how many are in which."""
    missing = set(names)
    ends: Counter[str] = Counter()
    async with httpx.AsyncClient(base_url=url, timeout=15) as client:
        try:
            async with asyncio.timeout(within):
                while missing:
                    for name, state in (await _states(client)).items():
                        if name in missing and state in ENDED:
                            missing.discard(name)
                            ends[state] += 1
                    await asyncio.sleep(0.5)
        except TimeoutError:
            raise AssertionError(
                f"{len(missing)} orders have not ended within {within:g} s: {sorted(missing)[:5]}"
            ) from None
    return ends


async def _states(client: httpx.AsyncClient) -> dict[str, str]:
    states, token = {}, ""
    while True:
        try:
            answer = await client.get("/v1/orders", params={"page_size": 1000, "page_token": token})
        except httpx.HTTPError:
            return states
        if answer.status_code != httpx.codes.OK:
            return states
        page: dict[str, Any] = answer.json()
        states |= {order["name"]: order["state"] for order in page.get("orders", ())}
        token = page.get("nextPageToken", "")
        if not token:
            return states
