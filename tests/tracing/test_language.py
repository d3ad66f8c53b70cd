"""What the language of traces finds, and what it does not."""

from laneway.cli.embedded.spans import SpanRecord
from tests.tracing.language import Trace, edge, enters, process, publish

BEGIN = 1_000_000_000


def span(id: str, parent: str, service: str, kind: str, name: str, *, start: int = 0, took: int = 9) -> SpanRecord:
    begin = BEGIN + start * 1_000_000
    return SpanRecord(id, parent, service, name, kind, "", begin, begin + took * 1_000_000, None)


WALK = [
    span("1", "", "gateway", "server", "POST /v1/orders", took=40),
    span("2", "1", "gateway", "client", "Orders/Place", took=30),
    span("3", "2", "orders", "server", "Orders/Place", start=1, took=20),
    span("4", "3", "orders", "producer", "publish bulk", start=2),
    span("5", "4", "orders", "consumer", "process bulk", start=90),
]
PATH = enters("gateway") >> edge("gateway", "orders") >> publish("bulk") >> process("bulk")


def test_a_path_is_of_children() -> None:
    trace = Trace(WALK)
    assert trace.shows(PATH)
    assert trace.count(process("b*")) == 1
    assert not trace.shows(enters("gateway") >> process("bulk"))
    assert not trace.shows(PATH.failing("Unavailable"))
    assert not Trace(WALK[:-1]).shows(PATH)


def test_a_path_reads_as_what_it_is() -> None:
    assert str(PATH) == ("gateway serves → gateway calls → orders serves → publish bulk → process bulk")
    assert str(edge("a", "b", "*/Go", "Aborted")) == "a calls Go ✗ Aborted → b serves Go ✗ Aborted"


def test_a_span_whose_parent_is_missing_is_an_orphan() -> None:
    assert Trace(WALK).orphans == []
    assert [each.span_id for each in Trace(WALK[:2] + WALK[3:]).orphans] == ["4"]


def test_times_that_do_not_add_up_are_told() -> None:
    assert Trace(WALK).discords == []
    early = span("6", "3", "orders", "client", "Catalog/Get", start=-50)
    outlasting = span("7", "2", "orders", "server", "Orders/Place", start=1, took=60)
    backwards = span("8", "3", "orders", "internal", "think", start=5, took=-1)
    assert Trace([*WALK, early, outlasting, backwards]).discords == [
        "orders Catalog/Get", "orders Orders/Place", "orders think",
    ]  # fmt: skip
