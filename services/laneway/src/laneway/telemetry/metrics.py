"""Prometheus metrics of a process, on a registry of its own, made from `laneway.telemetry.catalogue`."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType

from opentelemetry import trace
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from laneway.errors import Code, LanewayError
from laneway.telemetry.children import Children
from laneway.telemetry.series import Figures, Followed, counter, gauge, histogram

NO_ROUTE = "none"
"""The method of requests for which there is none: what a stranger asks for becomes no label."""

EXEMPLAR_EACH = 1.0
"""Seconds between the traces that one series names as its examples: naming one costs more than counting."""

SLOW = 1.0
"""Seconds from which on a call is an example of its own."""


@dataclass(slots=True)
class _Ended:
    """Where calls of one kind are counted, and when they may name a trace again."""

    calls: Counter
    seconds: Histogram
    exemplar_at: float = 0.0


class _Timed:
    """A block that is a call. A class: a generator's block costs twice as much."""

    __slots__ = ("_begin", "_metrics", "_of")

    def __init__(self, metrics: "Metrics", *of: str) -> None:
        self._metrics = metrics
        self._of = of

    def __enter__(self) -> None:
        self._begin = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, GeneratorExit):
            code = Code.OK
        else:
            code = error.code if isinstance(error, LanewayError) else Code.CANCELLED
        side, method, lane = self._of
        self._metrics.ended(side, method, lane, code, self._begin)


class Metrics:
    """What a process counts."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        self.children = Children(own)
        self._ended: dict[tuple[str, str, str, Code], _Ended] = {}
        self._calls = counter("laneway_calls_total", own)
        self._seconds = histogram("laneway_call_seconds", own)
        self._left = histogram("laneway_deadline_left_seconds", own)
        self._replays = counter("laneway_idempotent_replays_total", own)
        self._transitions = counter("laneway_breaker_transitions_total", own)
        self._retries = counter("laneway_retries_total", own)
        self._refusals = counter("laneway_refusals_total", own)
        self._fallbacks = counter("laneway_fallbacks_total", own)
        self._deliveries = counter("laneway_queue_deliveries_total", own)
        self._duplicates = counter("laneway_queue_duplicates_total", own)
        self._waits = histogram("laneway_queue_wait_seconds", own)
        self._lag = gauge("laneway_projection_lag_seconds", own)
        self._held = gauge("laneway_projection_held_streams", own)
        self._projected = counter("laneway_projection_events_total", own)
        self._policy_refused = False
        self.follow("laneway_policy_file_refused", lambda: [((), self._policy_refused)])
        ProcessCollector(registry=own)

    def call(self, side: str, method: str, lane: str) -> AbstractContextManager[None]:
        """Count and time a call; `side` is `client` or `server`. Leaving a stream early is no failure of it."""
        return _Timed(self, side, method, lane)

    def ended(self, side: str, method: str, lane: str, code: Code, begin: float) -> None:
        """Count a call that ends now; it began at `begin`, by `time.perf_counter`."""
        key = side, method, lane, code
        ended = self._ended.get(key) or self._begin(*key)
        now = time.perf_counter()
        ended.calls.inc()
        ended.seconds.observe(now - begin, _example(ended, now, now - begin))

    def _begin(self, side: str, method: str, lane: str, code: Code) -> _Ended:
        ended = _Ended(self._calls.of(side, method, lane, code.name), self._seconds.of(side, method, lane))
        if (side, method, lane, code.name) in self._calls:
            self._ended[side, method, lane, code] = ended
        return ended

    def arrived(self, method: str, lane: str, left: float) -> None:
        """A call came in whose caller waits for so many seconds more."""
        self._left.of(method, lane).observe(left)

    def replayed(self, method: str) -> None:
        """A stored reply was given instead of running the handler."""
        self._replays.of(method).inc()

    def breaker_changed(self, target: str, before: object, after: object) -> None:  # noqa: ARG002 a listener
        """A breaker changed its state from `before`; a listener of `laneway.resilience.breaker`."""
        self._transitions.of(target, str(getattr(after, "value", after)).lower().replace("-", "_")).inc()

    def retried(self, method: str) -> None:
        """A call is attempted again."""
        self._retries.of(method).inc()

    def refused(self, target: str, reason: str) -> None:
        """A breaker or a limit let a call not go out; a listener of `laneway.resilience.pipeline`."""
        self._refusals.of(target, reason).inc()

    def policy_file(self, refused: bool) -> None:
        """A new policy file was looked at; see `laneway.contract.tuning`."""
        self._policy_refused = refused

    def fell_back(self, method: str, kind: str) -> None:
        """A `last_good`, `queue` or `handler` answer was given."""
        self._fallbacks.of(method, kind).inc()

    def taken(self, queue: str, waited: float) -> None:
        """A worker begins with a message that was published so many seconds ago."""
        self._waits.of(queue).observe(max(waited, 0.0))

    def delivered(self, queue: str, outcome: str) -> None:
        """A worker ended a message as `done`, `retry` or `park`."""
        self._deliveries.of(queue, outcome).inc()

    def duplicate(self, queue: str) -> None:
        """A message came that the inbox knew."""
        self._duplicates.of(queue).inc()

    def projected(self, view: str, events: int, *, lag: float, held: int) -> None:
        """A view has seen more events, and is so many seconds behind; told by the process that keeps it."""
        self._projected.of(view).inc(events)
        self._lag.of(view).set(lag)
        self._held.of(view).set(held)

    def not_projecting(self, view: str) -> None:
        """Another process keeps a view, and tells how far it is."""
        self._lag.forget(view)
        self._held.forget(view)

    def follow(self, name: str, read: Callable[[], Figures]) -> None:
        """Tell a metric of the catalogue by asking for its figures, in the thread that reads `/metrics`."""
        self.registry.register(Followed(name, read))

    def follow_by(self, name: str, read: Callable[[], Mapping[str, float]]) -> None:
        """The same, for a metric with one label."""
        self.follow(name, lambda: [((label,), value) for label, value in read().items()])

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The exposition of `/metrics` and its media type: OpenMetrics, with exemplars, for who accepts it."""
        encode, kind = choose_encoder(accept)
        return encode(self.children), kind


def _example(ended: _Ended, now: float, took: float) -> dict[str, str] | None:
    """The trace of the current call, if it is its turn to be named."""
    if took < SLOW and now - ended.exemplar_at < EXEMPLAR_EACH:
        return None
    context = trace.get_current_span().get_span_context()
    if not context.trace_flags.sampled:
        return None
    ended.exemplar_at = now
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
