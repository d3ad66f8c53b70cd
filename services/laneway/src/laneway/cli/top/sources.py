"""Where `laneway top` looks: the processes of a running `laneway up`, or a Prometheus that knows others."""

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from prometheus_client.parser import text_string_to_metric_families

from laneway.cli.top.figures import Figures, Look, Sample
from laneway.cli.up.state import Place, State
from laneway.errors import ConfigurationError, Unavailable

EACH = 1.0
"""Seconds between looks at processes."""

WINDOW = 60.0
"""Seconds over which rates are taken of what Prometheus keeps: it looks at processes every 15 or 30."""

PATIENCE = 5.0

SELECTOR = '{__name__=~"laneway_.+|process_cpu_seconds_total|process_resident_memory_bytes"}'


class Source(Protocol):
    """Gives figures, as new as it has them."""

    def figures(self) -> Figures:
        """Look.

        Raises:
            ConfigurationError: there is nothing to look at.
            Unavailable: it does not answer.
        """


class Processes:
    """What `laneway up` runs in a data folder. One that does not answer is starting or gone, and tells nothing."""

    def __init__(self, data: Path, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._data = data
        self._sleep = sleep
        self._last: Look | None = None

    def figures(self) -> Figures:
        """Look, and if it is for the first time a moment later again: rates are between looks."""
        older = self._last or self._look()
        if self._last is None:
            self._sleep(EACH)
        self._last = self._look()
        return Figures(self._last, older)

    def _look(self) -> Look:
        if (state := State.read(self._data)) is None:
            raise ConfigurationError(
                f"Nothing runs in {self._data}; start `laneway up`, name its folder with --data, "
                "or a Prometheus with --prometheus."
            )
        at = time.time()
        telling = [(name, place) for name, place in state.processes.items() if place.admin]
        with ThreadPoolExecutor(max_workers=16) as pool:
            found = pool.map(lambda each: _told_by(*each), telling)
        return Look(at, tuple(sample for samples in found for sample in samples))


class Prometheus:
    """A Prometheus server, by its API."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time) -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigurationError(f"{url!r} is no URL of a Prometheus; write, for example, http://localhost:9090.")
        self._url = url.rstrip("/")
        self._clock = clock

    def figures(self) -> Figures:
        """What it knows now, and rates over the last minute."""
        now = self._clock()
        return Figures(self._look(now), self._look(now - WINDOW))

    def _look(self, at: float) -> Look:
        query = urllib.parse.urlencode({"query": SELECTOR, "time": f"{at:.3f}"})
        try:
            with urllib.request.urlopen(f"{self._url}/api/v1/query?{query}", timeout=PATIENCE) as answer:  # noqa: S310
                found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Unavailable(
                f"{self._url} does not answer as a Prometheus ({error}); name its port, by `kubectl port-forward`."
            ) from None
        return Look(at, tuple(map(_sample, found)))


def _told_by(name: str, place: Place) -> list[Sample]:
    try:
        with urllib.request.urlopen(f"{place.admin}/metrics", timeout=PATIENCE) as answer:  # noqa: S310
            return list(_parsed(name, answer.read().decode()))
    except OSError:
        return []


def _parsed(instance: str, text: str) -> Iterator[Sample]:
    for family in text_string_to_metric_families(text):
        for each in family.samples:
            yield Sample(instance, each.name, each.labels, each.value)


def _sample(found: dict[str, Any]) -> Sample:
    labels = dict(found["metric"])
    name, instance = labels.pop("__name__"), labels.pop("instance", "")
    return Sample(instance, name, labels, float(found["value"][1]))
