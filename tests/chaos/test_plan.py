"""The plan of a run: from the same seed the same, and everything in it."""

from collections import Counter

from tests.chaos.plan import Deed, Size, steps

NAMES = ["catalog", "orders", "orders-worker", "valkey"]
SIZE = Size(orders=1_000, kills=10, flood=100, notes=100, seed=5)


def test_the_same_seed_gives_the_same_steps_and_another_gives_others() -> None:
    assert steps(SIZE, NAMES) == steps(SIZE, list(reversed(NAMES)))
    assert steps(SIZE, NAMES) != steps(Size(orders=1_000, kills=10, flood=100, notes=100, seed=6), NAMES)


def test_no_process_dies_again_before_each_has_died() -> None:
    killed = [step.target for step in steps(SIZE, NAMES) if step.deed is Deed.KILL]
    assert len(killed) == SIZE.kills
    assert set(killed[:4]) == set(killed[4:8]) == set(NAMES)


def test_everything_that_was_asked_for_happens_while_orders_arrive() -> None:
    found = Counter(step.deed for step in steps(SIZE, NAMES))
    assert (found[Deed.FLUSH], found[Deed.RESTART_DATABASE]) == (2, 2)
    assert all(found[deed] for deed in Deed)
    assert all(0 <= step.at < SIZE.orders for step in steps(SIZE, NAMES))
