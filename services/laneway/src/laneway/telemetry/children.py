"""What the child processes of a process have counted, told with its own: there is one `/metrics` for all of them.

A child tells now and then all that it has counted since it began. What one has counted that has ended still counts.
"""

import operator
import threading
from collections.abc import Hashable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

LEVELS = frozenset(
    {
        "laneway_process_info",
        "laneway_breaker_state",
        "laneway_policy_file_refused",
        "process_start_time_seconds",
        "process_max_fds",
    }
)
"""Gauges that are the same for all, or that tell the worst: of these the largest is told, of all others the sum."""

_GROW = frozenset({"counter", "histogram"})


class Children(Collector):
    """The metrics of a process and of its children, as one. Used by any thread."""

    def __init__(self, own: CollectorRegistry) -> None:
        self._own = own
        self._lock = threading.Lock()
        self._told: dict[Hashable, Sequence[Metric]] = {}
        self._before: list[Metric] = []

    def told(self, child: Hashable, metrics: Sequence[Metric]) -> None:
        """A child has said what it has counted."""
        with self._lock:
            self._told[child] = metrics

    def ended(self, child: Hashable) -> None:
        """A child is no more; nothing happens if it never said anything."""
        with self._lock:
            last = [metric for metric in self._told.pop(child, ()) if metric.type in _GROW]
            self._before = list(_together((*self._before, *last)))

    def collect(self) -> Iterator[Metric]:
        """All of it, as it is now."""
        with self._lock:
            children = [*self._before, *(metric for told in self._told.values() for metric in told)]
        return _together((*self._own.collect(), *children))


def _together(metrics: Iterable[Metric]) -> Iterator[Metric]:
    found: dict[str, Metric] = {}
    for metric in metrics:
        known = found.get(metric.name)
        found[metric.name] = metric if known is None else _joined(known, metric)
    return iter(found.values())


def _joined(one: Metric, other: Metric) -> Metric:
    join = max if one.name in LEVELS else operator.add
    samples = {(sample.name, *sorted(sample.labels.items())): sample for sample in one.samples}
    for new in other.samples:
        key = (new.name, *sorted(new.labels.items()))
        known = samples.get(key, new)
        value = new.value if known is new else join(known.value, new.value)
        samples[key] = known._replace(value=value, exemplar=new.exemplar or known.exemplar)
    both = Metric(one.name, one.documentation, one.type, one.unit)
    both.samples = list(samples.values())
    return both
