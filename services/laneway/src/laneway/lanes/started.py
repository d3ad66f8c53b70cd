"""What a caller holds of calls that were queued: their operations, asked for at their owner."""

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, Protocol, TypeVar, cast

from google.longrunning import operations_pb2
from google.protobuf.message import Message

from laneway.call import Identity, current_call
from laneway.contract.model import Method
from laneway.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument, NotFound
from laneway.lanes.everywhere import (
    CANCEL_OPERATION,
    DELETE_OPERATION,
    GET_OPERATION,
    LIST_OPERATIONS,
    WAIT_OPERATION,
    SystemMethod,
)
from laneway.lanes.status import error_from
from laneway.lanes.transport import Answer
from laneway.store import outbox
from laneway.v1 import system_pb2

Res = TypeVar("Res", bound=Message)

LONGEST_WAIT = 86_400.0
"""Seconds of a wait that is told; no call has a deadline as long as that."""


class Calls(Protocol):
    """Makes unary calls; see `laneway.lanes.outgoing.Lanes`."""

    async def call(
        self, method: Method, request: Message, *, timeout: float | None = None, identity: Identity | None = None
    ) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Operations:
    """`google.longrunning.Operations` of any service, asked on somebody's behalf: only who started a call hears of it.

    `identity` is the calling handler's caller, if it is not said.
    """

    calls: Calls
    identity: Identity | None = None

    async def get(self, name: str) -> operations_pb2.Operation:
        """How a queued call stands."""
        request = operations_pb2.GetOperationRequest(name=name)
        return cast(operations_pb2.Operation, await self._ask(GET_OPERATION, request))

    async def wait(self, name: str, timeout: float | None = None) -> operations_pb2.Operation:
        """How a queued call stands when it has ended, or after so many seconds: ten at most."""
        request = operations_pb2.WaitOperationRequest(name=name)
        if timeout is not None:
            request.timeout.FromNanoseconds(round(min(timeout, LONGEST_WAIT) * 1e9))
        return cast(operations_pb2.Operation, await self._ask(WAIT_OPERATION, request))

    async def cancel(self, name: str) -> None:
        """Cancel a queued call: what has not ended by now commits nothing.

        Where its message waits for a later moment in the caller's own outbox, it goes at once, and passes its key on.
        """
        await self._ask(CANCEL_OPERATION, operations_pb2.CancelOperationRequest(name=name))
        caller = current_call.get()
        if caller is not None and caller.has_store:
            caller.execute_write(outbox.hasten_cancelled(name.rpartition("/")[2], caller.now()))

    async def delete(self, name: str) -> None:
        """Forget an operation that has ended."""
        await self._ask(DELETE_OPERATION, operations_pb2.DeleteOperationRequest(name=name))

    async def list(
        self, owner: str, filter: str = "", *, page_size: int = 0, page_token: str = ""
    ) -> operations_pb2.ListOperationsResponse:
        """The operations that somebody has at a service, the newest first."""
        request = operations_pb2.ListOperationsRequest(
            name=f"operations/{owner}", filter=filter, page_size=page_size, page_token=page_token
        )
        return cast(operations_pb2.ListOperationsResponse, await self._ask(LIST_OPERATIONS, request))

    async def ended(self, name: str, timeout: float) -> operations_pb2.Operation:
        """An operation that has ended; asks again until then.

        An operation that its owner does not know yet was minted by a caller whose message is still on its way.

        Raises:
            DeadlineExceeded: it has not ended within so many seconds.
        """
        pause = 0.02
        try:
            async with asyncio.timeout(timeout):
                while True:
                    with contextlib.suppress(NotFound):
                        operation = await self.get(name)
                        if operation.done:
                            return operation
                    await asyncio.sleep(pause)
                    pause = min(pause * 1.5, 0.5)
        except TimeoutError:
            raise DeadlineExceeded(f"{name} has not ended within {timeout:g} s; ask again later.") from None

    async def _ask(self, system: SystemMethod, request: Message) -> Message:
        name: str = getattr(request, "name")  # noqa: B009 each of these requests has one
        owner = name.split("/")[1] if name.startswith("operations/") else ""
        if not owner:
            raise InvalidArgument(f"{name!r} names no operation; a name is operations/<service>/<id>.")
        return (await self.calls.call(system.at(owner), request, identity=self.identity)).message


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a queued call is, as its handler said at a moment. Without a `total` nobody knows where it ends."""

    done: float
    total: float | None
    note: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Started(Generic[Res]):
    """A queued call that was accepted: its operation. `replayed`: an earlier call with the same key has queued it."""

    name: str
    method: Method
    operations: Operations
    replayed: bool = False

    async def result(self, *, timeout: float) -> Res:
        """Wait for the answer, at most `timeout` seconds.

        Raises:
            LanewayError: what the call ended with.
            Cancelled: it was cancelled.
            DeadlineExceeded: it has not ended by then.
            FailedPrecondition: waited for inside a worker, where it would hold a slot that the work may need.
        """
        caller = current_call.get()
        if caller is not None and caller.facts.message_id is not None:
            raise FailedPrecondition(
                f"Waiting for {self.method.full_name} inside a worker could deadlock its slots; "
                "react to its completion event instead.",
                reason="WAIT_IN_WORKER",
            )
        operation = await self.operations.ended(self.name, timeout)
        if operation.HasField("error"):
            raise error_from(operation.error)
        reply = self.method.output()
        operation.response.Unpack(reply)
        return cast(Res, reply)

    async def cancel(self) -> None:
        """Cancel it: if it has not begun, it never will; its handler, if it runs, is cancelled and commits nothing.

        What has ended stays as it is; `result` says what became of it.
        """
        await self.operations.cancel(self.name)

    async def progress(self) -> Progress | None:
        """How far it is; None while its handler has said nothing."""
        told = system_pb2.OperationMetadata()
        try:
            operation = await self.operations.get(self.name)
        except NotFound:  # on its way
            return None
        operation.metadata.Unpack(told)
        if not told.HasField("progress"):
            return None
        said = told.progress
        total = said.total if said.HasField("total") else None
        return Progress(said.done, total, said.note, said.time.ToDatetime(UTC))
