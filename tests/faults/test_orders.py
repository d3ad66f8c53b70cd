"""Orders through the whole shop, on PostgreSQL, while everything goes wrong that can; and that the suite would notice.

The seed is drawn anew each time, and told; `make chaos ORDERS=200 KILLS=14 SEED=…` does the same again.
"""

import random
from pathlib import Path

import pytest

from tests.chaos.plan import Size
from tests.chaos.run import run
from tests.faults.conftest import Figure


@pytest.mark.timeout(1_200)
async def test_whatever_goes_wrong_no_order_is_lost_and_nothing_is_done_twice(tmp_path: Path, figure: Figure) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    size = Size(orders=200, kills=14, flood=1_000, notes=200, seed=seed)
    outcome = await run(size, tmp_path, postgres=True)
    figure(f"everything goes wrong, seed {seed}: {size.orders} orders", f"{len(outcome.wrong)} wrong", "0")
    assert outcome.wrong == [], outcome.told()
    assert (outcome.done.kills, outcome.done.flushes, outcome.done.restarts) == (14, 2, 2)
    assert outcome.done.flooded == size.flood
    assert outcome.done.duplicates > 0
    assert {"SHIPPED", "REJECTED"} <= set(outcome.ends), "the run has not tried both ends of an order"


MISSED = {"confirmation": ("has heard nothing of", "in order", "was not done"), "inbox": ("too often", "in order")}
"""What is found wrong when a guarantee is taken out: messages are lost, or effects are there twice."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("guarantee", MISSED)
async def test_the_suite_fails_when_a_guarantee_is_taken_out(guarantee: str, tmp_path: Path) -> None:
    size = Size(orders=120, kills=14, restarts=0, notes=100, poison=False, seed=11)
    outcome = await run(size, tmp_path, postgres=False, without=guarantee, rest=60)
    found = [sentence for sentence in outcome.wrong if any(sign in sentence for sign in MISSED[guarantee])]
    assert found, f"nobody has noticed that there is no {guarantee}: {outcome.told()}"
