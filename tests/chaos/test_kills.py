"""Orders arrive while every process of the shop is killed once and the broker is flushed: on SQLite, as a laptop has it.

`make test-faults` has the same on PostgreSQL with everything that can go wrong, `make chaos` in any size.
"""

from pathlib import Path

import pytest

from tests.chaos.plan import Size
from tests.chaos.run import run


@pytest.mark.timeout(900)
async def test_killing_each_process_and_flushing_the_broker_loses_no_order(tmp_path: Path) -> None:
    size = Size(orders=150, kills=14, flushes=1, restarts=0, notes=100, poison=False, duplicates=False, seed=7)
    outcome = await run(size, tmp_path, postgres=False)
    assert outcome.wrong == [], outcome.told()
    assert outcome.done.kills == size.kills
