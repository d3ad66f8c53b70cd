"""Each edge and each outcome: what its trace shows, that nothing is orphaned, that times add up, that nothing leaks."""

import pytest
from opentelemetry import trace

from tests.tracing.language import Trace
from tests.tracing.matrix import CASES, PAGE, Case, written


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_the_trace_of(case: Case) -> None:
    spans = await case.drive()
    traces = [Trace.of(s for s in spans if s.context.trace_id == id) for id in {s.context.trace_id for s in spans}]

    assert not trace.get_current_span().get_span_context().is_valid, "a span is still the current one"
    assert len(traces) == case.traces
    for each in traces:
        assert (len(each.roots), each.orphans, each.discords) == (1, [], []), each
    for path in case.shows:
        assert any(each.shows(path) for each in traces), f"no {path} in:\n" + "\n\n".join(map(str, traces))
    linked = Trace.of(span for span in spans if span.links)
    assert [path for path in case.linked if not linked.shows(path)] == []
    assert len(linked.spans) == sum(linked.count(path) for path in case.linked), "others are linked, too"


def test_the_page_has_the_matrix_of_today() -> None:
    assert written(PAGE.read_text()) == PAGE.read_text(), "run `python -m tests.tracing.matrix`"
