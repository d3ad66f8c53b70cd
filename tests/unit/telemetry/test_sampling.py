"""Which traces are kept: a share, and by option what failed or was slow of the others."""

from collections.abc import Callable

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import set_span_in_context

from laneway.errors import NotFound
from laneway.settings import Settings
from laneway.telemetry import sampling
from laneway.telemetry.sampling import Sampling
from laneway.telemetry.tracing import Tracing, mark

NONE = 0.0


@pytest.fixture
def memory() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(memory: InMemorySpanExporter) -> Callable[..., Tracing]:
    return lambda **options: Tracing("orders", "orders-1", memory, Sampling(**options))


def names(memory: InMemorySpanExporter) -> set[str]:
    return {span.name for span in memory.get_finished_spans()}


def call(tracing: Tracing, *, fails: bool = False, headers: dict[str, str] | None = None) -> dict[str, str]:
    """A call with one further down; the headers that it sent."""
    sent: dict[str, str] = {}
    with tracing.span("call", parent=tracing.extract(headers or {})):
        try:
            with tracing.span("further"):
                tracing.inject(sent)
                if fails:
                    raise NotFound("no")
        except NotFound:
            """The call itself goes well."""
    return sent


def test_a_share_is_taken_where_a_trace_begins_and_obeyed_further_down(
    memory: InMemorySpanExporter, tracing: Callable[..., Tracing]
) -> None:
    begins, goes_on = tracing(share=0.3), tracing(share=1.0)
    for _ in range(1_000):
        call(goes_on, headers=call(begins))
    kept = memory.get_finished_spans()
    assert 200 < len(kept) / 4 < 400
    assert all(len([s for s in kept if s.context.trace_id == k.context.trace_id]) == 4 for k in kept[:20])


def test_of_what_is_not_taken_nothing_is_kept_unless_asked_for(
    memory: InMemorySpanExporter, tracing: Callable[..., Tracing]
) -> None:
    sent = call(tracing(share=NONE), fails=True)
    assert sent["traceparent"].endswith("-00")
    assert names(memory) == set()


def test_errors_are_kept_with_all_of_the_processs_part(
    memory: InMemorySpanExporter, tracing: Callable[..., Tracing]
) -> None:
    own = tracing(share=NONE, errors=True)
    call(own)
    assert names(memory) == set()
    call(own, fails=True, headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-00"})
    assert names(memory) == {"call", "further"}
    assert all(span.context.trace_flags.sampled for span in memory.get_finished_spans()), "or no exporter takes it"


def test_slow_ones_are_kept(memory: InMemorySpanExporter, tracing: Callable[..., Tracing]) -> None:
    own = tracing(share=NONE, slow=1.0)
    call(own, fails=True)
    assert names(memory) == set()
    slow = own.start_span("slow")
    slow.end(slow.started + 1_000_000_000)  # type: ignore[attr-defined]
    assert names(memory) == {"slow"}


def test_what_ends_after_its_part_goes_with_it(memory: InMemorySpanExporter, tracing: Callable[..., Tracing]) -> None:
    own = tracing(share=NONE, errors=True)
    with pytest.raises(NotFound), own.span("call"):
        late = own.start_span("publish")
        raise NotFound("no")
    assert names(memory) == {"call"}
    late.end()
    assert names(memory) == {"call", "publish"}


def test_what_is_remembered_is_bounded(
    memory: InMemorySpanExporter, tracing: Callable[..., Tracing], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "MOST_TRACES", 3)
    monkeypatch.setattr(sampling, "MOST_SPANS", 5)
    own = tracing(share=NONE, errors=True)
    firsts = [own.start_span(f"first {number}") for number in range(10)]
    for first in firsts:
        own.start_span("child", parent=set_span_in_context(first)).end()
    for first in firsts:
        mark(first, NotFound("no"))
        first.end()
    assert len([span for span in memory.get_finished_spans() if span.name == "child"]) == 3, "of the last three traces"
    memory.clear()
    with pytest.raises(NotFound), own.span("call"):
        for number in range(20):
            own.start_span(f"child {number}").end()
        raise NotFound("no")
    assert len(memory.get_finished_spans()) == 6


class Kept(SpanExporter):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: list[ReadableSpan] = []

    def export(self, spans: object) -> SpanExportResult:
        self.sent += spans  # type: ignore[operator]
        return SpanExportResult.SUCCESS


def test_nothing_is_lost_at_shutdown() -> None:
    exporter = Kept()
    tracing = Tracing("orders", "orders-1", exporter, Sampling(share=NONE, errors=True))
    for _ in range(100):
        call(tracing, fails=True)
    tracing.shutdown()
    assert len(exporter.sent) == 200


def test_the_settings_say_it() -> None:
    settings = Settings(trace_share=0.1, trace_errors=True, trace_slow_seconds=2.0)
    assert (settings.trace_share, settings.trace_errors, settings.trace_slow_seconds) == (0.1, True, 2.0)
    assert (Settings().trace_share, Settings().trace_errors, Settings().trace_slow_seconds) == (1.0, False, None)
