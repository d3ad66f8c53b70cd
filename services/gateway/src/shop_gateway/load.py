"""`laneway load`: orders, placed at the door."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx

from shop_gateway.demo import ORDER

PATIENCE = 10.0
"""Seconds that a customer waits."""


@asynccontextmanager
async def orders(base_url: str) -> AsyncIterator[Callable[[], Awaitable[str]]]:
    """Places one order for each call."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=base_url, timeout=PATIENCE, limits=limits) as client:

        async def place() -> str:
            headers = {"Idempotency-Key": str(uuid.uuid4())}
            try:
                answer = await client.post("/v1/orders", json=ORDER, headers=headers)
            except httpx.HTTPError:
                return "failed"
            if answer.is_error:
                return "failed"
            return "degraded" if "laneway-degraded" in answer.headers else "ok"

        yield place
