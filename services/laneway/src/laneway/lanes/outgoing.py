"""Calls that leave a process: each carried by the policy of its contract.

`Lanes` is what a service's factory is given to build its clients with. It gives a call its key, its deadline and its
fallback, and its attempts to a transport by way of a pipeline; a started call it hands to the caller's own transaction.
"""

import contextlib
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import cast

from google.longrunning import operations_pb2
from google.protobuf.message import Message
from opentelemetry.trace import SpanKind

from laneway.call import ANONYMOUS, Call, Identity, current_call
from laneway.contract.model import Method, read_path, write_path
from laneway.contract.policy import FALLBACK_RESERVE, Policy, Priority
from laneway.contract.tuning import Tuning
from laneway.errors import LanewayError
from laneway.lanes.everywhere import EVERYWHERE, START
from laneway.lanes.fallback import Fallbacks, Own, Question
from laneway.lanes.idempotency_key import agreed
from laneway.lanes.idle import Idle
from laneway.lanes.operation import NOW, Timing, operation_name, queued, timing
from laneway.lanes.started import Operations, Started
from laneway.lanes.system import start_request
from laneway.lanes.transport import Answer, Transport
from laneway.resilience.pipeline import Attempt, Pipeline, Pipelines
from laneway.telemetry import names
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing, mark


