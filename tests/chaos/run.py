"""One run: customers order, things go wrong, and when all has come to rest it is checked.

`make chaos ORDERS=10000 KILLS=60 SEED=7` runs one of any size; without SEED it draws one, and prints it.
"""

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
from sqlalchemy import update

from shop_inventory.domain import stock
from tests.chaos import invariants
from tests.chaos.customers import SCARCE, Customers
from tests.chaos.mischief import Done, Mischief
from tests.chaos.plan import Size, Step, steps
from tests.chaos.shop import TroubledShop, troubled_shop

IN_FLIGHT = 12

TOLD = 3
"""Orders with which something is wrong, whose stories are told."""

AHEAD = 2 * IN_FLIGHT
"""Orders that are placed while a step of the plan is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run did, and what it found wrong."""

    size: Size
    done: Done
    placed: int
    refused: int
    cancelled: int
    ends: Mapping[str, int]
    seconds: float
    wrong: list[str]
    stories: list[str]

    def told(self) -> str:
        """For people."""
        done = asdict(self.done) | {"poison": len(self.done.poison)}
        lines = [
            f"seed {self.size.seed}, {self.size.orders} orders: {self.placed} placed, {self.refused} refused, "
            f"{self.cancelled} cancelled, in {self.seconds:.0f} s",
            ", ".join(f"{name} {value}" for name, value in done.items()),
            ", ".join(f"{state} {number}" for state, number in sorted(self.ends.items())),
            *(f"WRONG: {sentence}" for sentence in self.wrong[:30]),
            *self.stories,
            f"{len(self.wrong)} wrong",
        ]
        return "\n".join(lines)


async def run(size: Size, folder: Path, *, postgres: bool, without: str | None = None, rest: float = 0.0) -> Outcome:
    """Run one. `rest` is how many seconds it may take to come to rest after the last order; by its size, if 0."""
    begin = time.monotonic()
    async with troubled_shop(folder, postgres=postgres, without=without) as shop:
        stock_before = await _stocked(shop, size)
        customers = Customers(shop.running.url, size.seed)
        mischief = Mischief(shop, size)
        try:
            await _order_and_harm(customers, mischief, steps(size, shop.names()), size)
        finally:
            await mischief.close()
        left = await invariants.at_rest(shop, rest or 240 + size.orders / 10 + size.flood / 50)
        books = await invariants.read(shop, customers, mischief.done, stock_before)
        wrong = [f"it has not come to rest: {left}"] if left else []
        wrong += invariants.violations(books)
        wrong += await invariants.verified(shop)
        suspects = [name for name in books.orders if any(name in sentence for sentence in wrong)][:TOLD]
        ends: dict[str, int] = {}
        for row in books.orders.values():
            name = invariants.OrderState.Name(row.state)
            ends[name] = ends.get(name, 0) + 1
        return Outcome(
            size=size,
            done=mischief.done,
            placed=len(customers.placed),
            refused=len(customers.refused),
            cancelled=len(customers.cancelled),
            ends=ends,
            seconds=time.monotonic() - begin,
            wrong=wrong,
            stories=[line for name in suspects for line in (name, *invariants.story(books, name))],
        )


async def _stocked(shop: TroubledShop, size: Size) -> Mapping[str, int]:
    """Of one product there is too little; what is in stock then."""
    few = update(stock).where(stock.c.product == SCARCE).values(available=max(1, size.orders // 10))
    async with await shop.stores["inventory"].begin() as transaction:
        await transaction.execute(few)
        await transaction.commit()
    return await invariants.stock_of(shop)


async def _order_and_harm(customers: Customers, mischief: Mischief, plan: list[Step], size: Size) -> None:
    numbers = iter(range(size.orders))
    goals = [*(step.at for step in plan), size.orders]

    async def customer(client: httpx.AsyncClient) -> None:
        for number in numbers:
            async with customers.progress:  # what goes wrong is to meet orders: they do not run away from it
                await customers.progress.wait_for(lambda number=number: number < goals[0] + AHEAD)
            await customers.order(client, number)

    async def harm() -> None:
        for step in plan:
            async with customers.progress:
                await customers.progress.wait_for(lambda at=step.at: customers.served >= at)
            await mischief.do(step)
            async with customers.progress:
                goals.pop(0)
                customers.progress.notify_all()

    meddling = asyncio.create_task(mischief.meddle()) if size.duplicates else None
    try:
        async with httpx.AsyncClient(base_url=customers.url, timeout=15) as client, asyncio.TaskGroup() as group:
            group.create_task(harm())
            for _ in range(IN_FLIGHT):
                group.create_task(customer(client))
    finally:
        if meddling is not None:
            meddling.cancel()
            await asyncio.gather(meddling, return_exceptions=True)


def main() -> None:
    """Run one whose size the environment says; exits 1 when something is wrong."""
    given = {
        name: int(os.environ[name.upper()]) for name in ("orders", "kills", "seed") if os.environ.get(name.upper())
    }
    orders = given.get("orders", 1_000)
    size = Size(
        orders=orders,
        kills=given.get("kills", 20),
        flood=5 * orders,
        notes=orders,
        seed=given.get("seed", random.SystemRandom().randrange(1_000_000)),
    )
    print(f"chaos: {size}", flush=True)
    with tempfile.TemporaryDirectory(prefix="laneway-chaos-") as folder:
        outcome = asyncio.run(run(size, Path(folder), postgres=os.environ.get("STORE", "postgresql") == "postgresql"))
        print(outcome.told())
    sys.exit(1 if outcome.wrong else 0)


if __name__ == "__main__":
    main()
