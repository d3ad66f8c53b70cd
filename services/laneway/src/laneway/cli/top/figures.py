"""Two looks at metrics make figures: what is, and what happens each second between them. Pure.

A look is of any number of processes; their series are told apart by where they come from, and added up by label.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""Codes with which a service fails; the others are its answers."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value. `instance` is the process that told it."""

    instance: str
    name: str
    labels: Mapping[str, str]
    value: float

    @property
    def series(self) -> tuple[str, str, frozenset[tuple[str, str]]]:
        """What makes it the same in two looks."""
        return self.instance, self.name, frozenset(self.labels.items())


@dataclass(frozen=True, slots=True)
class Look:
    """What was told at a moment (seconds since the epoch)."""

    at: float
    samples: tuple[Sample, ...]


Sums = Mapping[tuple[str, ...], float]
"""Values by the labels that were asked for."""


class Figures:
    """What a newer and an older look say together."""

    def __init__(self, newer: Look, older: Look) -> None:
        self._seconds = max(newer.at - older.at, 1e-9)
        self._known = {sample.instance for sample in older.samples}
        self._before = {sample.series: sample.value for sample in older.samples}
        self._by_name: dict[str, list[Sample]] = defaultdict(list)
        for sample in newer.samples:
            self._by_name[sample.name].append(sample)

    def named(self, name: str) -> list[Sample]:
        """The samples of a metric as they are now."""
        return self._by_name.get(name, [])

    def total(self, name: str, *by: str, **only: str) -> Sums:
        """The values of a metric, added up by labels; `only` those whose labels are so."""
        return _added((_labels(each, by), each.value) for each in self.named(name) if _is(each, only))

    def largest(self, name: str, *by: str, **only: str) -> Sums:
        """The same, of those that several processes tell of one thing: the largest."""
        largest: dict[tuple[str, ...], float] = {}
        for each in self.named(name):
            if _is(each, only):
                key = _labels(each, by)
                largest[key] = max(each.value, largest.get(key, each.value))
        return largest

    def rate(self, name: str, *by: str, **only: str) -> Sums:
        """What a counter gains each second, added up by labels.

        A process that began again counts from nothing; one that told nothing before has gained nothing that is known.
        """
        return _added((_labels(each, by), self._gained(each)) for each in self.named(name) if _is(each, only))

    def quantile(self, share: float, name: str, *by: str, **only: str) -> Sums:
        """A quantile of what a histogram has seen between the looks; none where it saw nothing."""
        buckets: dict[tuple[str, ...], dict[float, float]] = defaultdict(lambda: defaultdict(float))
        for each in self.named(name + "_bucket"):
            if _is(each, only):
                buckets[_labels(each, by)][float(each.labels["le"])] += self._gained(each)
        return {key: found for key, of in buckets.items() if (found := _quantile(share, of)) is not None}

    def _gained(self, sample: Sample) -> float:
        if sample.instance not in self._known:
            return 0.0
        before = self._before.get(sample.series, 0.0)
        return (sample.value - (before if before <= sample.value else 0.0)) / self._seconds


def _labels(sample: Sample, by: Iterable[str]) -> tuple[str, ...]:
    """What is asked for of a sample; `instance` is the process, not a label."""
    return tuple(sample.instance if label == "instance" else sample.labels.get(label, "") for label in by)


def _is(sample: Sample, only: Mapping[str, str]) -> bool:
    return all(sample.labels.get(label) == value for label, value in only.items())


def _added(values: Iterable[tuple[tuple[str, ...], float]]) -> Sums:
    sums: dict[tuple[str, ...], float] = defaultdict(float)
    for key, value in values:
        sums[key] += value
    return dict(sums)


def _quantile(share: float, cumulative: Mapping[float, float]) -> float | None:
    """Within a bucket as if all of it were spread evenly, as Prometheus' `histogram_quantile` does."""
    bounds = sorted(cumulative)
    counts = [cumulative[bound] for bound in bounds]
    if not counts or counts[-1] <= 0:
        return None
    wanted = share * counts[-1]
    at = min(bisect_left(counts, wanted), len(bounds) - 1)
    if bounds[at] == float("inf"):
        return bounds[at - 1] if at else None
    low, below = (bounds[at - 1], counts[at - 1]) if at else (0.0, 0.0)
    inside = counts[at] - below
    return bounds[at] if inside <= 0 else low + (bounds[at] - low) * (wanted - below) / inside
