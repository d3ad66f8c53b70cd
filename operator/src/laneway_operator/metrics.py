"""What Prometheus is told: every input and decision of every pool, and the operator's own work.

The pools' figures are made when somebody asks for them, from the last outcomes: they cost nothing in between, and a
pool that is gone has none.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from laneway.scaling.model import Decision, Fact, Reading
from laneway.telemetry.catalogue import METRICS
from laneway.telemetry.series import counter, histogram
from laneway_operator.kube import Request
from laneway_operator.resource import Key
from laneway_operator.status import Outcome
from laneway_operator.watch import Deployment


class Metrics:
    """One operator's metrics."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        self._requests = counter("laneway_operator_api_requests_total", own)
        self._request_seconds = histogram("laneway_operator_api_request_seconds", own)
        self._decisions = counter("laneway_operator_decisions_total", own)
        self._scales = counter("laneway_operator_scales_total", own)
        self._rounds = histogram("laneway_operator_round_seconds", own)

    def requested(self, request: Request) -> None:
        """A request to the API server ended."""
        self._requests.of(request.verb, request.resource, str(request.code)).inc()
        self._request_seconds.of(request.verb).observe(request.seconds)

    def decided(self, outcome: Outcome) -> None:
        """A pool was looked at."""
        if outcome.decision is not None:
            self._decisions.of(outcome.decision.reason.value).inc()
        if outcome.scaled_to is not None and outcome.deployment is not None:
            self._scales.of("out" if outcome.scaled_to > outcome.deployment.replicas else "in").inc()

    def round_ended(self, seconds: float) -> None:
        """A broker's pools were all decided about."""
        self._rounds.of().observe(seconds)

    def follow(
        self, outcomes: Mapping[Key, Outcome], leading: Callable[[], bool], reachable: Callable[[], bool]
    ) -> None:
        """From now on tell of these outcomes, of whether this operator decides, and whether the API server answers."""
        self.registry.register(_Pools(outcomes, {"leader": leading, "api_reachable": reachable}))

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The exposition of `/metrics` and its media type, for what a reader accepts."""
        encode, kind = choose_encoder(accept)
        return encode(self.registry), kind


class _Pools(Collector):
    def __init__(self, outcomes: Mapping[Key, Outcome], truths: Mapping[str, Callable[[], bool]]) -> None:
        self._outcomes = outcomes
        self._truths = truths

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        for name, holds in self._truths.items():
            family = _family(name)
            family.add_metric((), float(holds()))
            yield family
        outcomes = dict(self._outcomes)
        for name, value in _GAUGES.items():
            family = _family(f"pool_{name}")
            for key, outcome in outcomes.items():
                number = value(outcome)
                if number is not None:
                    family.add_metric(key, number)
            yield family
        yield _conditions(outcomes)


def _family(name: str) -> GaugeMetricFamily:
    it = METRICS[f"laneway_operator_{name}"]
    return GaugeMetricFamily(it.name, it.meaning, labels=it.labels)


def _conditions(outcomes: Mapping[Key, Outcome]) -> Metric:
    family = _family("pool_condition")
    for key, outcome in outcomes.items():
        for name, fact in outcome.conditions.items():
            family.add_metric((*key, name), _truth(fact))
    return family


def _truth(fact: Fact) -> float:
    return -1.0 if fact.holds is None else float(fact.holds)


Value = Callable[[Outcome], float | None]


def _read(of: Callable[[Reading], float | None]) -> Value:
    return lambda outcome: of(outcome.reading) if isinstance(outcome.reading, Reading) else None


def _deployed(of: Callable[[Deployment], float | None]) -> Value:
    return lambda outcome: of(outcome.deployment) if outcome.deployment is not None else None


def _decided(of: Callable[[Decision], float | None]) -> Value:
    return lambda outcome: of(outcome.decision) if outcome.decision is not None else None


_GAUGES: Mapping[str, Value] = {
    "waiting": _read(lambda reading: reading.waiting),
    "held": _read(lambda reading: reading.held),
    "reserved": _read(lambda reading: reading.reserved),
    "orphans": _read(lambda reading: reading.orphans),
    "oldest_seconds": _read(lambda reading: reading.oldest_seconds),
    "parked": _read(lambda reading: reading.parked),
    "oldest_parked_seconds": _read(lambda reading: reading.oldest_parked_seconds),
    "workers": _read(lambda reading: len(reading.workers)),
    "draining": _read(lambda reading: len(reading.drained)),
    "replicas": _deployed(lambda deployment: deployment.replicas),
    "ready": _deployed(lambda deployment: deployment.ready),
    "desired": _decided(lambda decision: decision.desired),
    "objective_met": _decided(
        lambda decision: None if decision.objective_met is None else float(decision.objective_met)
    ),
    "arrivals_per_second": _decided(lambda decision: decision.figures.arrival_rate),
    "completions_per_second": _decided(lambda decision: decision.figures.completion_rate),
    "service_seconds": _decided(lambda decision: decision.figures.service_seconds),
    "startup_seconds": _decided(lambda each: each.figures.startup_seconds),
    "slots": _decided(lambda decision: decision.figures.slots),
    "need_steady": _decided(lambda decision: decision.figures.need_steady),
    "need_backlog": _decided(lambda decision: decision.figures.need_backlog),
    "warm_minimum": _decided(lambda decision: decision.figures.warm_minimum),
    "minimum": _decided(lambda decision: decision.figures.minimum),
    "maximum": _decided(lambda decision: decision.figures.maximum),
}
