"""Idempotency keys of calls: one effect per (method, key), and the stored outcome for every repetition.

The claim is a row that is written with the effects (`laneway.store.idempotency`); this module knows what makes two
requests one's own, and which outcomes are kept.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from laneway.call import Facts
from laneway.contract.model import Method
from laneway.contract.policy import Idempotency
from laneway.errors import DeadlineExceeded, Internal, InvalidArgument, LanewayError
from laneway.lanes.fingerprint import fingerprint, same
from laneway.lanes.idempotency_key import missing
from laneway.lanes.status import error_from, status_of
from laneway.lanes.transport import Answer
from laneway.resilience.retry import EXHAUSTED
from laneway.store import LeaseHeld, Store, Write, idempotency
from laneway.telemetry import names
from laneway.v1 import system_pb2

T = TypeVar("T")

ASK_AGAIN = 1.0
"""Seconds after which a caller may ask again whose `exclusive` call is running already."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A call's claim on its key. `fence` is the token of the lease that an `exclusive` method holds."""

    method: Method
    policy: Idempotency
    key: idempotency.Key
    request: Message
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
            raise missing(facts.method)
        return None
    who, scope = facts.identity, facts.method.full_name
    if isinstance(request, system_pb2.StartRequest):
        scope = f"{scope} {request.method}"  # as if the method itself were called: its key is not another's
    key = idempotency.Key(who.tenant, who.principal or "", scope, facts.key)
    return Claim(facts.method, policy, key, request)


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

    async def outcome(self, claim: Claim) -> Answer | LanewayError | None:
        """How an earlier call with this key ended; None when none has.

        Raises:
            InvalidArgument: it was another request, whether it has ended or not: it may have had an effect outside.
            Internal: its reply is of a type that this version of the contract does not have.
        """
        record = await idempotency.find(self._store, claim.key, now=self._clock())
        if record is None:
            return None
        if not same(record.fingerprint, claim.method, claim.request):
            raise InvalidArgument(
                f"The idempotency key was used for another request than this one of {_asked(claim)}; use a new key.",
                reason="IDEMPOTENCY_KEY_REUSED",
            )
        if record.state is not idempotency.State.DONE:
            return None
        if record.error is not None:
            return error_from(Status.FromString(record.error))
        return _kept(claim.method, record)

    async def lease(self, claim: Claim) -> int | None:
        """Before an `exclusive` call runs: its committed lease; the fencing token.

        Raises:
            LeaseHeld: another copy runs.
            DuplicateKey: another copy has completed meanwhile.
        """
        if not claim.policy.exclusive:
            return None
        now = self._clock()
        leased = idempotency.lease(
            self._store, claim.key, fingerprint=_fingerprint(claim), now=now, until=now + claim.policy.lease
        )
        taking = asyncio.create_task(leased)
        try:
            return await whole(taking)
        except LeaseHeld as held:
            # The lease lasts longer than a call, so that it outlives a slow one: who asks again need not.
            held.retry_after = min(held.retry_after or ASK_AGAIN, ASK_AGAIN)
            raise
        except asyncio.CancelledError:
            if taking.done() and not taking.cancelled() and taking.exception() is None:  # nobody would give it back
                await self._store.commit([idempotency.release(claim.key, taking.result())])
            raise

    async def release(self, claim: Claim) -> None:
        """After an `exclusive` call that has no outcome."""
        if claim.fence is not None:
            await self._store.commit([idempotency.release(claim.key, claim.fence)])

    def completed(self, claim: Claim, reply: Message, headers: Mapping[str, str]) -> Write:
        """The write that keeps a call's reply.

        Raises:
            Internal: it is larger than the contract says; nothing of the call may be committed.
        """
        content = reply.SerializeToString()
        if len(content) > claim.policy.max_reply_bytes:
            raise Internal(
                f"The reply of {claim.method.full_name} has {len(content)} bytes, and its contract lets "
                f"{claim.policy.max_reply_bytes} be kept; raise idempotency.max_reply_bytes, or reply with less.",
                reason="REPLY_TOO_LARGE",
                metadata={EXHAUSTED: "true"},
            )
        return self._completed(claim, reply_type=reply.DESCRIPTOR.full_name, reply=content, headers=headers)

    def failed(self, claim: Claim, error: LanewayError) -> Write:
        """The write that keeps an answer in the negative."""
        return self._completed(claim, error=status_of(error).SerializeToString())

    def _completed(
        self,
        claim: Claim,
        *,
        reply_type: str | None = None,
        reply: bytes | None = None,
        error: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Write:
        return idempotency.complete(
            claim.key,
            fingerprint=_fingerprint(claim),
            now=self._clock(),
            keep=claim.policy.keep,
            reply_type=reply_type,
            reply=reply,
            error=error,
            headers=headers,
            fence=claim.fence,
        )


async def whole(task: "asyncio.Task[T]") -> T:
    """The result of what is not to be left half done: who is cancelled meanwhile hears of it when it has ended."""
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _fingerprint(claim: Claim) -> str:
    return fingerprint(claim.method, claim.request)


def _asked(claim: Claim) -> str:
    """The method that the caller knows: of a start, the one that it names."""
    request = claim.request
    return request.method if isinstance(request, system_pb2.StartRequest) else claim.method.full_name


def _kept(method: Method, record: idempotency.Record) -> Answer:
    """The reply as it was given: bytes of an older schema are read by the newer one."""
    if record.reply_type != method.output.DESCRIPTOR.full_name:
        raise Internal(
            f"The call has been carried out, and its reply is a {record.reply_type}, which {method.full_name} does not "
            "give any more; read the result.",
            reason="REPLY_OF_ANOTHER_CONTRACT",
            metadata={EXHAUSTED: "true"},
        )
    headers = dict(record.headers or {})
    degraded = headers.pop(names.DEGRADED, None)
    message = method.output.FromString(record.reply or b"")
    return Answer(message=message, replayed=True, degraded=degraded, headers=headers)
