"""What `laneway top` makes of metrics."""

import json
import os
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from laneway.cli.top.figures import Figures, Look, Sample
from laneway.cli.top.sources import WINDOW, Processes, Prometheus
from laneway.cli.top.tables import show_top, top
from laneway.cli.up.state import Place, State
from laneway.errors import ConfigurationError, Unavailable
from laneway.telemetry.catalogue import METRICS

PLACE = {"side": "server", "method": "shop.Orders.Place", "lane": "grpc"}
NOW = 1_700_000_000.0


def look(at: float, *samples: tuple[str, str, dict[str, str], float]) -> Look:
    return Look(at, tuple(Sample(*each) for each in samples))


def calls(instance: str, code: str, value: float) -> tuple[str, str, dict[str, str], float]:
    return instance, "laneway_calls_total", {**PLACE, "code": code}, value


def test_rates_of_processes_are_added_up() -> None:
    older = look(0, calls("a", "OK", 100), calls("b", "OK", 10))
    newer = look(2, calls("a", "OK", 104), calls("b", "OK", 30))

    assert Figures(newer, older).rate("laneway_calls_total", "lane") == {("grpc",): 12.0}


def test_a_process_that_began_again_counts_from_nothing() -> None:
    assert Figures(look(1, calls("a", "OK", 3)), look(0, calls("a", "OK", 100))).rate("laneway_calls_total") == {(): 3}


def test_a_process_that_is_seen_for_the_first_time_has_no_rate() -> None:
    older = look(0, calls("a", "OK", 1))

    assert Figures(look(1, calls("a", "OK", 2), calls("b", "OK", 900)), older).rate("laneway_calls_total") == {(): 1}


def test_a_quantile_is_of_what_came_between_the_looks() -> None:
    def buckets(at: float, *counts: float) -> Look:
        bounds = ("0.1", "0.2", "+Inf")
        return look(
            at,
            *(("a", "x_bucket", {"le": le}, count) for le, count in zip(bounds, counts, strict=True)),
        )

    figures = Figures(buckets(1, 1000, 1010, 1010), buckets(0, 1000, 1000, 1000))
    assert figures.quantile(0.5, "x") == {(): pytest.approx(0.15)}
    assert Figures(buckets(1, 5, 5, 5), buckets(0, 5, 5, 5)).quantile(0.5, "x") == {}
    assert Figures(buckets(1, 0, 0, 9), buckets(0, 0, 0, 0)).quantile(0.5, "x") == {(): 0.2}


class Told:
    """A source that tells what it was given."""

    def __init__(self, *figures: Figures) -> None:
        self._figures = list(figures)

    def figures(self) -> Figures:
        return self._figures.pop(0)


def printed(newer: Look, older: Look) -> list[list[str]]:
    file = StringIO()
    show_top(Told(Figures(newer, older)), Console(file=file))
    return [line.split() for line in file.getvalue().splitlines()]


def test_each_table_says_what_is() -> None:
    def at(moment: float, done: float) -> Look:
        return look(
            moment,
            ("w", "laneway_process_info", {"service": "orders", "role": "worker"}, 1),
            ("w", "process_cpu_seconds_total", {}, done / 20),
            ("w", "process_resident_memory_bytes", {}, 50 * 2**20),
            ("w", "laneway_worker_running", {}, 3),
            ("w", "laneway_worker_slots", {}, 16),
            calls("w", "OK", done),
            calls("w", "INTERNAL", done / 10),
            ("w", "laneway_breaker_state", {"target": "orders/Place"}, 0),
            ("w", "laneway_breaker_state", {"target": "stock/Check"}, 2),
            ("w", "laneway_refusals_total", {"target": "stock/Check", "reason": "BREAKER_OPEN"}, done),
            ("w", "laneway_queue_deliveries_total", {"queue": "orders.bulk", "outcome": "done"}, done),
            ("s1", "laneway_outbox_messages", {"queue": "orders.bulk", "state": "due"}, 7),
            ("s2", "laneway_outbox_messages", {"queue": "orders.bulk", "state": "due"}, 7),
            ("s1", "laneway_outbox_oldest_seconds", {"queue": "orders.bulk"}, 90),
            ("o", "laneway_operator_pool_replicas", {"namespace": "shop", "pool": "orders"}, 2),
            ("o", "laneway_operator_pool_desired", {"namespace": "shop", "pool": "orders"}, 5),
            ("o", "laneway_operator_pool_objective_met", {"namespace": "shop", "pool": "orders"}, 0),
        )

    rows = printed(at(10, 20), at(0, 0))

    assert ["orders", "worker", "1", "0.10", "50", "MiB", "3", "16"] in rows
    assert ["grpc", "server", "2.2", "9.1%", "–", "–", "–"] in rows
    assert ["shop.Orders.Place", "grpc", "2.2", "9.1%", "–", "0.0", "0.0"] in rows
    assert ["stock/Check", "open", "2.0"] in rows
    assert ["1", "more", "closed"] in rows
    assert ["orders.bulk", "7", "0", "0", "90.0", "s", "2.0", "0.0", "–"] in rows
    assert ["shop/orders", "?", "2", "5", "missed"] in rows


