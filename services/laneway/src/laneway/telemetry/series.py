"""The series of metrics, made from the catalogue and kept few: whoever sends labels cannot fill our memory with them.

A metric has at most `MOST` series; what comes after is told under the label `other`.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from laneway.telemetry.catalogue import METRICS, OTHER, Described, Kind

MOST = 500
"""Series of a metric. A service has some dozens of methods and queues; who needs more has an attacker."""

Of = TypeVar("Of", Counter, Gauge, Histogram)

Figures = Iterable[tuple[tuple[str, ...], float]]
"""Values behind their labels."""


class Series(Generic[Of]):
    """The series of one metric, each looked up once: the look-up costs more than the counting."""

    def __init__(self, metric: Of, labels: int) -> None:
        self._metric: Any = metric
        self._known: dict[tuple[str, ...], Of] = {}
        self._others = (OTHER,) * labels

    def of(self, *labels: str) -> Of:
        """The series of these labels, or of `other`."""
        return self._known.get(labels) or self._begin(labels)

    def __contains__(self, labels: tuple[str, ...]) -> bool:
        """Whether these labels have a series of their own."""
        return labels in self._known

    def forget(self, *labels: str) -> None:
        """Tell no more of a series; nothing happens if there is none."""
        if self._known.pop(labels, None) is not None:
            self._metric.remove(*labels)

    def _begin(self, labels: tuple[str, ...]) -> Of:
        if len(self._known) >= MOST:
            others: Of = self._metric.labels(*self._others)
            return others
        series: Of = self._metric.labels(*labels) if labels else self._metric
        self._known[labels] = series
        return series


def counter(name: str, registry: CollectorRegistry) -> Series[Counter]:
    """A counter of the catalogue."""
    it = _described(name, Kind.COUNTER)
    return Series(Counter(name, it.meaning, it.labels, registry=registry), len(it.labels))


def gauge(name: str, registry: CollectorRegistry) -> Series[Gauge]:
    """A gauge of the catalogue."""
    it = _described(name, Kind.GAUGE)
    return Series(Gauge(name, it.meaning, it.labels, registry=registry), len(it.labels))


def histogram(name: str, registry: CollectorRegistry) -> Series[Histogram]:
    """A histogram of the catalogue."""
    it = _described(name, Kind.HISTOGRAM)
    return Series(Histogram(name, it.meaning, it.labels, buckets=it.buckets, registry=registry), len(it.labels))


class Followed(Collector):
    """A metric whose figures are asked for when somebody reads them, in the reader's thread."""

    def __init__(self, name: str, read: Callable[[], Figures]) -> None:
        self._described = METRICS[name]
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Its name; asks nobody."""
        return [self._family()]

    def collect(self) -> Iterator[Metric]:
        """The figures of now. Beyond `MOST`, the largest of the rest stands for all of them."""
        family = self._family()
        figures = dict(self._read())
        for labels in sorted(figures)[:MOST]:
            family.add_metric(labels, figures[labels])
        if rest := sorted(figures)[MOST:]:
            others = (OTHER,) * len(self._described.labels)
            family.add_metric(others, max(figures[labels] for labels in rest))
        yield family

    def _family(self) -> CounterMetricFamily | GaugeMetricFamily:
        it = self._described
        make = CounterMetricFamily if it.kind is Kind.COUNTER else GaugeMetricFamily
        return make(it.name, it.meaning, labels=it.labels)


def _described(name: str, kind: Kind) -> Described:
    it = METRICS[name]
    if it.kind is not kind:
        raise TypeError(f"{name} is a {it.kind.value} in the catalogue")
    return it
