"""The one path of a call to its handler, whatever lane brought it.

deadline → authorisation → the contract's rules → claim or replay by key → handler → one transaction with everything the
handler collected → publish.
Must not know gRPC, HTTP or Celery.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, Protocol

from google.protobuf.message import Message
from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanKind

from laneway.call import Call, Effects, Facts, Identity, Lane, Surroundings, current_call
from laneway.contract.model import Contract, Method
from laneway.contract.tuning import Tuning
from laneway.errors import Aborted, Code, DeadlineExceeded, FailedPrecondition, Internal, LanewayError, Unimplemented
from laneway.lanes.backpressure import Backpressure
from laneway.lanes.claims import Claim, Claims, claim_of, whole
from laneway.lanes.idempotency_key import agreed, checked
from laneway.lanes.idle import Idle
from laneway.lanes.operation import caller_told, cancelled
from laneway.lanes.status import status_of
from laneway.lanes.transport import Answer
from laneway.store import DuplicateKey, Store, Transaction, VersionConflict, Write, inbox, operations, outbox
from laneway.store.operations import Standing
from laneway.store.outbox import OutboxMessage
from laneway.store.traced import committing
from laneway.telemetry import names
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import mark
from laneway.v1 import system_pb2

log = logging.getLogger(__name__)

RERUNS = 8
"""How often a handler runs again after a conflict of versions, before the caller is told to try later."""

Handler = Callable[..., Any]

Authorize = Callable[[Message | None, Call], Awaitable[None]]
"""Decides whether the caller may make this call, given its request (None: a stream of them).

Raises `PermissionDenied` or `Unauthenticated` if not.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A call as a lane brought it. `timeout` is what remains of the caller's deadline, in seconds."""

    lane: Lane
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    key: str | None = None
    message_id: str | None = None
    attempt: int = 1
    report: Callable[[system_pb2.Progress], None] | None = None


class Publishing(Protocol):
    """What happens to messages after their commit; must not block and must not fail."""

    def offer(self, messages: Sequence[OutboxMessage], spans: Sequence[Span]) -> None:
        """Publish now, if it can be; the relay does what could not. Ends the spans."""

    def wake(self) -> None:
        """Tell the relay that there are new events."""


