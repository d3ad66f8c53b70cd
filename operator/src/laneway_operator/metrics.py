"""What Prometheus is told: every input and decision of every pool, and the operator's own work.

The pools' figures are made when somebody asks for them, from the last outcomes: they cost nothing in between, and a
pool that is gone has none.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from laneway.scaling.model import Decision, Fact, Reading
from laneway_operator.kube import Request
from laneway_operator.resource import Key
from laneway_operator.status import Outcome
from laneway_operator.watch import Deployment

_LABELS = ("namespace", "pool")


class Metrics:
    """One operator's metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "laneway_operator_api_requests",
            "Requests to the API server, watches apart; the code 0 is no answer",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self._request_seconds = Histogram(
            "laneway_operator_api_request_seconds", "Time of those requests", ["verb"], registry=self.registry
        )
        self._decisions = Counter(
            "laneway_operator_decisions", "Decisions by reason", ["reason"], registry=self.registry
        )
        self._scales = Counter(
            "laneway_operator_scales", "Scales that were patched", ["direction"], registry=self.registry
        )
        self._rounds = Histogram(
            "laneway_operator_round_seconds",
            "Time from the begin of a broker's round to the last decision of it",
            registry=self.registry,
        )

    def requested(self, request: Request) -> None:
        """A request to the API server ended."""
        self._requests.labels(request.verb, request.resource, request.code).inc()
        self._request_seconds.labels(request.verb).observe(request.seconds)

    def decided(self, outcome: Outcome) -> None:
        """A pool was looked at."""
        if outcome.decision is not None:
            self._decisions.labels(outcome.decision.reason.value).inc()
        if outcome.scaled_to is not None and outcome.deployment is not None:
            self._scales.labels("out" if outcome.scaled_to > outcome.deployment.replicas else "in").inc()

    def round_ended(self, seconds: float) -> None:
        """A broker's pools were all decided about."""
        self._rounds.observe(seconds)

    def follow(self, outcomes: Mapping[Key, Outcome], leading: Callable[[], bool]) -> None:
        """From now on tell of these outcomes, and of whether this operator decides."""
        self.registry.register(_Pools(outcomes, leading))

    def render(self) -> bytes:
        """The exposition of `/metrics`."""
        return generate_latest(self.registry)


class _Pools(Collector):
    def __init__(self, outcomes: Mapping[Key, Outcome], leading: Callable[[], bool]) -> None:
        self._outcomes = outcomes
        self._leading = leading

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        leader = GaugeMetricFamily("laneway_operator_leader", "1 where this operator decides")
        leader.add_metric((), float(self._leading()))
        yield leader
        outcomes = dict(self._outcomes)
        for name, (text, value) in _GAUGES.items():
            family = GaugeMetricFamily(f"laneway_operator_pool_{name}", text, labels=_LABELS)
            for key, outcome in outcomes.items():
                number = value(outcome)
                if number is not None:
                    family.add_metric(key, number)
            yield family
        yield _conditions(outcomes)


def _conditions(outcomes: Mapping[Key, Outcome]) -> Metric:
    family = GaugeMetricFamily(
        "laneway_operator_pool_condition", "1 holds, 0 does not, -1 nobody knows", labels=(*_LABELS, "type")
    )
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


_GAUGES: Mapping[str, tuple[str, Value]] = {
    "waiting": ("Messages that no worker has taken", _read(lambda reading: reading.waiting)),
    "held": ("Messages that workers have taken", _read(lambda reading: reading.held)),
    "orphans": ("Messages taken by workers that are gone", _read(lambda reading: reading.orphans)),
    "oldest_seconds": ("Age of the oldest message that waits", _read(lambda reading: reading.oldest_seconds)),
    "parked": ("Messages that wait for a person", _read(lambda reading: sum(each.parked for each in reading.queues))),
    "workers": ("Workers that report", _read(lambda reading: len(reading.workers))),
    "draining": ("Pods in the drain set", _read(lambda reading: len(reading.drained))),
    "replicas": ("What the Deployment asks for", _deployed(lambda deployment: deployment.replicas)),
    "ready": ("Pods that are ready", _deployed(lambda deployment: deployment.ready)),
    "desired": ("What it should come to", _decided(lambda decision: decision.desired)),
    "objective_met": (
        "1 where what waits waits within the objective",
        _decided(lambda decision: None if decision.objective_met is None else float(decision.objective_met)),
    ),
    "arrivals_per_second": ("Messages that arrive", _decided(lambda decision: decision.figures.arrival_rate)),
    "completions_per_second": ("Messages that end", _decided(lambda decision: decision.figures.completion_rate)),
    "service_seconds": ("What a message takes, learned", _decided(lambda decision: decision.figures.service_seconds)),
    "startup_seconds": ("What a pod takes to start, learned", _decided(lambda each: each.figures.startup_seconds)),
    "slots": ("Messages that a pod runs at a time", _decided(lambda decision: decision.figures.slots)),
    "need_steady": ("Pods that the arrivals need", _decided(lambda decision: decision.figures.need_steady)),
    "need_backlog": ("Pods that the backlog needs", _decided(lambda decision: decision.figures.need_backlog)),
    "warm_minimum": ("The floor that the objective needs", _decided(lambda decision: decision.figures.warm_minimum)),
    "minimum": ("The floor now", _decided(lambda decision: decision.figures.minimum)),
    "maximum": ("The ceiling now", _decided(lambda decision: decision.figures.maximum)),
}
