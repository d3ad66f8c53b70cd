"""What the lanes tell of a call besides its end: the deadline at entry, copies that were dropped, how long one waited."""

from typing import Any

import pytest

from laneway.call import Lane
from laneway.lanes.dispatch import Arrival
from laneway.lanes.grpc import connections
from laneway.lanes.queue.delivery import Deliveries
from laneway.lanes.queue.envelope import Delivery
from laneway.lanes.queue.watch import Watch
from laneway.telemetry.metrics import Metrics
from tests.fixtures.shelf import Shelf
from tests.unit.lanes.test_validation import Reports


@pytest.fixture
def metrics(shelf: Shelf) -> Metrics:
    """Those of the shelf's dispatcher."""
    shelf.dispatcher._metrics = Metrics()
    return shelf.dispatcher._metrics


def told(metrics: Metrics, name: str) -> dict[str, float]:
    lines = [line for line in metrics.render()[0].decode().splitlines() if line.startswith(name + "{")]
    return {line.rpartition(" ")[0].removeprefix(name): float(line.rpartition(" ")[2]) for line in lines}


async def done(shelf: Shelf) -> Any:
    async def handler(request: Any, call: Any) -> Any:
        return shelf.reply("done")

    for name in ("Put", "Tidy"):
        shelf.handle(name, handler)


async def test_what_is_left_of_the_callers_deadline_is_told_where_there_is_one(shelf: Shelf, metrics: Metrics) -> None:
    await done(shelf)
    await shelf.call("Put", timeout=0.2)
    await shelf.call("Put")

    labels = '{lane="grpc",method="test.shelf.v1.Shelf.Put"}'
    assert told(metrics, "laneway_deadline_left_seconds_count") == {labels: 1}
    assert told(metrics, "laneway_deadline_left_seconds_sum") == {labels: 0.2}


async def test_a_copy_whose_effect_is_there_counts_as_a_duplicate(shelf: Shelf, metrics: Metrics) -> None:
    await done(shelf)
    for _ in range(3):
        await shelf.deliver("Tidy", "m1")

    [count] = told(metrics, "laneway_queue_duplicates_total").values()
    assert count == 2


async def test_a_worker_tells_how_long_a_copy_has_waited(shelf: Shelf, metrics: Metrics) -> None:
    await done(shelf)
    method = shelf.method("Tidy")
    deliveries = Deliveries(
        shelf.dispatcher, Reports(), shelf.contract.methods,  # type: ignore[arg-type]
        watch=Watch(shelf.store, shelf.clock), metrics=metrics, clock=shelf.clock,
    )  # fmt: skip
    await deliveries.run(
        Delivery(id="m1", method=method.full_name, payload=b"", producer="shelf", attempt=1,
                 enqueued_at=shelf.clock() - 12, start_by=None, headers={})
    )  # fmt: skip

    assert told(metrics, "laneway_queue_wait_seconds_sum") == {f'{{queue="{method.queue_name}"}}': 12}
    assert told(metrics, "laneway_queue_deliveries_total") == {f'{{outcome="done",queue="{method.queue_name}"}}': 1}


def test_of_many_far_ends_a_hundred_are_told_apart() -> None:
    seen: dict[tuple[str, str], int] = {("client", "10.0.0.1:50051"): 1}
    for number in range(3 * connections.MOST):
        key = connections._known("server", f"10.1.{number}.1", seen)
        seen[key] = seen.get(key, 0) + 1

    assert len(seen) == connections.MOST + 2
    assert seen["server", "other"] == 2 * connections.MOST
    assert connections._known("server", "10.1.0.1", seen) == ("server", "10.1.0.1")


async def test_an_arrival_of_a_message_has_no_callers_deadline(shelf: Shelf, metrics: Metrics) -> None:
    await done(shelf)
    arrival = Arrival(lane=Lane.QUEUE, message_id="m1")
    await shelf.dispatcher.deliver(shelf.method("Tidy"), shelf.request("Tidy"), arrival)

    assert told(metrics, "laneway_deadline_left_seconds_count") == {}