class Dispatcher:
    """Runs the handlers of one service."""

    def __init__(
        self,
        contract: Contract,
        handlers: Mapping[str, Handler],
        *,
        surroundings: Surroundings,
        metrics: Metrics,
        tuning: Tuning | None = None,
        publishing: Publishing | None = None,
        authorize: Authorize | None = None,
        strike: Callable[[], Awaitable[None]] | None = None,
        pressure: Backpressure | None = None,
    ) -> None:
        self.contract = contract
        self._handlers = handlers
        self._surroundings = surroundings
        self._metrics = metrics
        self._tuning = tuning or Tuning()
        self._publishing = publishing
        self._authorize = authorize
        self._strike = strike
        self._pressure = pressure
        store = surroundings.store
        self._claims = None if store is None else Claims(store, surroundings.wall_clock)
        self._commits: set[asyncio.Task[None]] = set()

    async def unary(self, method: Method, request: Message, arrival: Arrival) -> Answer:
        """Run a call that somebody waits for.

        Raises:
            LanewayError: the handler's answer in the negative, or what kept it from answering.
        """
        if not method.awaitable:
            raise Unimplemented(f"{method.full_name} can only be started: it runs from its queue.")
        return await self._unary(method, request, arrival)

    async def stream(
        self, method: Method, requests: Message | AsyncIterator[Message], arrival: Arrival
    ) -> AsyncGenerator[Message, None]:
        """Run a streaming call; closing the iterator cancels its handler."""
        facts = self._facts(method, None, arrival)
        with self._span(facts), self._counted(facts):
            call = Call(facts, self._surroundings)
            token = current_call.set(call)
            try:
                if self._authorize is not None:
                    await self._authorize(requests if isinstance(requests, Message) else None, call)
                if self._strike is not None:
                    await self._strike()
                call.check_deadline()
                idle = Idle(method.full_name, self._tuning.of(method).idle_timeout)
                requests = _checked(method, requests if isinstance(requests, Message) else idle.guard(requests))
                if not method.server_streaming:
                    yield await self._handlers[method.full_name](requests, call)
                    return
                async with (
                    aclosing(self._handlers[method.full_name](requests, call)) as replies,
                    aclosing(idle.guard(replies)) as guarded,
                ):
                    async for reply in guarded:
                        yield reply
            except SystemExit as error:  # else it would end the server
                raise _unhandled(method.full_name) from error
            finally:
                current_call.reset(token)

    async def deliver(self, method: Method, request: Message, arrival: Arrival) -> None:
        """Run a message; returns when its outcome is committed, by this copy or another.

        Raises:
            LanewayError: there is no outcome yet; whoever delivers decides on another attempt.
        """
        message_id = _message_id(arrival)
        if await self.has_ended(method, message_id, arrival.headers):
            self._metrics.duplicate(method.queue_name)
            if producer := arrival.headers.get(names.PRODUCER):
                await self._store.commit([inbox.came_from(message_id, producer)])
            return
        try:
            await self._unary(method, request, arrival)
        except DuplicateKey:
            if not await inbox.seen(self._store, message_id):
                raise
            self._metrics.duplicate(method.queue_name)
        except LanewayError as error:
            if error.transient or method.policy.queue is None:
                raise
            await self.end(method, message_id, arrival.headers, error)

    async def has_ended(self, method: Method, message_id: str, headers: Mapping[str, str]) -> bool:
        """Whether nothing is left to run of a message. One that its caller wants cancelled, and that has not begun,
        ends with that.
        """
        if method.policy.queue is None:
            return await inbox.seen(self._store, message_id)
        found = await operations.standing(self._store, message_id, caller_told(headers))
        if found is Standing.UNWANTED:
            await self.end(method, message_id, headers, cancelled(method.full_name), operations.cancel)
        return found is not None

    async def end(
        self,
        method: Method,
        message_id: str,
        headers: Mapping[str, str],
        error: LanewayError,
        end: Callable[..., Write] = operations.fail,
    ) -> None:
        """Have done with a message whose call failed, expired or was cancelled (`end` of its operation).

        Where another copy was quicker, its outcome stands.
        """
        now, producer = self._surroundings.wall_clock(), headers.get(names.PRODUCER)
        record = inbox.record(message_id, method.full_name, now, producer)
        try:
            await self._store.commit([record, *self._ended(method, message_id, headers, error, end)])
        except DuplicateKey:
            log.debug("has ended already", extra={"id": message_id})

    async def park(self, method: Method, message_id: str, headers: Mapping[str, str], error: LanewayError) -> None:
        """Tell whoever asks the operation that its call has failed; the message may be redriven."""
        await self._store.commit(self._ended(method, message_id, headers, error, operations.fail))

    def _ended(
        self,
        method: Method,
        message_id: str,
        headers: Mapping[str, str],
        error: LanewayError,
        end: Callable[..., Write],
    ) -> list[Write]:
        if method.policy.queue is None:
            return []
        now, status = self._surroundings.wall_clock(), status_of(error).SerializeToString()
        begin = operations.create(message_id, method.full_name, now=now, caller=caller_told(headers))
        return [begin, end(message_id, error=status, now=now)]

    def elsewhere(self, method: Method, arrival: Arrival) -> Callable[[BaseException], None]:
        """A message begins to run in another process, which tells of it: `deliver` runs there.

        Call what this gives with how the run ended, if that process could not tell any more.
        """
        facts, begin = self._facts(method, None, arrival), perf_counter()
        span = self._surroundings.tracing.start_span(**self._of_message(facts, _message_id(arrival)))

        def lost(error: BaseException) -> None:
            mark(span, error)
            span.end()
            code = error.code if isinstance(error, LanewayError) else Code.CANCELLED
            self._metrics.ended("server", method.full_name, facts.lane.value, code, begin)

        return lost

    async def close(self) -> None:
        """Wait for the commits that are under way."""
        await asyncio.gather(*self._commits, return_exceptions=True)

    # One call

    async def _unary(self, method: Method, request: Message, arrival: Arrival) -> Answer:
        facts = self._facts(method, request, arrival)
        with self._span(facts) as span, self._counted(facts):
            answer = await self._once(facts, request)
            if answer.degraded is not None:
                span.set_attribute(names.IS_DEGRADED, answer.degraded)
            return answer

    async def _once(self, facts: Facts, request: Message) -> Answer:
        if self._authorize is not None:
            await self._permit(self._authorize, facts, request)
        facts.method.check(request)
        claim = claim_of(facts, request)
        if claim is None or self._claims is None:
            return await self._run(facts, request, None)
        patience = None if facts.deadline is None else facts.deadline - self._surroundings.monotonic()
        async with self._claims.alone(claim, patience):
            return await self._replay(claim, facts) or await self._run_leased(facts, request, claim)

    async def _permit(self, authorize: Authorize, facts: Facts, request: Message) -> None:
        """Before a replay: what was answered once is not for everybody. An event comes from no caller."""
        if facts.method.policy.subscription is None:
            with _authored(facts.method.full_name):
                await authorize(request, Call(facts, self._surroundings))

    def _facts(self, method: Method, request: Message | None, arrival: Arrival) -> Facts:
        policy = self._tuning.of(method)
        if arrival.timeout is not None:
            self._metrics.arrived(method.full_name, arrival.lane.value, arrival.timeout)
        if arrival.message_id is not None and policy.work is not None:
            timeout: float | None = policy.work.run_timeout
        elif method.streaming:
            timeout = arrival.timeout
        else:
            timeout = policy.granted(arrival.timeout)
        return Facts(
            method=method,
            lane=arrival.lane,
            key=_key(method, request, arrival),
            message_id=arrival.message_id,
            attempt=arrival.attempt,
            deadline=None if timeout is None else self._surroundings.monotonic() + timeout,
            headers=arrival.headers,
            identity=Identity.of(arrival.headers),
            report=arrival.report,
        )

    def _span(self, facts: Facts) -> AbstractContextManager[Span]:
        method, tracing = facts.method, self._surroundings.tracing
        if facts.message_id is not None:
            return tracing.span(**self._of_message(facts, facts.message_id))
        name = names.rpc_span(method.service_name, method.name)
        attributes = names.rpc(method.service_name, method.name, facts.lane.value)
        return tracing.span(name, SpanKind.SERVER, attributes, parent=tracing.extract(facts.headers))

    def _of_message(self, facts: Facts, message_id: str) -> dict[str, Any]:
        """What the span of a message's run is made of."""
        parent = self._surroundings.tracing.extract(facts.headers)
        told: dict[str, str | int] = {
            **names.messaging(facts.method.queue_name, message_id, "process"),
            names.LANE: facts.lane.value,
        }
        links: list[Link] = []
        if facts.attempt > 1:
            told[names.ATTEMPT_NUMBER] = facts.attempt
            links.append(Link(trace.get_current_span(parent).get_span_context(), {names.ATTEMPT_NUMBER: facts.attempt}))
        name = names.process_span(facts.method.queue_name)
        return {"name": name, "kind": SpanKind.CONSUMER, "attributes": told, "parent": parent, "links": links}

    def _counted(self, facts: Facts) -> AbstractContextManager[None]:
        return self._metrics.call("server", facts.method.full_name, facts.lane.value)

    async def _replay(self, claim: Claim, facts: Facts) -> Answer | None:
        if self._claims is None or (outcome := await self._claims.outcome(claim)) is None:
            return None
        self._metrics.replayed(claim.method.full_name)
        if isinstance(outcome, LanewayError):
            outcome.replayed = True
            raise outcome
        # A message whose key was used by a synchronous call ends with that call's reply.
        await self._store.commit(self._delivered(facts, outcome.message))
        return outcome

    async def _run_leased(self, facts: Facts, request: Message, claim: Claim) -> Answer:
        if self._claims is None:
            raise ValueError("a claim needs a store")
        try:
            claim = replace(claim, fence=await self._claims.lease(claim))
            return await self._run(facts, request, claim)
        except DuplicateKey:
            # Another process was quicker: its outcome is everyone's.
            if (replay := await self._replay(claim, facts)) is None:
                raise
            return replay
        except BaseException as error:
            if not _answers(claim.method, error):
                await self._claims.release(claim)
            raise

    async def _run(self, facts: Facts, request: Message, claim: Claim | None) -> Answer:
        for _ in range(RERUNS):
            try:
                return await self._attempt(facts, request, claim)
            except VersionConflict as conflict:
                log.debug("running again after a conflict", extra={"cause": conflict.message})
        raise Aborted(
            f"{facts.method.full_name} met concurrent changes {RERUNS} times in a row; try again.",
            reason="VERSION_CONFLICT",
            retry_after=0.1,
        )

    async def _attempt(self, facts: Facts, request: Message, claim: Claim | None) -> Answer:
        call = Call(facts, self._surroundings)
        call.check_deadline()
        token = current_call.set(call)
        try:
            reply = await self._handle(call, request)
            await self._commit(call, [*self._kept(claim, reply, call), *self._delivered(facts, reply)])
        except LanewayError as error:
            await call.rollback()  # its locks would keep the answer's own commit waiting
            error.replayed = False  # a callee's answer may be a repetition; this call's is none
            if claim is not None and self._claims is not None and _answers(claim.method, error):
                await whole(asyncio.create_task(self._store.commit([self._claims.failed(claim, error)])))
            raise
        finally:
            current_call.reset(token)
            if call.transaction is not None:
                await call.rollback()
            for span in call.effects.publishing:
                span.end()
        return Answer(message=reply, degraded=call.degraded, headers=call.headers)

    async def _handle(self, call: Call, request: Message) -> Message:
        name = call.method.full_name
        handler: Callable[[Message, Call], Awaitable[Message]] = self._handlers[name]
        with _authored(name):
            try:
                async with asyncio.timeout(call.remaining()) as limit:
                    if self._strike is not None:
                        await self._strike()
                    reply = await handler(request, call)
            except TimeoutError as error:
                if not limit.expired():
                    raise
                raise DeadlineExceeded(f"{name} did not end within its deadline.") from error
        if not isinstance(reply, call.method.output):
            wanted = call.method.output.__name__
            raise Internal(f"The handler of {name} returned {type(reply).__name__} instead of {wanted}.")
        return reply

    # Writing

    def _kept(self, claim: Claim | None, reply: Message, call: Call) -> list[Write]:
        if claim is None or self._claims is None:
            return []
        headers = call.headers if call.degraded is None else {**call.headers, names.DEGRADED: call.degraded}
        return [self._claims.completed(claim, reply, headers)]

    def _delivered(self, facts: Facts, reply: Message) -> list[Write]:
        if facts.message_id is None:
            return []
        now, method = self._surroundings.wall_clock(), facts.method
        writes = [inbox.record(facts.message_id, method.full_name, now, facts.headers.get(names.PRODUCER))]
        if method.policy.queue is not None:
            kind, payload = reply.DESCRIPTOR.full_name, reply.SerializeToString()
            # The operation of a message from another service's outbox is first heard of here.
            caller = caller_told(facts.headers)
            writes.append(
                operations.succeed(
                    facts.message_id, method.full_name, caller=caller, reply_type=kind, reply=payload, now=now
                )
            )
        return writes

    async def _commit(self, call: Call, outcome: Sequence[Write]) -> None:
        writes = [*outcome, *call.effects.writes]
        if messages := [*call.effects.messages, *call.effects.later]:
            if self._pressure is not None and call.facts.message_id is None:
                self._pressure.check(messages)
            writes.append(outbox.insert(messages))
        if not writes and call.transaction is None:
            return
        transaction, call.transaction = call.transaction, None  # the commit's own: a call that is cancelled leaves it
        task = asyncio.create_task(self._write(call.effects, writes, transaction))
        self._commits.add(task)
        task.add_done_callback(self._commits.discard)
        # A caller that goes away in mid-commit changes nothing: the effects are whole and get published. Its lease, if
        # it has one, is not given back before.
        await whole(task)

    async def _write(self, effects: Effects, writes: Sequence[Write], transaction: Transaction | None) -> None:
        with committing(self._surroundings.tracing, self._store.dialect, len(writes)):
            if transaction is None:
                await self._store.commit(writes)
            else:
                async with transaction:
                    await transaction.commit(writes)
        if self._publishing is None:
            return
        if effects.messages:
            spans, effects.publishing = effects.publishing, []
            self._publishing.offer(effects.messages, spans)
        if effects.events or effects.later:
            self._publishing.wake()

    @property
    def _store(self) -> Store:
        if self._surroundings.store is None:
            raise FailedPrecondition("This service has no database; declare one to keep keys, messages or events.")
        return self._surroundings.store


