"""What a handler is given: the call's facts, its reads, and the effects it collects.

Effects are data until the handler returns; then one short transaction writes them all (`laneway.lanes.dispatch`).
Must not know any transport.
"""

import hashlib
import json
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import TypeVar
from urllib.parse import quote, unquote

from google.protobuf.message import Message
from opentelemetry.trace import Span, SpanKind
from sqlalchemy import Executable

from laneway.contract.model import Method, descriptor_of, published
from laneway.domain.aggregate import Aggregate
from laneway.domain.recorded import Recorded
from laneway.domain.upcasting import Upcasters
from laneway.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument
from laneway.history.log import EventLog, kept_snapshot
from laneway.store import Reader, Row, Store, Transaction, Write
from laneway.store.events import NEW, NewEvent, append
from laneway.store.outbox import OutboxMessage
from laneway.store.traced import TracedReader
from laneway.telemetry import names
from laneway.telemetry.tracing import Tracing
from laneway.v1 import system_pb2

A = TypeVar("A", bound=Aggregate)


class Lane(Enum):
    """How a call travelled to its handler."""

    REST = "rest"
    GRPC = "grpc"
    QUEUE = "queue"
    EVENT = "event"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls. A principal of None is anonymous, and never the same as a named one.

    The edge tells it from credentials (`Service(authenticate=…)`); it travels with every call further down.
    """

    principal: str | None = None
    tenant: str = ""

    def __post_init__(self) -> None:
        if self.principal == "":
            raise ValueError("a principal has a name; None is the anonymous one")

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> "Identity":
        """As it travels."""
        if names.PRINCIPAL not in headers and names.TENANT not in headers:
            return ANONYMOUS
        return cls(unquote(headers.get(names.PRINCIPAL, "")) or None, unquote(headers.get(names.TENANT, "")))

    @property
    def headers(self) -> dict[str, str]:
        """How it travels."""
        if self.principal is None and not self.tenant:
            return {}
        told = {names.PRINCIPAL: quote(self.principal or ""), names.TENANT: quote(self.tenant)}
        return {name: value for name, value in told.items() if value}


ANONYMOUS = Identity()

PLAIN = ""
"""In the place of a service: the queue is a plain Celery application's."""


