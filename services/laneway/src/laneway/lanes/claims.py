"""Idempotency keys of calls: one effect per (method, key), and the stored outcome for every repetition.

The claim is a row that is written with the effects (`laneway.store.idempotency`); this module knows what makes two
requests the same, and which outcomes are kept.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from laneway.call import Facts
from laneway.contract.model import Method
from laneway.contract.policy import Idempotency
from laneway.errors import DeadlineExceeded, InvalidArgument, LanewayError
from laneway.lanes.status import error_from, status_of
from laneway.store import LeaseHeld, Store, Write, idempotency

ASK_AGAIN = 1.0
"""Seconds after which a caller may ask again whose `exclusive` call is running already."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A call's claim on its key. `fence` is the token of the lease that an `exclusive` method holds."""

    method: Method
    policy: Idempotency
    key: idempotency.Key
    fingerprint: str
    fence: int | None = None


def claim_of(facts: Facts, request: Message) -> Claim | None:
    """What a call claims; None when nothing makes its repetitions one.

    Raises:
        InvalidArgument: the contract requires a key, and the call has none.
    """
    policy = facts.method.policy.idempotency
    if policy is None:
        return None
    if facts.key is None:
        if policy.required:
            raise InvalidArgument(
                f"{facts.method.full_name} needs an idempotency key; send one with the call.",
                reason="IDEMPOTENCY_KEY_MISSING",
            )
        return None
    key = idempotency.Key(tenant="", principal="", method=facts.method.full_name, key=facts.key)
    return Claim(facts.method, policy, key, _fingerprint(policy, request))


class Claims:
    """The claims of one service's process."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._running: dict[idempotency.Key, asyncio.Future[None]] = {}

    @asynccontextmanager
    async def alone(self, claim: Claim, patience: float | None) -> AsyncIterator[None]:
        """Let one call of a key run at a time in this process; the next finds its outcome.

        Calls of an `exclusive` method do not wait: their lease turns the second away, in this process as in others.

        Raises:
            DeadlineExceeded: the other has not ended within `patience` seconds.
        """
        if claim.policy.exclusive:
            yield
            return
        await self._others_end(claim, patience)
        self._running[claim.key] = running = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            del self._running[claim.key]
            running.set_result(None)

    async def _others_end(self, claim: Claim, patience: float | None) -> None:
        try:
            async with asyncio.timeout(patience):
                while (other := self._running.get(claim.key)) is not None:
                    await asyncio.wait([other])
        except TimeoutError:
            raise DeadlineExceeded(
                f"{claim.method.full_name} runs under this idempotency key and did not end by the deadline; ask again."
            ) from None

    async def outcome(self, claim: Claim) -> Message | LanewayError | None:
        """How an earlier call with this key ended; None when none has.

        Raises:
            InvalidArgument: it was another request.
        """
        record = await idempotency.find(self._store, claim.key, now=self._clock())
        if record is None or record.state is not idempotency.State.DONE:
            return None
        if record.fingerprint != claim.fingerprint:
            raise InvalidArgument(
                f"The idempotency key was used for another request of {claim.method.full_name}; use a new key.",
                reason="IDEMPOTENCY_KEY_REUSED",
            )
        if record.error is not None:
            return error_from(Status.FromString(record.error))
        return claim.method.output.FromString(record.reply or b"")

    async def lease(self, claim: Claim) -> int | None:
        """Before an `exclusive` call runs: its committed lease; the fencing token.

        Raises:
            LeaseHeld: another copy runs.
            DuplicateKey: another copy has completed meanwhile.
        """
        if not claim.policy.exclusive:
            return None
        now = self._clock()
        try:
            return await idempotency.lease(
                self._store, claim.key, fingerprint=claim.fingerprint, now=now, until=now + claim.policy.lease
            )
        except LeaseHeld as held:
            # The lease lasts longer than a call, so that it outlives a slow one: who asks again need not.
            held.retry_after = min(held.retry_after or ASK_AGAIN, ASK_AGAIN)
            raise

    async def release(self, claim: Claim) -> None:
        """After an `exclusive` call that has no outcome."""
        if claim.fence is not None:
            await self._store.commit([idempotency.release(claim.key, claim.fence)])

    def completed(self, claim: Claim, outcome: Message | LanewayError) -> Write:
        """The write that keeps a call's outcome."""
        failed = outcome if isinstance(outcome, LanewayError) else None
        reply = None if isinstance(outcome, LanewayError) else outcome
        return idempotency.complete(
            claim.key,
            fingerprint=claim.fingerprint,
            now=self._clock(),
            keep=claim.policy.keep,
            reply_type=None if reply is None else reply.DESCRIPTOR.full_name,
            reply=None if reply is None else reply.SerializeToString(),
            error=None if failed is None else status_of(failed).SerializeToString(),
            fence=claim.fence,
        )


def _fingerprint(policy: Idempotency, request: Message) -> str:
    """Of the canonical content, without the key itself."""
    if policy.key is not None:
        bare = type(request)()
        bare.CopyFrom(request)
        *parents, last = policy.key.split(".")
        holder: Any = bare
        for name in parents:
            holder = getattr(holder, name)
        holder.ClearField(last)
        request = bare
    return hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()