def test_where_nothing_is_told_it_says_so() -> None:
    assert printed(look(1), look(0)) == [["No", "process", "tells", "anything", "yet."]]


def test_in_a_pipe_there_are_no_colours_and_nothing_is_cut() -> None:
    name = "shop." + "x" * 100
    file = StringIO()
    labels = {**PLACE, "method": name, "code": "UNAVAILABLE"}
    older, newer = (look(at, ("a", "laneway_calls_total", labels, at)) for at in (0, 1))
    show_top(Told(Figures(newer, older)), Console(file=file))

    assert name in file.getvalue()
    assert "\x1b" not in file.getvalue()


def test_on_a_terminal_the_tables_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("laneway.cli.top.tables.EACH", 0)
    file = StringIO()
    looks = [look(at, calls("a", "OK", at * at)) for at in range(4)]
    source = Told(*(Figures(newer, older) for older, newer in pairwise(looks)))
    show_top(source, Console(file=file, force_terminal=True, width=160), looks=3)

    rates = [line.split()[2] for line in file.getvalue().splitlines() if line.startswith("shop.Orders.Place")]
    assert sorted(set(rates)) == ["1.0", "3.0", "5.0"]


def test_every_metric_that_is_asked_for_is_in_the_catalogue() -> None:
    asked: set[str] = set()

    class Asking(Figures):
        def named(self, name: str) -> list[Sample]:
            asked.add(name)
            return super().named(name)

    top(Asking(look(1), look(0)))
    series = {name for it in METRICS.values() for name in it.series}
    assert asked
    assert asked <= series


@contextmanager
def serving(answer: Callable[[str], bytes]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answer(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_processes_of_up_are_asked_twice_at_first(tmp_path: Path) -> None:
    told = iter([b"x_total 1\n", b"x_total 5\n", b"x_total 9\n"])
    slept: list[float] = []
    with serving(lambda _: b"# TYPE x counter\n" + next(told)) as url:
        places = {
            "orders": Place(1, 1, "grpc", "orders", url),
            "gone": Place(2, 2, "grpc", "gone", "http://127.0.0.1:1"),
            "valkey": Place(3, 3, "broker", "valkey"),
        }
        State(pid=os.getpid(), urls={}, processes=places).write(tmp_path)
        source = Processes(tmp_path, sleep=slept.append)
        first, second = source.figures(), source.figures()

    assert first.total("x_total") == {(): 5}
    assert second.total("x_total") == {(): 9}
    assert len(slept) == 1


def test_where_nothing_runs_it_says_what_to_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="start `laneway up`"):
        Processes(tmp_path).figures()


def test_prometheus_is_asked_for_now_and_a_minute_ago() -> None:
    def answer(path: str) -> bytes:
        query = urllib.parse.parse_qs(urllib.parse.urlparse(path).query)
        value = "120" if float(query["time"][0]) == NOW else "60"
        metric = {"__name__": "laneway_calls_total", "instance": "10.0.0.1:9090", "lane": "grpc"}
        return json.dumps({"data": {"result": [{"metric": metric, "value": [NOW, value]}]}}).encode()

    with serving(answer) as url:
        figures = Prometheus(url, clock=lambda: NOW).figures()

    assert figures.rate("laneway_calls_total", "lane") == {("grpc",): 60 / WINDOW}


def test_what_is_no_prometheus_is_said_in_a_sentence() -> None:
    with serving(lambda _: b"hello") as url, pytest.raises(Unavailable, match="does not answer as a Prometheus"):
        Prometheus(url).figures()
    with pytest.raises(ConfigurationError, match="no URL of a Prometheus"):
        Prometheus("localhost:9090")
