"""What the operator says: a pool's status when it has changed, an Event and a line of log for each new decision."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from laneway.errors import LanewayError, NotFound
from laneway.scaling.model import Decision, Reason
from laneway_operator.kube import Kube
from laneway_operator.resource import GROUP, KIND, VERSION, Key, Resource
from laneway_operator.status import Outcome, changes, status_of, urgent
from laneway_operator.watch import Cluster

log = logging.getLogger(__name__)

PACE = 5.0
"""Seconds, at least, between two writes of a status whose numbers alone have changed."""

AT_ONCE = 8
"""Writes under way at a time."""

NUMBERS_PER_SECOND = 5.0
"""Writes of numbers alone, of all pools together: hundreds that work must not keep decisions from being told."""

MOST_EVENTS = 1000

_QUIET = frozenset({Reason.STEADY, Reason.REMEMBERED, Reason.FLOOR})
_WARNINGS = frozenset(
    {
        Reason.UNKNOWN,
        Reason.STALE,
        Reason.FALLBACK,
        Reason.INEFFECTIVE,
        Reason.BREAKERS_OPEN,
        Reason.CEILING,
        Reason.OVERDUE,
    }
)


@dataclass(slots=True)
class _Told:
    """What was last said of a pool."""

    uid: str
    status: Mapping[str, Any]
    written_at: float
    decision: tuple[str, int] | None


class Reporter:
    """Tells of outcomes; remembers what it has told.

    What is to be written waits here for `flush`, so that a slow API server slows no decision: of a pool's status only
    the last is kept, of Events the last `MOST_EVENTS`. Decisions and conditions go first, then Events, then numbers.
    """

    def __init__(
        self, kube: Kube, cluster: Cluster, identity: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._kube = kube
        self._cluster = cluster
        self._identity = identity
        self._clock = clock
        self._told: dict[Key, _Told] = {}
        self._due: dict[Key, Outcome] = {}
        self._numbers: dict[Key, Outcome] = {}
        self._numbers_from = clock()
        self._events: deque[tuple[str, Mapping[str, Any]]] = deque(maxlen=MOST_EVENTS)
        self._waiting = asyncio.Event()

    def forget(self, present: Iterable[Key]) -> None:
        """Pools that are gone need no memory."""
        for key in self._told.keys() - set(present):
            del self._told[key]
            self._due.pop(key, None)
            self._numbers.pop(key, None)

    def tell(self, outcome: Outcome) -> None:
        """Log what is new, and have the rest written."""
        told = self._remembered(outcome.resource)
        self._announce(outcome, told)
        key, patch = outcome.resource.key, self._patch(outcome, told)
        if patch and urgent(patch):
            self._numbers.pop(key, None)
            self._due[key] = outcome
        elif patch and self._clock() - told.written_at >= PACE:
            self._numbers[key] = outcome
        if self._due or self._events or self._numbers:
            self._waiting.set()

    async def run(self) -> None:
        """Write what is to be written, until cancelled."""
        while True:
            await self._waiting.wait()
            await self.flush()

    async def flush(self) -> None:
        """Write all that waits, a few at a time."""
        self._waiting.clear()
        await asyncio.gather(*(self._write_on() for _ in range(AT_ONCE)))

    async def _write_on(self) -> None:
        while True:
            if self._due:
                await self._surviving(self._write(self._due.pop(next(iter(self._due)))))
            elif self._events:
                event = self._events.popleft()
                if not await self._surviving(self._kube.create_event(*event)):
                    self._events.appendleft(event)
                    return
            elif self._numbers and self._may_write_numbers():
                await self._surviving(self._write(self._numbers.pop(next(iter(self._numbers)))))
            else:
                return

    def _may_write_numbers(self) -> bool:
        """Whether the rate allows another one; what was not used for a second is lost."""
        now = self._clock()
        if self._numbers_from > now:
            return False
        self._numbers_from = max(self._numbers_from, now - 1) + 1 / NUMBERS_PER_SECOND
        return True

    async def _surviving(self, write: Awaitable[None]) -> bool:
        """Whether the API server has heard it, or never will; one that is away hears it when something is told next."""
        try:
            await write
        except LanewayError as error:
            log.warning("not written", extra={"cause": error.message})
            return not error.transient
        return True

    def _remembered(self, resource: Resource) -> _Told:
        told = self._told.get(resource.key)
        if told is None or told.uid != resource.uid:
            before = resource.status
            known = (before["reason"], before["desiredReplicas"]) if "desiredReplicas" in before else None
            told = self._told[resource.key] = _Told(resource.uid, before, float("-inf"), known)
        return told

    def _patch(self, outcome: Outcome, told: _Told) -> Mapping[str, Any]:
        known = replace(outcome, resource=replace(outcome.resource, status=told.status))
        return changes(told.status, status_of(known))

    async def _write(self, outcome: Outcome) -> None:
        resource = outcome.resource
        told = self._told.get(resource.key)
        if told is None or told.uid != resource.uid:
            return
        patch = self._patch(outcome, told)
        told.written_at = self._clock()
        try:
            await self._kube.patch_status(resource.namespace, resource.name, patch)
        except NotFound:
            self._cluster.forget(resource.key, resource.uid)
            return
        after = {**told.status, **patch}
        told.status = {name: value for name, value in after.items() if value is not None}

    def _announce(self, outcome: Outcome, told: _Told) -> None:
        summary = _summary(outcome)
        if summary == told.decision:
            return
        told.decision = summary
        _log(outcome)
        if outcome.decision is None or outcome.failed or outcome.decision.reason not in _QUIET:
            self._events.append((outcome.resource.namespace, self._event(outcome)))

    def _event(self, outcome: Outcome) -> Mapping[str, Any]:
        resource, now = outcome.resource, datetime.now(UTC)
        reason, message, warn = _sentence(outcome)
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{resource.name}.", "namespace": resource.namespace},
            "involvedObject": {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": KIND,
                "namespace": resource.namespace,
                "name": resource.name,
                "uid": resource.uid,
            },
            "type": "Warning" if warn else "Normal",
            "reason": reason,
            "message": message[:1024],
            "action": "Scale",
            "eventTime": now.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "firstTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "lastTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "count": 1,
            "source": {"component": "laneway-operator"},
            "reportingComponent": "laneway.dev/operator",
            "reportingInstance": self._identity,
        }


def _summary(outcome: Outcome) -> tuple[str, int] | None:
    if outcome.decision is not None:
        return (outcome.failed or outcome.decision).reason, outcome.decision.desired
    return (outcome.refused.reason, -1) if outcome.refused else None


def _sentence(outcome: Outcome) -> tuple[str, str, bool]:
    """Reason, message, and whether it is a warning."""
    decision = outcome.decision
    if decision is not None and outcome.failed is not None:
        return outcome.failed.reason, f"{outcome.failed.message} Wanted was: {decision.message}", True
    if decision is not None:
        message = f"Dry run: {decision.message}" if outcome.dry else decision.message
        return decision.reason.value, message, decision.reason in _WARNINGS
    assert outcome.refused is not None  # noqa: S101 an outcome has one or the other
    return outcome.refused.reason, outcome.refused.message, True


def _log(outcome: Outcome) -> None:
    reason, message, warn = _sentence(outcome)
    facts = {**_name(outcome.resource), "reason": reason, **_figures(outcome.decision)}
    if outcome.deployment is not None:
        facts["replicas"] = outcome.deployment.replicas
    log.log(logging.WARNING if warn else logging.INFO, message, extra=facts)


def _figures(decision: Decision | None) -> dict[str, Any]:
    if decision is None:
        return {}
    numbers = {name: _short(value) for name, value in asdict(decision.figures).items() if value is not None}
    pods = {name: list(getattr(decision, name)) for name in ("drain", "undrain", "remove", "overdue")}
    return {"desired": decision.desired, **numbers, **{name: value for name, value in pods.items() if value}}


def _short(value: float) -> float:
    return round(value, 3)


def _name(resource: Resource) -> dict[str, Any]:
    return {"namespace": resource.namespace, "pool": resource.name}
