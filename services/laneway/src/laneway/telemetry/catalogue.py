"""Every metric of Laneway in one table: processes and operator make theirs from it, docs/metrics.md shows it, and what
dashboards and alerts ask for is held to it.

Names are as queries write them: those of counters end in `_total`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

OTHER = "other"
"""The label of what has no series of its own any more: see `laneway.telemetry.series`."""


class Kind(Enum):
    """What a query may do with a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Described:
    """One metric. `source` says who tells it: each process, or the operator; `buckets` are a histogram's bounds."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str
    source: str = "process"
    buckets: tuple[float, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """The names that queries may use."""
        parts = ("_bucket", "_sum", "_count") if self.kind is Kind.HISTOGRAM else ("",)
        return tuple(self.name + part for part in parts)


_CALL_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_WAIT_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_LEFT_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


def _counter(name: str, labels: str, meaning: str, source: str = "process") -> Described:
    return Described(name, Kind.COUNTER, tuple(labels.split()), meaning, source)


def _gauge(name: str, labels: str, meaning: str, source: str = "process") -> Described:
    return Described(name, Kind.GAUGE, tuple(labels.split()), meaning, source)


def _seconds(name: str, labels: str, buckets: tuple[float, ...], meaning: str, source: str = "process") -> Described:
    return Described(name, Kind.HISTOGRAM, tuple(labels.split()), meaning, source, buckets)


_PROCESS = (
    _gauge("laneway_process_info", "service role", "Always 1: which service and role this process is"),
    _counter(
        "laneway_calls_total",
        "side method lane code",
        "Calls ended; `side` is client or server, a request without a route has the method `none`",
    ),
    _seconds("laneway_call_seconds", "side method lane", _CALL_SECONDS, "Time of calls, with traces as exemplars"),
    _seconds(
        "laneway_deadline_left_seconds", "method lane", _LEFT_SECONDS, "What was left of the caller's deadline at entry"
    ),
    _counter("laneway_idempotent_replays_total", "method", "Replies given by key, without running the handler"),
    _gauge("laneway_breaker_state", "target", "0 closed, 1 half-open, 2 open"),
    _counter("laneway_breaker_transitions_total", "target state", "Changes to a state"),
    _counter("laneway_refusals_total", "target reason", "Calls that a breaker or a limit kept on this side"),
    _counter("laneway_retries_total", "method", "Attempts after the first"),
    _gauge("laneway_retry_budget_tokens", "service", "Retries that may be made at once to a service"),
    _counter("laneway_retry_budget_exhausted_total", "service", "Retries not made because the budget was empty"),
    _counter("laneway_fallbacks_total", "method kind", "Lesser answers: last_good, queue or handler"),
    _gauge("laneway_policy_file_refused", "", "1 while the policy file is not valid, and an older one in force"),
    _counter("laneway_queue_deliveries_total", "queue outcome", "Messages run by workers: done, retry or park"),
    _counter("laneway_queue_duplicates_total", "queue", "Copies that the inbox has dropped: their effect was there"),
    _seconds("laneway_queue_wait_seconds", "queue", _WAIT_SECONDS, "From a copy's publishing to its start by a worker"),
    _gauge("laneway_worker_slots", "", "Messages that this worker runs at a time"),
    _gauge("laneway_worker_running", "", "Messages that this worker runs now"),
    _gauge(
        "laneway_outbox_messages",
        "queue state",
        "Rows of the outbox, from each server of the service: due, waiting (with the broker, or later) or parked",
    ),
    _gauge("laneway_outbox_oldest_seconds", "queue", "How long the oldest due message has waited for a worker"),
    _gauge("laneway_outbox_full", "queue", "1 while callers are refused because the queue is too long or too old"),
    _gauge("laneway_projection_lag_seconds", "view", "Age of what a view has not seen"),
    _gauge("laneway_projection_held_streams", "view", "Streams a view holds back"),
    _counter("laneway_projection_events_total", "view", "Events that views have seen"),
    _gauge("laneway_events_withheld_seconds", "service", "Age of what is committed and no reader sees yet"),
    _gauge("laneway_sagas_open", "saga state", "Sagas that have not ended: forward or compensating"),
    _gauge("laneway_sagas_silent_seconds", "saga", "How long the most silent open saga has heard nothing"),
    _gauge("laneway_grpc_connections_open", "side peer", "Connections that are open"),
    _gauge("laneway_grpc_connections_streams_started", "side peer", "Calls begun on the connections that are open"),
    _gauge("laneway_grpc_connections_streams_failed", "side peer", "Calls of them that gRPC could not end"),
    _gauge("laneway_grpc_connections_messages_sent", "side peer", "Messages sent on the connections that are open"),
    _gauge("laneway_grpc_connections_messages_received", "side peer", "Messages received on those"),
    _gauge("laneway_grpc_connections_keep_alives_sent", "side peer", "Pings sent on the connections that are open"),
    _counter("process_cpu_seconds_total", "", "Processor time of the process"),
    _gauge("process_resident_memory_bytes", "", "Memory of the process"),
)


def _operator(name: str, labels: str, meaning: str) -> Described:
    make = _counter if name.endswith("_total") else _gauge
    return make(f"laneway_operator_{name}", labels, meaning, "operator")


def _pool(name: str, meaning: str) -> Described:
    return _operator(f"pool_{name}", "namespace pool", meaning)


_OPERATOR = (
    _operator("leader", "", "1 where this operator decides"),
    _operator("api_reachable", "", "1 where the API server answered when the lease was last renewed or looked at"),
    _operator("decisions_total", "reason", "Decisions by reason"),
    _operator("scales_total", "direction", "Scales that were patched: out or in"),
    _seconds("laneway_operator_round_seconds", "", _CALL_SECONDS,
             "Time from the begin of a broker's round to the last decision of it", "operator"),
    _operator("api_requests_total", "verb resource code",
              "Requests to the API server, watches apart; the code 0 is no answer"),
    _seconds("laneway_operator_api_request_seconds", "verb", _CALL_SECONDS, "Time of those requests", "operator"),
    _operator("pool_condition", "namespace pool type", "1 holds, 0 does not, -1 nobody knows"),
    _pool("waiting", "Messages that no worker has taken"),
    _pool("held", "Messages that workers have taken"),
    _pool("reserved", "Of those, what has not begun"),
    _pool("orphans", "Messages taken by workers that are gone"),
    _pool("oldest_seconds", "Age of the oldest message that waits"),
    _pool("parked", "Messages that wait for a person"),
    _pool("oldest_parked_seconds", "Since when the oldest of them does"),
    _pool("workers", "Workers that report"),
    _pool("draining", "Pods in the drain set"),
    _pool("replicas", "What the Deployment asks for"),
    _pool("ready", "Pods that are ready"),
    _pool("desired", "What it should come to"),
    _pool("objective_met", "1 where what waits waits within the objective"),
    _pool("arrivals_per_second", "Messages that arrive"),
    _pool("completions_per_second", "Messages that end"),
    _pool("service_seconds", "What a message takes, learned"),
    _pool("startup_seconds", "What a pod takes to start, learned"),
    _pool("slots", "Messages that a pod runs at a time"),
    _pool("need_steady", "Pods that the arrivals need"),
    _pool("need_backlog", "Pods that the backlog needs"),
    _pool("warm_minimum", "The floor that the objective needs"),
    _pool("minimum", "The floor now"),
    _pool("maximum", "The ceiling now"),
)  # fmt: skip

METRICS: Mapping[str, Described] = {each.name: each for each in (*_PROCESS, *_OPERATOR)}