@dataclass(slots=True)
class Effects:
    """What a call wants written, in one transaction, when its handler returns.

    `messages` are published right after, each with its span of `publishing`; those `later` when it is time.
    """

    writes: list[Write] = field(default_factory=list)
    events: int = 0
    messages: list[OutboxMessage] = field(default_factory=list)
    publishing: list[Span] = field(default_factory=list)
    later: list[OutboxMessage] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a call when it arrives. `deadline` is on the monotonic clock."""

    method: Method
    lane: Lane
    key: str | None = None
    message_id: str | None = None
    attempt: int = 1
    deadline: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    identity: Identity = ANONYMOUS
    report: Callable[[system_pb2.Progress], None] | None = None
    """Takes what a queued call says of its progress; None where nobody asks."""
    arrival: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Names this arrival of a call that nothing else names: a rerun after a conflict is still the same call."""

    @property
    def root(self) -> str:
        """What the keys of calls further down are derived from."""
        return self.key or self.message_id or self.arrival


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a service gives to each of its calls."""

    store: Store | None
    tracing: Tracing
    wall_clock: Callable[[], float]
    monotonic: Callable[[], float]
    upcasters: Upcasters = field(default_factory=Upcasters)


class Call:
    """One call, as its handler sees it."""

    def __init__(self, facts: Facts, surroundings: Surroundings) -> None:
        self.facts = facts
        self.effects = Effects()
        self.degraded: str | None = None
        self.headers: dict[str, str] = {}
        self.transaction: Transaction | None = None
        self._surroundings = surroundings
        self._steps: set[str] = set()

    @property
    def method(self) -> Method:
        return self.facts.method

    @property
    def lane(self) -> Lane:
        return self.facts.lane

    @property
    def identity(self) -> Identity:
        """Who calls."""
        return self.facts.identity

    @property
    def attempt(self) -> int:
        """Which run of this message it is, from 1."""
        return self.facts.attempt

    @property
    def scheduled_at(self) -> datetime | None:
        """The tick of the method's schedule that this call is; None for a call that somebody made."""
        tick = self.facts.headers.get(names.SCHEDULED_AT)
        return None if tick is None else datetime.fromtimestamp(float(tick), UTC)

    def now(self) -> float:
        """Seconds since the epoch, by the service's clock."""
        return self._surroundings.wall_clock()

    def remaining(self) -> float | None:
        """Seconds until the deadline; None without one."""
        if self.facts.deadline is None:
            return None
        return self.facts.deadline - self._surroundings.monotonic()

    @property
    def has_store(self) -> bool:
        """Whether effects can be collected: the service has a database and the call a commit."""
        return self._surroundings.store is not None and not self.method.streaming

    def check_deadline(self) -> None:
        """Raise DeadlineExceeded when the caller no longer waits."""
        remaining = self.remaining()
        if remaining is not None and remaining <= 0:
            raise DeadlineExceeded(f"{self.method.full_name}: the caller's deadline has passed.")

    def degrade(self, reason: str) -> None:
        """Mark the answer as less than the full one; callers see the reason, or all of them."""
        reasons = [] if self.degraded is None else self.degraded.split("; ")
        if reason not in reasons:
            self.degraded = "; ".join([*reasons, reason])

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Say how far a queued call is, for whoever asks its operation; a call that somebody waits for has none.

        May be said as often as there is something to say: the newest word is kept, within half a second, and whether
        or not the call commits in the end. `note` is for people.
        """
        if self.facts.report is None:
            return
        told = system_pb2.Progress(done=done, total=total, note=note or None)
        told.time.FromMicroseconds(round(self.now() * 1e6))
        self.facts.report(told)

    def answer_with(self, header: str, value: str) -> None:
        """Say something about the answer: a header of `laneway.telemetry.names.ANSWER_HEADERS`.

        It reaches callers over gRPC and REST, and is replayed with the answer.
        """
        name = header.lower()
        if name not in names.ANSWER_HEADERS or not (value.isascii() and value.isprintable()):
            raise FailedPrecondition(
                f"{self.method.full_name}: an answer's header is one of {', '.join(names.ANSWER_HEADERS)} and its "
                f"value printable ASCII; put `{header}` into the reply's message."
            )
        self.headers[name] = value

    # Reads

    async def fetch(self, query: Executable) -> Sequence[Row]:
        """Read rows; in an explicit transaction, through it."""
        return await self._reader.fetch(query)

    @property
    def log(self) -> EventLog:
        """The service's event log, typed: what happened, to whom, in which order.

        It is read through the explicit transaction once there is one; a log that was taken before is not.
        """
        return EventLog(self._reader, self._surroundings.upcasters)

    async def load(
        self, aggregate: type[A], aggregate_id: str, *, version: int | None = None, at: datetime | None = None
    ) -> A:
        """An event-sourced aggregate as its log tells it; a fresh one when it has no events.

        `version` and `at` give it as it was; what has changed since cannot be saved over.
        """
        return await self.log.load(aggregate, aggregate_id, version=version, at=at)

    async def history(
        self, aggregate: type[Aggregate], aggregate_id: str, *, after: int = 0, version: int | None = None,
        at: datetime | None = None,
    ) -> list[Recorded[Message]]:  # fmt: skip
        """The events of an aggregate, oldest first: behind a version, and up to one or to a time, if given."""
        return await self.log.stream(aggregate, aggregate_id, after=after, version=version, at=at)

    # Effects, collected until the handler returns

    def save(self, aggregate: Aggregate) -> None:
        """Append what an aggregate recorded, if nobody else has appended meanwhile."""
        snapshot = kept_snapshot(aggregate, self.now())
        expected, events = aggregate.collect()
        if events:
            self._append(aggregate.stream(aggregate.id), expected, events)
            self.effects.writes.extend(snapshot)

    def emit(self, event: Message) -> None:
        """Publish an event that belongs to no aggregate."""
        if not published(descriptor_of(type(event))):
            raise FailedPrecondition(
                f"{event.DESCRIPTOR.full_name} is not published: nobody could listen; "
                "set `option (laneway.v1.event) = {published: true}` on it."
            )
        self._append(f"event/{uuid.uuid4().hex}", NEW, [event])

    def execute(self, statement: Executable, rows: Sequence[Mapping[str, object]] = (), *, expect: int | None = None,
                otherwise: Exception | None = None) -> None:  # fmt: skip
        """Write rows of the author's own tables; `otherwise` is raised when not `expect` rows are affected."""
        self.execute_write(Write(statement, rows, expect, otherwise))

    def execute_write(self, write: Write) -> None:
        """Collect a write of the library's own tables."""
        self._writable()
        self.effects.writes.append(write)

    async def begin(self) -> Transaction:
        """Open the call's transaction now, for reads that must hold until the commit.

        It commits, with all other effects, when the handler returns; until then a remote call is refused.
        """
        if self.transaction is None:
            self.transaction = await self._store.begin()
        return self.transaction

    def start(self, message: OutboxMessage, publishing: Span) -> None:
        """Collect a queued call (see `laneway.client`)."""
        self._writable()
        self.effects.messages.append(message)
        self.effects.publishing.append(publishing)

    def start_later(self, message: OutboxMessage, publishing: Span) -> None:
        """Collect a queued call that the relay publishes when its time has come."""
        self._writable()
        self.effects.later.append(message)
        publishing.end()

    def send_task(
        self,
        task: str,
        *args: object,
        queue: str = "celery",
        step: str | None = None,
        **kwargs: object,
    ) -> str:
        """Start a task of a plain Celery application on the same broker; gives the task's id.

        It is a row of this call's transaction and reaches the broker at least once, under one id however often this
        call is repeated; what the application does with it is the application's. `step` names it where a handler sends
        a task twice.

        Raises:
            InvalidArgument: an argument is no JSON.
        """
        self._writable()
        try:
            payload = json.dumps([args, kwargs]).encode()
        except (TypeError, ValueError) as error:
            raise InvalidArgument(f"{task} takes what is JSON: {error}.") from None
        id = self.derive_key(step or task)
        attributes = names.messaging(queue, id, "send")
        span = self._surroundings.tracing.start_span(names.publish_span(queue), SpanKind.PRODUCER, attributes)
        headers: dict[str, str] = {}
        self._surroundings.tracing.inject(headers, span)
        message = OutboxMessage(
            id=id, service=PLAIN, queue=queue, method=task, payload=payload, headers=headers, due_at=self.now(),
            created_at=self.now(), priority=0,
        )  # fmt: skip
        self.start_later(message, span)
        return id

    # Effects outside the database

    @asynccontextmanager
    async def outside(self, name: str, *, lane: str = "outside") -> AsyncIterator[str]:
        """An effect outside the database: gives its stable key, the same in every run of this call.

        A repetition of the call by its caller is this call only if it has a key of its own, or is a message.
        """
        self.require_no_transaction(name)
        key = self.derive_key(name)
        with self._surroundings.tracing.span(name, SpanKind.CLIENT, {"laneway.lane": lane}):
            yield key

    # For the lanes

    async def rollback(self) -> None:
        """End the call's transaction, if it has opened one, without what it wrote."""
        transaction, self.transaction = self.transaction, None
        if transaction is not None:
            await transaction.rollback()

    def require_no_transaction(self, what: str) -> None:
        """Refuse to wait for something remote while the call's transaction is open."""
        if self.transaction is not None:
            raise FailedPrecondition(
                f"{self.method.full_name}: {what} inside an explicit transaction would hold it open while waiting; "
                "make the remote call before `call.begin()`, or `start()` it.",
                reason="REMOTE_CALL_IN_TRANSACTION",
            )

    def require_declared(self, method: Method) -> None:
        """Refuse to wait for a method that the contract does not list, where it lists any; see `CallPolicy.calls`."""
        declared = self.method.policy.calls
        if declared and method.full_name not in declared:
            raise FailedPrecondition(
                f"{self.method.full_name} calls {method.full_name}, which its contract does not declare; "
                f'add `calls: "{method.full_name}"` to it, and run `laneway lint`.',
                reason="CALL_NOT_DECLARED",
            )

    def derive_key(self, step: str) -> str:
        """The key of a call further down: the same whenever this call is repeated.

        Nobody can repeat a call without a key of its own; its keys are the same in its own reruns.
        """
        if step in self._steps:
            raise FailedPrecondition(
                f"{self.method.full_name} makes the step `{step}` twice; give each its own `step=` name.",
                reason="STEP_NOT_UNIQUE",
            )
        self._steps.add(step)
        # Another principal's call under the same key is another call, also to those who know no principals.
        whose = "" if self.identity == ANONYMOUS else f"{self.identity.tenant}\0{self.identity.principal or ''}\0"
        digest = hashlib.sha256(f"{whose}{self.facts.root}\0{self.method.full_name}\0{step}".encode()).digest()
        return str(uuid.UUID(bytes=digest[:16], version=4))

    def _append(self, stream: str, expected: int, events: Sequence[Message]) -> None:
        self._writable()
        carrier: dict[str, str] = {}
        self._surroundings.tracing.inject(carrier)
        stamp = self._surroundings.upcasters.stamp
        new = [_new_event(event, {**carrier, **stamp(event.DESCRIPTOR.full_name)}, self.now()) for event in events]
        self.effects.writes.extend(append(stream, expected, new))
        self.effects.events += len(new)

    @property
    def _reader(self) -> Reader:
        own = self._store if self.transaction is None else self.transaction
        return TracedReader(own, self._surroundings.tracing)

    @property
    def _store(self) -> Store:
        if self._surroundings.store is None:
            raise FailedPrecondition(f"{self.method.owner} has no database; declare one to read or write.")
        return self._surroundings.store

    def _writable(self) -> None:
        if self._surroundings.store is None:
            raise FailedPrecondition(f"{self.method.owner} has no database; declare one to read or write.")
        if self.method.streaming:
            raise FailedPrecondition(
                f"{self.method.full_name} is a stream and has no commit of its own; write through a unary call."
            )


def _new_event(event: Message, metadata: Mapping[str, str], now: float) -> NewEvent:
    return NewEvent(str(uuid.uuid4()), event.DESCRIPTOR.full_name, event.SerializeToString(), now, metadata)


current_call: ContextVar[Call | None] = ContextVar("laneway_current_call", default=None)