class Lanes:
    """Carries calls by their policy: fallback → deadline → retry → breaker → limit → attempt."""

    def __init__(
        self,
        transport: Transport,
        *,
        pipelines: Pipelines,
        tracing: Tracing,
        metrics: Metrics,
        tuning: Tuning | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._tuning = tuning or Tuning()
        self._pipelines = pipelines
        self._tracing = tracing
        self._metrics = metrics
        self._monotonic = monotonic
        self._fallbacks = Fallbacks(tracing=tracing, metrics=metrics, clock=monotonic)

    def expect(self, method: Method) -> None:
        """Meet a method before its first call.

        Raises:
            ConfigurationError: the policy file does not suit it.
        """
        self._tuning.of(method)

    async def call(
        self,
        method: Method,
        request: Message,
        *,
        timeout: float | None = None,
        key: str | None = None,
        step: str | None = None,
        metadata: Mapping[str, str] | None = None,
        fallback: Own | None = None,
        identity: Identity | None = None,
    ) -> Answer:
        """Make a unary call and wait for its answer.

        `timeout` (seconds) is within the contract's ceiling and what the calling handler's deadline leaves. `step`
        names the call where a handler makes the same one twice. `fallback` answers a read whose target fails, in the
        place of what the contract says of it. `identity` is for whom the call is; the calling handler's caller, if it
        is not said.
        """
        caller = _caller(method)
        who = _who(identity, caller)
        request, key = _keyed(method, request, key, step, caller)
        policy = self._tuning.of(method)
        deadline = self._deadline(policy, timeout, caller)
        question = lesser = None
        if fallback is not None or policy.fallback is not None:

            async def enqueue() -> Started[Message]:
                left = deadline - self._monotonic()
                return await self._start(method, request, caller, who, key=key, timeout=left)

            question = Question(method, request, who)
            lesser = self._fallbacks.of(question, policy.fallback, own=fallback, enqueue=enqueue)
        pipeline = self._pipelines.of(method, policy)
        attempt = self._attempt(method, request, key, {**(metadata or {}), **who.headers}, pipeline)
        with self._metrics.call("client", method.full_name, "grpc"):
            try:
                answer = await pipeline.call(
                    attempt,
                    deadline=deadline,
                    retryable=method.repeatable and not _is_retried(caller),
                    fallback=lesser,
                    reserve=FALLBACK_RESERVE if policy.fallback is None else policy.fallback.reserve,
                    until=None if caller is None else caller.facts.deadline,
                )
            except LanewayError as error:
                self._show(method, pipeline, error)
                raise
        if question is not None:
            self._fallbacks.answered(question, policy.fallback, answer)
        if answer.degraded and caller is not None:
            caller.degrade(answer.degraded)
        return answer

    def _attempt(
        self, method: Method, request: Message, key: str | None, metadata: Mapping[str, str], pipeline: Pipeline
    ) -> Attempt[Answer]:
        """One attempt after the other, each with its span."""
        name, attributes = names.rpc_span(method.service_name, method.name), names.rpc(method.service_name, method.name)

        async def attempt(number: int, remaining: float | None) -> Answer:
            headers = {**metadata, names.ATTEMPT: str(number)}
            if key is not None:
                headers[names.IDEMPOTENCY_KEY] = key
            if number > 1:
                self._metrics.retried(method.full_name)
            facts = {names.ATTEMPT_NUMBER: number, names.BREAKER_STATE: pipeline.breaker.state.value}
            with self._tracing.span(name, SpanKind.CLIENT, {**attributes, **facts}) as span:
                self._tracing.inject(headers)
                answer = await self._transport.unary(method, request, headers, remaining)
                if answer.degraded:
                    span.set_attribute(names.IS_DEGRADED, answer.degraded)
                return answer

        return attempt

    def _show(self, method: Method, pipeline: Pipeline, error: LanewayError) -> None:
        """A call that was refused on this side made no attempt; it has its span all the same."""
        if error.metadata.get("target") == pipeline.breaker.target:
            attributes = names.rpc(method.service_name, method.name)
            name = names.rpc_span(method.service_name, method.name)
            with contextlib.suppress(LanewayError), self._tracing.span(name, SpanKind.CLIENT, attributes):
                raise error

    async def stream(
        self,
        method: Method,
        requests: Message | AsyncIterable[Message],
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        identity: Identity | None = None,
    ) -> AsyncGenerator[Message, None]:
        """Make a streaming call; the breaker decides at the first message. No deadline unless one is given."""
        caller = _caller(method)
        headers = {**(metadata or {}), **_who(identity, caller).headers}
        policy = self._tuning.of(method)
        deadline = self._deadline(policy, timeout, caller) if timeout is not None else None
        attributes = names.rpc(method.service_name, method.name)
        # Not made the current span: a generator's steps may run in several contexts.
        span = self._tracing.start_span(names.rpc_span(method.service_name, method.name), SpanKind.CLIENT, attributes)
        self._tracing.inject(headers, span)
        remaining = None if deadline is None else deadline - self._monotonic()
        idle = Idle(method.full_name, policy.idle_timeout)
        sent = requests if isinstance(requests, Message) else idle.count(requests)
        replies = self._pipelines.of(method, policy).stream(
            lambda: self._transport.stream(method, sent, headers, remaining)
        )
        try:
            with self._metrics.call("client", method.full_name, "grpc"):
                async with aclosing(replies), aclosing(idle.guard(replies)) as guarded:
                    async for reply in guarded:
                        yield reply
        except BaseException as error:
            mark(span, error)
            raise
        finally:
            span.end()

    async def start(
        self,
        method: Method,
        request: Message,
        *,
        key: str | None = None,
        step: str | None = None,
        after: float | timedelta = 0.0,
        at: datetime | None = None,
        priority: Priority | None = None,
        timeout: float | None = None,
        identity: Identity | None = None,
    ) -> Started[Message]:
        """Queue a call: in the caller's own transaction where it has one, otherwise with its owner.

        `timeout` (seconds) is how long the owner's acceptance may take, within the contract's ceiling.
        It starts not before the moment `at`, or not before `after` (seconds, or a `timedelta`) has passed.
        """
        when = timing(at=at, after=after, priority=priority)
        caller = current_call.get()
        request, key = _keyed(method, request, key, step, caller)
        who = _who(identity, caller)
        with self._metrics.call("client", method.full_name, "queue"):
            return await self._start(method, request, caller, who, key=key, when=when, timeout=timeout)

    async def _start(
        self,
        method: Method,
        request: Message,
        caller: Call | None,
        who: Identity,
        *,
        key: str | None,
        when: Timing = NOW,
        timeout: float | None = None,
    ) -> Started[Message]:
        if caller is None or not caller.has_store:
            return await self._accept(method, request, key, who, when, timeout)
        method.check(request)
        operation = str(uuid.uuid4())
        span = self._tracing.start_span(
            names.publish_span(method.queue_name),
            SpanKind.PRODUCER,
            names.messaging(method.queue_name, operation, "send"),
        )
        headers = {**who.headers, **({names.IDEMPOTENCY_KEY: key} if key else {})}
        self._tracing.inject(headers, span)
        message = queued(method, request, operation, headers, caller.now(), when)
        collect = caller.start if when.is_now and message.order_key is None else caller.start_later
        collect(message, span)
        return Started(operation_name(method.owner, operation), method, Operations(self, who))

    async def _accept(
        self, method: Method, request: Message, key: str | None, who: Identity, when: Timing, timeout: float | None
    ) -> Started[Message]:
        start = start_request(method, request, when)
        key = key or str(uuid.uuid4())
        answer = await self.call(START.at(method.owner), start, key=key, timeout=timeout, identity=who)
        operation = cast(operations_pb2.Operation, answer.message)
        return Started(operation.name, method, Operations(self, who), answer.replayed)

    def _deadline(self, policy: Policy, timeout: float | None, caller: Call | None) -> float:
        granted = policy.granted(timeout)
        remaining = caller.remaining() if caller is not None else None
        return self._monotonic() + (granted if remaining is None else min(granted, remaining))


def _caller(method: Method) -> Call | None:
    caller = current_call.get()
    if caller is not None:
        caller.require_no_transaction(f"a call of {method.full_name}")
        if method.service_name not in EVERYWHERE:
            caller.require_declared(method)
    return caller


def _who(identity: Identity | None, caller: Call | None) -> Identity:
    return identity or (ANONYMOUS if caller is None else caller.identity)


def _is_retried(caller: Call | None) -> bool:
    """Whether a layer above retries already: its attempts and ours would multiply."""
    return caller is not None and caller.facts.message_id is None and caller.attempt > 1


def _keyed(
    method: Method, request: Message, key: str | None, step: str | None, caller: Call | None
) -> tuple[Message, str | None]:
    """The request and its idempotency key; the contract's field is filled in, the caller's object left alone."""
    idempotency = method.policy.idempotency
    if idempotency is None:
        return request, key
    if idempotency.key is None:
        return request, key or _new_key(method, step, caller)
    key = agreed(method, request, key) or _new_key(method, step, caller)
    if read_path(request, idempotency.key) == key:
        return request, key
    filled = type(request)()
    filled.CopyFrom(request)
    write_path(filled, idempotency.key, key)
    return filled, key


def _new_key(method: Method, step: str | None, caller: Call | None) -> str:
    if caller is None:
        return str(uuid.uuid4())
    return caller.derive_key(step or method.full_name)
