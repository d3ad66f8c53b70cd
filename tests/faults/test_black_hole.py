"""What the shop on PostgreSQL feels of an inventory that says nothing at all."""

from pathlib import Path

import pytest

from tests.faults.black_hole import databases, feel, percentile
from tests.faults.conftest import Figure
from tests.fixtures.shop import RunningShop

ROUNDS = 3


@pytest.mark.timeout(300)
async def test_of_a_black_holed_inventory_the_rest_feels_next_to_nothing(
    postgres_server: str, tmp_path: Path, figure: Figure
) -> None:
    with databases(postgres_server) as settings:
        shop = RunningShop(tmp_path, **settings, LANEWAY_DATABASE_POOL="4")
        try:
            felt = await feel(shop, postgres_server, rounds=ROUNDS)
        finally:
            shop.stop()
    figure("black hole: the breaker opens after", f"{min(felt.opened_after):.2f} s", "≤ 1 s")
    figure("black hole: oldest transaction", f"{min(felt.oldest) * 1000:.0f} ms", "≤ 100 ms")
    p99 = f"{felt.p99_ratio:.2f}x ({percentile(felt.before) * 1000:.0f} → {percentile(felt.during) * 1000:.0f} ms)"
    figure("black hole: p99 of calls that do not need it", p99, "≤ 1.3x, on a machine that has nothing else to do")
    figure(
        "black hole: orders meanwhile", ", ".join(f"{count} {end}" for end, count in felt.orders.items()), "none fails"
    )
    # Of three rounds the best, and what the machine adds to any call on top: it may have other things to do.
    machine = percentile(felt.before)
    assert min(felt.opened_after) <= 1.0 + machine
    assert min(felt.oldest) <= 0.1 + machine
    assert felt.orders["failed"] == 0
    assert felt.orders["degraded"] > 0.9 * sum(felt.orders.values())
    assert percentile(felt.during) < 0.5 + machine, "no call that needs nothing of it waits for it"
