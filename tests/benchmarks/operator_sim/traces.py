"""What arrives: (second, service time of the message), for each kind of load. Poisson arrivals, seeded."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Message = tuple[float, float]


@dataclass(frozen=True)
class Trace:
    """A load, of so many seconds. Service times have a mean of one second in all of them."""

    name: str
    seconds: int
    rate: Callable[[float], float]
    bursts: tuple[tuple[float, int], ...] = ()
    service: Callable[[random.Random], float] = lambda rng: rng.expovariate(1.0)

    def messages(self, seed: int) -> list[Message]:
        """All of them, in order."""
        rng = random.Random(f"{self.name}/{seed}")
        found = [(at, self.service(rng)) for at in self._arrivals(rng)]
        for at, count in self.bursts:
            found += [(at + rng.uniform(0, 1), self.service(rng)) for _ in range(count)]
        return sorted(found)

    def _arrivals(self, rng: random.Random) -> Iterator[float]:
        """Thinning (Lewis and Shedler, 1979)."""
        highest = max(self.rate(second) for second in range(self.seconds))
        at = 0.0
        while highest > 0:
            at += rng.expovariate(highest)
            if at >= self.seconds:
                return
            if rng.random() * highest <= self.rate(at):
                yield at


def _heavy(rng: random.Random) -> float:
    """Lognormal with sigma 1.5 and mean 1: one in a hundred takes ten seconds or more."""
    return rng.lognormvariate(-(1.5**2) / 2, 1.5)


TRACES = (
    Trace("spikes", 3000, lambda _: 2.0, bursts=tuple((300.0 * n, 400) for n in range(1, 10))),
    Trace("step", 1500, lambda at: 40.0 if 300 <= at < 900 else 4.0),
    Trace("diurnal", 3600, lambda at: 20.0 - 18.0 * math.cos(at / 1800 * math.pi)),
    Trace("stationary", 1800, lambda _: 20.0),
    Trace("cold burst", 2400, lambda _: 0.0, bursts=((120.0, 400), (900.0, 400), (1700.0, 400))),
    Trace("heavy tail", 1800, lambda _: 15.0, bursts=((600.0, 300), (1200.0, 300)), service=_heavy),
)
