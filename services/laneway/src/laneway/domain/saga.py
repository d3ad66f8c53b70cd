"""A saga: steps in several services, each with what undoes it, remembered as events.

The saga decides; its service's handlers act. They tell it what happened, and it answers with the actions that
are due now. Its memory commits in one transaction with the calls that a handler started for these actions.

    class Fulfilment(Saga):
        steps = (
            Step("reserve", compensation="release"),
            Step("authorize", compensation="void", answer_within=900),
            Step("ship"),
            Step("capture", compensation="refund"),
        )

    class FulfilmentHandlers(FulfilmentService):
        async def on_order_placed(self, event: OrderPlaced, call: Call) -> Empty:
            saga = await call.load(Fulfilment, event.order_id)
            for action in saga.start(event.order_id):
                await self.run(saga, action)
            call.save(saga)
            return Empty()

        async def on_payment_authorized(self, event: PaymentAuthorized, call: Call) -> Empty:
            saga = await call.load(Fulfilment, event.order_id)
            for action in saga.completed("authorize", event.authorization):
                await self.run(saga, action)     # the next step; or `void`, when the answer came too late
            call.save(saga)
            return Empty()

        async def give_up_waiting(self, request: GiveUpWaitingRequest, call: Call) -> Empty:    # the timer
            saga = await call.load(Fulfilment, request.order_id)
            for action in saga.timed_out("authorize"):       # none, when the answer came in time
                await self.run(saga, action)
            call.save(saga)
            return Empty()

        async def run(self, saga: Fulfilment, action: Action) -> None:
            match action.name:
                case "authorize":
                    await self.payments.authorize.start(AuthorizeRequest(order_id=saga.id), key=action.key)
                    await self.fulfilment.give_up_waiting.start(
                        GiveUpWaitingRequest(order_id=saga.id), after=action.answer_within
                    )
                case "void":
                    await self.payments.void.start(VoidRequest(authorization=action.result), key=action.key)
                    saga.compensated(action.step)            # started with this commit: it will be done
                ...

Events may come twice, late, out of order, or before the one that starts the saga: what is known already
changes nothing, what comes too late is undone. A step after which there is no way back is tried until it
succeeds, and never reported as failed.

A saga whose answer never comes is seen in `laneway sagas` and resumed there: what is due is begun again, with the
keys it was begun with (`action.key`), so that what was done is not done twice.

Must not know clocks or clients: the timer is a started call of the service to itself.
"""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from enum import Enum
from typing import Any, ClassVar

from laneway.domain.aggregate import Aggregate, applies
from laneway.errors import ConfigurationError, Internal
from laneway.v1 import saga_pb2


class Outcome(Enum):
    """How a saga ended."""

    COMPLETED = "completed"
    COMPENSATED = "compensated"


