"""How many servers a queue needs: Erlang's formula for the steady state, a fluid model for a backlog. Pure arithmetic.

A server is a slot of a worker. Sources: A. K. Erlang, "Solution of some Problems in the Theory of Probabilities of
Significance in Automatic Telephone Exchanges" (1917); the recursion for B is Gross and Harris, "Fundamentals of
Queueing Theory", §3.3.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

LATE_SHARE_OF_OBJECTIVE = 0.5
"""A backlog that cannot meet the objective any more is drained within this share of it, from when new pods work."""


def steady_servers(rate: float, service: float, *, within: float, percentile: float, at_most: int) -> int:
    """The fewest servers with which `percentile` of Poisson arrivals wait no longer than `within` seconds (M/M/c).

    `at_most` bounds the search and the answer.
    """
    load = rate * service
    if load <= 0:
        return 0
    blocking = 1.0  # Erlang B for 0 servers
    for servers in range(1, at_most + 1):
        blocking = load * blocking / (servers + load * blocking)
        if servers <= load:
            continue
        waits = blocking / (1 - load / servers * (1 - blocking))  # Erlang C
        exponent = (servers - load) * within / service
        if waits * math.exp(-min(exponent, 700.0)) <= 1 - percentile:
            return servers
    return at_most


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """A pool with messages that wait, as a fluid.

    Attributes:
        active: messages that run.
        rate: messages per second that arrive meanwhile.
        service: seconds that one takes.
        slots: of one pod.
        consuming: pods that work.
        starting: seconds until each of the pods that were asked for and do not work yet will.
        startup: seconds until a pod works that is asked for now.
        left: seconds until the head of line has waited as long as the objective says; negative when it is late.
    """

    waiting: int
    active: int
    rate: float
    service: float
    slots: int
    consuming: int
    starting: Sequence[float]
    startup: float
    left: float
    objective: float


def backlog_pods(it: Backlog) -> int:
    """The pods with which what waits starts in time, or, when it is too late for that, soon.

    A pod that starts works for less of the time that is left, and one that was asked for earlier for more of it: so
    the answer does not grow while the pods that were asked for are on their way.
    """
    service = max(it.service, 1e-6)
    soon = it.objective * LATE_SHARE_OF_OBJECTIVE
    left = max(it.left, soon)
    noise = math.sqrt(it.rate * left)  # one standard deviation of what arrives meanwhile
    if it.waiting + it.rate * left - noise <= _starts(it, left, service):
        return min(it.consuming, math.ceil(_servers(it, left, service) / it.slots))
    left = max(it.left, it.startup + soon)
    short = it.waiting + it.rate * left - _starts(it, left, service)
    for number, remaining in enumerate(sorted(it.starting)):
        if short <= 0:
            return it.consuming + number
        short -= it.slots * _share(left - remaining, service)
    if short <= 0:
        return it.consuming + len(it.starting)
    return it.consuming + len(it.starting) + math.ceil(short / (it.slots * _share(left - it.startup, service)))


def _starts(it: Backlog, seconds: float, service: float) -> float:
    """How many messages the pods that work can start."""
    servers = it.consuming * it.slots
    return max(0, servers - it.active) + servers * seconds / service


def _share(seconds: float, service: float) -> float:
    """How many messages one empty slot starts."""
    return 1 + seconds / service if seconds > 0 else 0.0


def _servers(it: Backlog, seconds: float, service: float) -> float:
    """The fewest slots that start what waits and arrives, when they are there at once."""
    return (it.waiting + it.active + it.rate * seconds) / (1 + seconds / service)