def _checked(method: Method, requests: Message | AsyncIterator[Message]) -> Message | AsyncIterator[Message]:
    """Requests that the contract's rules let through; a stream's are held to them one by one, as they come.

    Raises:
        InvalidArgument: the only request breaks a rule.
    """
    if isinstance(requests, Message):
        method.check(requests)
        return requests

    async def each(given: AsyncIterator[Message]) -> AsyncIterator[Message]:
        async for request in given:
            method.check(request)
            yield request

    return each(requests)


@contextmanager
def _authored(name: str) -> Iterator[None]:
    """Whatever the author's code of a call ends with, ends the call: its caller hears of it, or its relay."""
    try:
        yield
    except LanewayError:
        raise
    except (Exception, SystemExit, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and _is_cancelled():
            raise
        raise _unhandled(name) from error


def _unhandled(name: str) -> Internal:
    """What the caller is told of the exception that is being handled, which is logged."""
    log.exception("handler failed", extra={"method": name})
    return Internal(f"{name} failed; its service's log has the cause.", reason="UNHANDLED")


def _is_cancelled() -> bool:
    """Whether somebody has cancelled the call. If not, its handler only waited for what it has cancelled itself."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _answers(method: Method, error: BaseException) -> bool:
    """Whether an error is an answer of the business: kept like a reply."""
    return isinstance(error, LanewayError) and error.reason is not None and error.reason in method.policy.errors


def _message_id(arrival: Arrival) -> str:
    if arrival.message_id is None:
        raise ValueError("a delivery has a message id")
    return arrival.message_id


def _key(method: Method, request: Message | None, arrival: Arrival) -> str | None:
    named = arrival.key or arrival.headers.get(names.IDEMPOTENCY_KEY)
    if request is not None:
        named = agreed(method, request, named)
    return checked(named) if named else arrival.message_id
