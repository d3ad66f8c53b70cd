"""Which of several operators decides: a Lease of coordination.k8s.io, held by renewing it.

As in client-go's leader election: others judge a holder by when *they* last saw its record change, so clocks need not
agree; a holder stops deciding before others may begin. A holder that stops in order gives the Lease back.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from laneway.errors import Aborted, AlreadyExists, LanewayError, NotFound

log = logging.getLogger(__name__)

DURATION = 15.0
"""Seconds that others wait, from the last change that they saw, before they take over."""
DEADLINE = 10.0
"""Seconds after its last renewal at which a holder stops deciding."""
RENEWAL = 2.0
"""Seconds between renewals, each of which is also a look whether the API server answers."""
LOOK = 1.0
"""Seconds between looks of one who stands by, or whose renewal failed."""


class Leases(Protocol):
    """Where Leases are; errors as `kube.Kube`'s."""

    async def get_lease(self, namespace: str, name: str) -> Mapping[str, Any]: ...

    async def create_lease(self, namespace: str, name: str, spec: Mapping[str, Any]) -> Mapping[str, Any]: ...

    async def patch_lease(
        self, namespace: str, name: str, spec: Mapping[str, Any], *, version: str
    ) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class _Seen:
    """A record of the Lease: since when it has been so, and whether another holds it."""

    version: str
    at: float
    others: bool


class Leadership:
    """One contender for a Lease."""

    def __init__(
        self, leases: Leases, namespace: str, name: str, identity: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._leases = leases
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock
        self._renewed_at: float | None = None
        self._seen: _Seen | None = None
        self._refused_at: float | None = None

    @property
    def reachable(self) -> bool:
        """Whether the API server answered when it was asked last."""
        return self._refused_at is None

    @property
    def leading(self) -> bool:
        """Whether this process may decide, at this moment."""
        return self._renewed_at is not None and self._clock() - self._renewed_at < DEADLINE

    async def run(self) -> None:
        """Contend until cancelled; then give the Lease back."""
        try:
            while True:  # noqa: ASYNC110 a lease is renewed by time, not by an event
                await asyncio.sleep(RENEWAL if await self.contend() else LOOK)
        finally:
            await self.release()

    async def contend(self) -> bool:
        """Renew the Lease, or take it if nobody holds it; whether it is held now."""
        led = self.leading
        begin = self._clock()
        try:
            held = await self._acquire()
        except (Aborted, AlreadyExists):
            held = False  # another was quicker
        except LanewayError as error:
            self._refuse(error)
            return False
        if self._refused_at is not None:
            log.info("the API server answers", extra={"after": f"{self._clock() - self._refused_at:.1f} s"})
            self._refused_at = None
        self._renewed_at = begin if held else None
        if led != held:
            log.info("leading" if held else "standing by", extra={"identity": self._identity})
        return held

    def _refuse(self, error: LanewayError) -> None:
        if self._refused_at is None:
            said = "the API server does not renew the lease; until it does, nothing scales in, and soon nothing at all"
            log.warning(said, extra={"cause": error.message})
            self._refused_at = self._clock()

    async def _acquire(self) -> bool:
        try:
            lease = await self._leases.get_lease(self._namespace, self._name)
        except NotFound:
            if self._seen is not None and self._seen.others and not self._outlived(DURATION):
                return False  # somebody deleted it; its holder does not know yet
            created = await self._leases.create_lease(self._namespace, self._name, self._record({}))
            self._see(created)
            return True
        self._see(lease)
        spec = lease.get("spec", {})
        if not self._free(spec):
            return False
        version = lease["metadata"]["resourceVersion"]
        self._see(await self._leases.patch_lease(self._namespace, self._name, self._record(spec), version=version))
        return True

    def _see(self, lease: Mapping[str, Any]) -> None:
        version = lease["metadata"]["resourceVersion"]
        if self._seen is None or self._seen.version != version:
            holder = lease.get("spec", {}).get("holderIdentity")
            self._seen = _Seen(version, self._clock(), others=bool(holder) and holder != self._identity)

    def _free(self, spec: Mapping[str, Any]) -> bool:
        holder = spec.get("holderIdentity")
        if not holder or holder == self._identity:
            return True
        return self._outlived(float(spec.get("leaseDurationSeconds", DURATION)))

    def _outlived(self, seconds: float) -> bool:
        """Whether what was seen last has not changed for so long."""
        assert self._seen is not None  # noqa: S101 it has just been seen
        return self._clock() - self._seen.at >= seconds

    def _record(self, before: Mapping[str, Any]) -> Mapping[str, Any]:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        record = {"holderIdentity": self._identity, "leaseDurationSeconds": round(DURATION), "renewTime": now}
        if before.get("holderIdentity") == self._identity:
            return record
        return {**record, "acquireTime": now, "leaseTransitions": before.get("leaseTransitions", -1) + 1}

    async def release(self) -> None:
        """Let another take over at once. One who cannot be reached waits for the duration."""
        if not self.leading or self._seen is None:
            return
        self._renewed_at = None
        spec = {"holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            await self._leases.patch_lease(self._namespace, self._name, spec, version=self._seen.version)
        except LanewayError as error:
            log.warning("the lease could not be given back", extra={"cause": error.message})