@dataclass(frozen=True, slots=True)
class Step:
    """One step, and the name of what undoes it. Its answer is waited for `answer_within` seconds."""

    name: str
    _: KW_ONLY
    compensation: str | None = None
    answer_within: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What a handler is to do now: the step `name`, or the compensation `name` of `step`."""

    name: str
    step: str
    compensates: bool = False
    result: str = ""
    """What the step answered, for its compensation."""
    answer_within: float | None = None
    """After so many seconds, tell the saga that the step has `timed_out`."""
    key: str = field(default="", compare=False)
    """The idempotency key to begin it with: the same when a saga that got stuck is resumed."""


class Saga(Aggregate):
    """Goes through `steps` in order; when one fails, undoes those that were done, the last one first.

    Each method that tells it something returns the actions that are due because of it, and only because of it:
    a repeated or outdated report returns none. All compensations that a failure makes due are returned at once,
    in order; a service whose compensations must wait for each other takes `next` after each `compensated`.
    """

    steps: ClassVar[tuple[Step, ...]] = ()
    _steps: ClassVar[Mapping[str, Step]] = {}

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        _check(cls.__name__, cls.steps)
        cls._steps = {step.name: step for step in cls.steps}

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self._correlation: str | None = None
        self._results: dict[str, str] = {}
        self._undone: set[str] = set()
        self._reason: str | None = None  # why it compensates
        self._outcome: Outcome | None = None

    # What it knows

    @property
    def correlation(self) -> str | None:
        """What it was started with; None before."""
        return self._correlation

    @property
    def compensating(self) -> bool:
        """Whether there is no way forward any more; stays true after the end."""
        return self._reason is not None

    @property
    def reason(self) -> str | None:
        """Why it compensates; None while it does not."""
        return self._reason

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None before. An answer that comes after the end may still owe a compensation."""
        return self._outcome

    @property
    def done(self) -> bool:
        """Whether it has ended and owes nothing."""
        return self._outcome is not None and not self.outstanding

    @property
    def outstanding(self) -> tuple[Action, ...]:
        """The compensations owed, the last step's first."""
        if not self.compensating:
            return ()
        owed = (step for step in reversed(self.steps) if step.name in self._results.keys() - self._undone)
        return tuple(self._undoing(step, step.compensation) for step in owed if step.compensation is not None)

    @property
    def next(self) -> Action | None:
        """The step it waits for; while it compensates, the first compensation owed."""
        if self.compensating:
            return next(iter(self.outstanding), None)
        if self._correlation is None:
            return None
        pending = (step for step in self.steps if step.name not in self._results)
        return next((self._doing(step) for step in pending), None)

    def result(self, step: str) -> str:
        """What a completed step answered."""
        self._declared(step)
        if step not in self._results:
            raise Internal(f"{type(self).__name__} {self.id}: `{step}` has no result; it is not completed.")
        return self._results[step]

    # What it is told

    def start(self, correlation: str) -> tuple[Action, ...]:
        """Begin, unless it has begun, or was cancelled before it could."""
        if self._correlation is not None or self.compensating:
            return ()
        self.record(saga_pb2.SagaStarted(correlation=correlation))
        return self._proceed(None)

    def completed(self, step: str, result: str = "") -> tuple[Action, ...]:
        """A step was done: the next one is due, or what undoes this one if the answer came too late."""
        declared = self._declared(step)
        if step in self._results:
            return ()
        waited_for = self.next
        self.record(saga_pb2.SagaStepCompleted(step=step, result=result))
        if not self.compensating:
            return self._proceed(waited_for)
        return () if declared.compensation is None else (self._undoing(declared, declared.compensation),)

    def failed(self, step: str, reason: str) -> tuple[Action, ...]:
        """A step will not be done: what undoes the steps before it is due."""
        self._declared(step)
        if step in self._results:
            return ()
        return self._turn_back(saga_pb2.SagaCompensating(reason=reason, failed_step=step))

    def timed_out(self, step: str) -> tuple[Action, ...]:
        """The timer of a step fired; nothing happens if the step was done in time."""
        return self.failed(step, f"{step} did not answer in time")

    def cancel(self, reason: str) -> tuple[Action, ...]:
        """Somebody changed their mind; too late when every step is done."""
        return self._turn_back(saga_pb2.SagaCompensating(reason=reason))

    def resume(self) -> tuple[Action, ...]:
        """What is due, once more: for a saga that waits for something that will not come by itself.

        Begun with their keys, actions that were done are answered as they were, and only the others run.
        """
        if self.compensating:
            return self.outstanding
        following = None if self._outcome is not None else self.next
        return () if following is None else (following,)

    def again(self, step: str) -> Action:
        """The action of a step once more, under its key.

        A step whose effect is elsewhere when its handler commits may have been done by a run that did not live to say
        so. Where the saga has turned back since, it is done again: then it is known, and what undoes it is due.
        """
        return self._doing(self._declared(step))

    def compensated(self, step: str) -> None:
        """A step was undone. Ignored when that is not owed: its completion may still be under way."""
        self._declared(step)
        if step not in {action.step for action in self.outstanding}:
            return
        self.record(saga_pb2.SagaStepCompensated(step=step))
        self._end_if_undone()

    def _proceed(self, waited_for: Action | None) -> tuple[Action, ...]:
        following = self.next
        if following is not None:
            return () if following == waited_for else (following,)
        if self._correlation is not None:
            self.record(saga_pb2.SagaEnded(outcome=saga_pb2.SagaEnded.COMPLETED))
        return ()

    def _turn_back(self, event: saga_pb2.SagaCompensating) -> tuple[Action, ...]:
        if self.compensating or self._outcome is not None:
            return ()
        self.record(event)
        owed = self.outstanding
        self._end_if_undone()
        return owed

    def _end_if_undone(self) -> None:
        if self._outcome is None and not self.outstanding:
            outcome = saga_pb2.SagaEnded.COMPENSATED
            self.record(saga_pb2.SagaEnded(outcome=outcome, reason=self._reason))

    def _doing(self, step: Step) -> Action:
        key = self._key(step.name)
        return Action(name=step.name, step=step.name, answer_within=step.answer_within, key=key)

    def _undoing(self, step: Step, compensation: str) -> Action:
        result, key = self._results.get(step.name, ""), self._key(compensation)
        return Action(name=compensation, step=step.name, compensates=True, result=result, key=key)

    def _key(self, action: str) -> str:
        digest = hashlib.sha256(f"{self.stream(self.id)}\0{action}".encode()).digest()
        return str(uuid.UUID(bytes=digest[:16], version=4))

    def _declared(self, step: str) -> Step:
        if step not in self._steps:
            known = ", ".join(self._steps)
            raise Internal(
                f"{type(self).__name__} has no step `{step}` (its steps: {known}); "
                "one that the log knows must stay declared.",
                reason="STEP_UNKNOWN",
            )
        return self._steps[step]

    # What happened

    @applies(saga_pb2.SagaStarted)
    def _started(self, event: saga_pb2.SagaStarted) -> None:
        self._correlation = event.correlation

    @applies(saga_pb2.SagaStepCompleted)
    def _step_completed(self, event: saga_pb2.SagaStepCompleted) -> None:
        self._results[self._declared(event.step).name] = event.result

    @applies(saga_pb2.SagaCompensating)
    def _turned_back(self, event: saga_pb2.SagaCompensating) -> None:
        self._reason = event.reason

    @applies(saga_pb2.SagaStepCompensated)
    def _step_compensated(self, event: saga_pb2.SagaStepCompensated) -> None:
        self._undone.add(event.step)

    @applies(saga_pb2.SagaEnded)
    def _ended(self, event: saga_pb2.SagaEnded) -> None:
        completed = event.outcome == saga_pb2.SagaEnded.COMPLETED
        self._outcome = Outcome.COMPLETED if completed else Outcome.COMPENSATED


def _check(saga: str, steps: tuple[Step, ...]) -> None:
    names = [name for step in steps for name in (step.name, step.compensation) if name is not None]
    if not steps:
        raise ConfigurationError(f"The saga {saga} declares no steps; set `steps = (Step(...), ...)`.")
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ConfigurationError(
            f"The saga {saga} uses the name {min(repeated)} twice; steps and compensations need their own."
        )
