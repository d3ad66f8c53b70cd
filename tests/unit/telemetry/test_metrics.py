"""What a process counts."""

import asyncio

import pytest

from laneway.errors import Unavailable
from laneway.telemetry.metrics import Metrics


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def lines(metrics: Metrics) -> list[str]:
    return metrics.render().decode().splitlines()


def test_a_call_is_counted_with_its_outcome(metrics: Metrics) -> None:
    with metrics.call("server", "shop.Orders.Place", "grpc"):
        pass
    with pytest.raises(Unavailable), metrics.call("server", "shop.Orders.Place", "grpc"):
        raise Unavailable("down")
    with pytest.raises(asyncio.CancelledError), metrics.call("server", "shop.Orders.Place", "grpc"):
        raise asyncio.CancelledError

    for code in ("OK", "UNAVAILABLE", "CANCELLED"):
        labels = f'code="{code}",lane="grpc",method="shop.Orders.Place",side="server"'
        assert f"laneway_calls_total{{{labels}}} 1.0" in lines(metrics)
    labels = 'lane="grpc",method="shop.Orders.Place",side="server"'
    assert f"laneway_call_seconds_count{{{labels}}} 3.0" in lines(metrics)


def test_a_breaker_shows_its_state_and_its_changes(metrics: Metrics) -> None:
    metrics.breaker_changed("orders", "closed", "open")
    metrics.breaker_changed("orders", "open", "half-open")

    assert 'laneway_breaker_state{target="orders"} 1.0' in lines(metrics)
    assert 'laneway_breaker_transitions_total{state="open",target="orders"} 1.0' in lines(metrics)


def test_deliveries_and_replays_are_counted(metrics: Metrics) -> None:
    metrics.delivered("orders.bulk", "retry")
    metrics.replayed("shop.Orders.Place")

    assert 'laneway_queue_deliveries_total{outcome="retry",queue="orders.bulk"} 1.0' in lines(metrics)
    assert 'laneway_idempotent_replays_total{method="shop.Orders.Place"} 1.0' in lines(metrics)


def test_two_processes_in_one_count_apart() -> None:
    one, other = Metrics(), Metrics()

    one.replayed("a")

    assert not any(line.startswith("laneway_idempotent_replays_total{") for line in lines(other))
