"""What a process counts."""

import asyncio

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from laneway.errors import Unavailable
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.sampling import Sampling
from laneway.telemetry.series import MOST
from laneway.telemetry.tracing import Tracing

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def lines(metrics: Metrics) -> list[str]:
    return metrics.render()[0].decode().splitlines()


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


def test_a_breaker_shows_its_changes(metrics: Metrics) -> None:
    metrics.breaker_changed("orders", "closed", "open")
    metrics.breaker_changed("orders", "open", "half-open")

    assert 'laneway_breaker_transitions_total{state="half_open",target="orders"} 1.0' in lines(metrics)
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


def test_a_stream_that_its_reader_leaves_has_not_failed(metrics: Metrics) -> None:
    with pytest.raises(GeneratorExit), metrics.call("client", "shop.Orders.Watch", "grpc"):
        raise GeneratorExit

    labels = 'code="OK",lane="grpc",method="shop.Orders.Watch",side="client"'
    assert f"laneway_calls_total{{{labels}}} 1.0" in lines(metrics)


def test_a_call_names_its_trace_to_who_reads_openmetrics(metrics: Metrics) -> None:
    with Tracing("orders", "1", None).span("call") as span, metrics.call("server", "shop.Orders.Place", "grpc"):
        pass

    exposition, kind = metrics.render(OPEN_METRICS)
    trace_id = f"{span.get_span_context().trace_id:032x}"
    assert kind.startswith("application/openmetrics-text")
    assert f'trace_id="{trace_id}"' in exposition.decode()
    assert trace_id not in metrics.render("text/plain")[0].decode()


def test_a_series_names_one_trace_a_second_and_each_that_is_slow(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 100.001, 100.1, 100.101, 100.2, 101.2])
    monkeypatch.setattr("laneway.telemetry.metrics.time.perf_counter", lambda: next(clock))
    ids = []
    for _ in range(3):
        with Tracing("orders", "1", None).span("call") as span, metrics.call("server", "shop.Orders.Place", "grpc"):
            ids.append(f"{span.get_span_context().trace_id:032x}")

    told = metrics.render(OPEN_METRICS)[0].decode()
    assert [each in told for each in ids] == [True, False, True]


def test_a_trace_that_is_not_kept_is_no_example(metrics: Metrics) -> None:
    tracing = Tracing("orders", "1", InMemorySpanExporter(), Sampling(share=0.0))
    with tracing.span("call"), metrics.call("server", "shop.Orders.Place", "grpc"):
        pass

    assert "trace_id=" not in metrics.render(OPEN_METRICS)[0].decode()


def test_hostile_labels_become_no_series(metrics: Metrics) -> None:
    for number in range(3 * MOST):
        with metrics.call("server", f"evil.Method{number}", "grpc"):
            pass
        metrics.delivered(f"evil.{number}", "done")
    metrics.follow("laneway_outbox_full", lambda: [((f"evil.{number}",), 1.0) for number in range(3 * MOST)])

    for name in ("laneway_calls_total{", "laneway_queue_deliveries_total{", "laneway_outbox_full{"):
        told = [line for line in lines(metrics) if line.startswith(name)]
        assert len(told) == MOST + 1
        assert any("other" in line for line in told)
    others = 'code="other",lane="other",method="other",side="other"'
    assert f"laneway_calls_total{{{others}}} {2.0 * MOST}" in lines(metrics)
    assert len(metrics._ended) == MOST


def test_a_view_that_another_process_keeps_is_not_told_of(metrics: Metrics) -> None:
    metrics.projected("sagas", 3, lag=1.0, held=0)
    metrics.not_projecting("sagas")
    metrics.not_projecting("sagas")

    told = [line for line in lines(metrics) if 'view="sagas"' in line]
    assert [line for line in told if "_created" not in line] == ['laneway_projection_events_total{view="sagas"} 3.0']
