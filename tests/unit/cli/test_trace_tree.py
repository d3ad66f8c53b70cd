"""A trace as people see it."""

from dataclasses import replace
from io import StringIO

from rich.console import Console

from laneway.cli.embedded.spans import SpanRecord
from laneway.cli.trace_tree import print_trace, trace_table

MS = 1_000_000
TRACE_ID = "ab" * 16


def span(id: str, parent: str, name: str, start: int, end: int, **facts: str) -> SpanRecord:
    return SpanRecord(
        span_id=id, parent_id=parent, service=facts.get("service", "orders"), name=name, kind="server",
        lane=facts.get("lane", "grpc"), start=start * MS, end=end * MS, error=facts.get("error"),
    )  # fmt: skip


def printed(*spans: SpanRecord) -> list[str]:
    file = StringIO()
    print_trace(spans, TRACE_ID, Console(file=file))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_children_stand_below_their_parent_in_the_order_in_which_they_began() -> None:
    lines = printed(
        span("3", "1", "second", 30, 40),
        span("1", "", "root", 0, 100, service="gateway", lane="rest"),
        span("2", "1", "first", 10, 20),
        span("4", "2", "inner", 12, 15, lane="queue"),
    )

    assert lines == [
        f"trace {TRACE_ID}  4 spans of 2 services in 100.0 ms",
        "service             lane   span         at      took",
        "└── gateway         rest   root     0.0 ms  100.0 ms  " + "━" * 40,
        "    ├── orders      grpc   first   10.0 ms   10.0 ms      ━━━━",
        "    │   └── orders  queue  inner   12.0 ms    3.0 ms       ━",
        "    └── orders      grpc   second  30.0 ms   10.0 ms              ━━━━",
    ]


def test_a_failed_span_names_its_error() -> None:
    assert "call  ✗ Unavailable" in printed(span("1", "", "call", 0, 1, error="Unavailable"))[2]


def test_what_is_tried_again_says_so() -> None:
    assert "call  attempt 3" in printed(replace(span("1", "", "call", 0, 1), attempt=3))[2]
    assert "attempt" not in printed(span("1", "", "call", 0, 1))[2]


def test_a_span_whose_parent_is_unknown_stands_at_the_top() -> None:
    assert printed(span("2", "missing", "lost", 5, 6))[2].split()[:4] == ["└──", "orders", "grpc", "lost"]


def test_in_a_pipe_nothing_is_cut() -> None:
    name = "x" * 120

    assert name in printed(span("1", "", name, 0, 1))[2]


def test_a_trace_may_be_deeper_than_a_recursion() -> None:
    chain = [span(str(n), str(n - 1) if n else "", "s", n, 2000) for n in range(2000)]

    assert trace_table(chain).row_count == 2000
