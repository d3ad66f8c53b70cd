"""`make bench-walk`: orders per second through the whole walk, from the click to the shipment, on this machine.

The shop runs as `laneway up` runs it: every service and worker a process, SQLite, an embedded Valkey. An order counts
when it is SHIPPED. There is no peer in this figure; it says what a laptop carries.
"""

import asyncio
import json
import os
import tempfile
import time
import uuid
from pathlib import Path

import httpx

from tests.fixtures.shop import RunningShop

ORDERS = int(os.environ.get("ORDERS", "300"))
IN_FLIGHT = 16
ORDER = {"lines": [{"product": "products/book", "quantity": 1}], "email": "a@b.example", "cardToken": "visa"}


async def measure(url: str) -> dict[str, float]:
    """Place the orders, wait for all shipments; seconds for both."""
    numbers = iter(range(ORDERS))
    latencies: list[float] = []
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:

        async def customer() -> None:
            for _ in numbers:
                begin = time.perf_counter()
                headers = {"Idempotency-Key": str(uuid.uuid4())}
                (await client.post("/v1/orders", json=ORDER, headers=headers)).raise_for_status()
                latencies.append(time.perf_counter() - begin)

        begin = time.perf_counter()
        await asyncio.gather(*(customer() for _ in range(IN_FLIGHT)))
        placed = time.perf_counter() - begin
        while True:
            orders = (await client.get("/v1/orders", params={"page_size": 1000})).json()["orders"]
            if sum(order["state"] == "SHIPPED" for order in orders) >= ORDERS:
                break
            await asyncio.sleep(0.1)
        shipped = time.perf_counter() - begin
    latencies.sort()
    return {
        "accepted per second": ORDERS / placed,
        "accept p50 ms": latencies[len(latencies) // 2] * 1000,
        "accept p99 ms": latencies[int(len(latencies) * 0.99)] * 1000,
        "shipped per second": ORDERS / shipped,
    }


def main() -> None:
    """Run, print the table, keep the figures."""
    with tempfile.TemporaryDirectory() as data:
        shop = RunningShop(Path(data))
        try:
            figures = asyncio.run(measure(shop.url))
        finally:
            shop.stop()
    rows = [
        {"work": name, "ours": round(value, 1), "peer": None, "unit": "", "ratio": None, "goal": None, "met": None}
        for name, value in figures.items()
    ]
    for row in rows:
        print(f"{row['work']:<22} {row['ours']:>10}")
    kept = Path("build/bench/walk.json")
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
