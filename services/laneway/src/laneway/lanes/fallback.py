"""Lesser answers to calls whose target fails, sheds or cannot be reached; each is marked degraded, with its reason.

Which one there is, the call site or the contract says. Must not know transports.
"""

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Protocol

from google.protobuf.message import Message

from laneway.contract.model import Method
from laneway.contract.policy import Fallback as FallbackPolicy
from laneway.errors import FailedPrecondition, LanewayError
from laneway.lanes.started import Started
from laneway.lanes.transport import Answer
from laneway.resilience.fallback import LastGood
from laneway.telemetry import names
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing

Own = Callable[[Message, Exception], Awaitable[Message]]
"""A method of the calling handler: the request and what went wrong → the answer it makes do with."""

Lesser = Callable[[Exception], Awaitable[Answer]]


class Enqueue(Protocol):
    """Queues the call; gives its operation."""

    def __call__(self) -> Awaitable[Started[Message]]: ...


@dataclass(frozen=True, slots=True)
class Question:
    """A call as far as its answer depends on it: `asker` is for whom it is."""

    method: Method
    request: Message
    asker: Hashable

    @property
    def identity(self) -> Hashable:
        """Two questions of one identity have one answer."""
        content = self.request.SerializeToString(deterministic=True)
        return self.method.owner, self.method.full_name, self.asker, content


class Fallbacks:
    """The lesser answers of a process."""

    def __init__(self, *, tracing: Tracing, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._tracing = tracing
        self._metrics = metrics
        self._last_good = LastGood(clock=clock)

    def of(
        self, question: Question, policy: FallbackPolicy | None, *, own: Own | None, enqueue: Enqueue
    ) -> Lesser | None:
        """What answers in the place of a call; a fallback of the call site goes before the contract's.

        Raises:
            FailedPrecondition: a write was given a fallback of its call site, which would lose it.
        """
        method = question.method
        if own is not None:
            if not method.reads:
                raise FailedPrecondition(
                    f"{method.full_name} is a write, and a fallback can only queue it; declare "
                    "`fallback {queue: true}` in its contract, or `idempotency_level = NO_SIDE_EFFECTS` if it reads."
                )
            return self._marked(question, "handler", lambda error: self._of_handler(question, own, error))
        if policy is None:
            return None
        if policy.queue:
            return self._marked(question, "queue", lambda _: self._queued(question, enqueue))
        max_age = policy.last_good or 0.0
        return self._marked(question, "last_good", lambda error: self._remembered(question, max_age, error))

    def answered(self, question: Question, policy: FallbackPolicy | None, answer: Answer) -> None:
        """Remember a good answer, if it may be wanted."""
        if policy is not None and policy.last_good is not None and answer.degraded is None:
            self._last_good.keep(question.identity, answer.message.SerializeToString())

    def _marked(self, question: Question, kind: str, lesser: Lesser) -> Lesser:
        """With its span and its count."""
        method = question.method
        name = names.fallback_span(method.service_name, method.name)

        async def answer(error: Exception) -> Answer:
            cause = getattr(error, "reason", None) or type(error).__name__
            with self._tracing.span(name, attributes={names.REASON: cause}) as span:
                given = await lesser(error)
                span.set_attribute(names.IS_DEGRADED, given.degraded or "")
            self._metrics.fell_back(method.full_name, kind)
            return given

        return answer

    async def _of_handler(self, question: Question, own: Own, error: Exception) -> Answer:
        message = await own(question.request, error)
        return Answer(message=message, degraded=f"{question.method.owner}: {_cause(error)}")

    async def _queued(self, question: Question, enqueue: Enqueue) -> Answer:
        started = await enqueue()
        return Answer(
            message=question.method.output(),
            replayed=started.replayed,
            degraded=f"{question.method.owner}: queued",
            operation=started.name,
        )

    async def _remembered(self, question: Question, max_age: float, error: Exception) -> Answer:
        found = self._last_good.find(question.identity, max_age=max_age)
        if found is None:
            raise error
        content, age = found
        reason = f"{question.method.owner}: last good answer, {age:.0f} s old"
        return Answer(message=question.method.output.FromString(content), degraded=reason)


def _cause(error: Exception) -> str:
    """What the public may know of it."""
    return error.code.name.lower().replace("_", " ") if isinstance(error, LanewayError) else "unavailable"
