"""Prometheus metrics of a process, on a registry of its own. Base units, `laneway_` prefix, bounded labels."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from laneway.errors import Code, LanewayError

STATES = ("closed", "half_open", "open")


class Metrics:
    """What a process counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ["side", "method", "lane"]
        self._calls = Counter("laneway_calls", "Calls ended", [*labels, "code"], registry=self.registry)
        self._series: dict[tuple[str, str, str, Code], tuple[Counter, Histogram]] = {}
        self._seconds = Histogram("laneway_call_seconds", "Time of calls", labels, registry=self.registry)
        self._replays = Counter(
            "laneway_idempotent_replays", "Replies replayed by key", ["method"], registry=self.registry
        )
        self._breakers = Gauge(
            "laneway_breaker_state", "0 closed, 1 half-open, 2 open", ["target"], registry=self.registry
        )
        self._transitions = Counter(
            "laneway_breaker_transitions", "Changes of state", ["target", "state"], registry=self.registry
        )
        self._retries = Counter("laneway_retries", "Attempts after the first", ["method"], registry=self.registry)
        self._refusals = Counter(
            "laneway_refusals", "Calls refused on this side", ["target", "reason"], registry=self.registry
        )
        self._policy_file = Gauge(
            "laneway_policy_file_refused", "1 while the policy file is not valid, and an older one in force",
            registry=self.registry,
        )  # fmt: skip
        self._fallbacks = Counter(
            "laneway_fallbacks", "Lesser answers given", ["method", "kind"], registry=self.registry
        )
        self._deliveries = Counter(
            "laneway_queue_deliveries", "Messages run", ["queue", "outcome"], registry=self.registry
        )

        self._lag = Gauge(
            "laneway_projection_lag_seconds", "Age of what a view has not seen", ["view"], registry=self.registry
        )
        self._held = Gauge(
            "laneway_projection_held_streams", "Streams a view holds back", ["view"], registry=self.registry
        )
        self._projected = Counter(
            "laneway_projection_events", "Events that views have seen", ["view"], registry=self.registry
        )

    @contextmanager
    def call(self, side: str, method: str, lane: str) -> Iterator[None]:
        """Count and time a call; `side` is `client` or `server`."""
        begin, code = time.perf_counter(), Code.OK
        try:
            yield
        except LanewayError as error:
            code = error.code
            raise
        except BaseException:
            code = Code.CANCELLED
            raise
        finally:
            calls, seconds = self._series.get((side, method, lane, code)) or self._begin(side, method, lane, code)
            calls.inc()
            seconds.observe(time.perf_counter() - begin)

    def _begin(self, side: str, method: str, lane: str, code: Code) -> tuple[Counter, Histogram]:
        """The series of these labels, looked up once: the look-up costs more than the counting."""
        series = self._calls.labels(side, method, lane, code.name), self._seconds.labels(side, method, lane)
        self._series[side, method, lane, code] = series
        return series

    def replayed(self, method: str) -> None:
        """A stored reply was given instead of running the handler."""
        self._replays.labels(method).inc()

    def breaker_changed(self, target: str, before: object, after: object) -> None:  # noqa: ARG002 a listener
        """A breaker changed its state from `before`; a listener of `laneway.resilience.breaker`."""
        state = str(getattr(after, "value", after)).lower().replace("-", "_")
        self._breakers.labels(target).set(STATES.index(state) if state in STATES else 0)
        self._transitions.labels(target, state).inc()

    def retried(self, method: str) -> None:
        """A call is attempted again."""
        self._retries.labels(method).inc()

    def refused(self, target: str, reason: str) -> None:
        """A breaker or a limit let a call not go out; a listener of `laneway.resilience.pipeline`."""
        self._refusals.labels(target, reason).inc()

    def policy_file(self, refused: bool) -> None:
        """A new policy file was looked at; see `laneway.contract.tuning`."""
        self._policy_file.set(refused)

    def fell_back(self, method: str, kind: str) -> None:
        """A `last_good`, `queue` or `handler` answer was given."""
        self._fallbacks.labels(method, kind).inc()

    def delivered(self, queue: str, outcome: str) -> None:
        """A worker ended a message as `done`, `retry` or `park`."""
        self._deliveries.labels(queue, outcome).inc()

    def projected(self, view: str, events: int, *, lag: float, held: int) -> None:
        """A view has seen more events, and is so many seconds behind; told by the process that keeps it."""
        self._projected.labels(view).inc(events)
        self._lag.labels(view).set(lag)
        self._held.labels(view).set(held)

    def not_projecting(self, view: str) -> None:
        """Another process keeps a view, and tells how far it is."""
        for gauge in (self._lag, self._held):
            with suppress(KeyError):
                gauge.remove(view)

    def render(self) -> bytes:
        """The exposition of `/metrics`."""
        return generate_latest(self.registry)
