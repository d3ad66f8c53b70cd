"""Answers `google.longrunning.Operations` for one service: how its queued calls stand, and their cancellation.

Of an operation, only who started its call hears: for others there is none.
"""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any

from google.longrunning import operations_pb2
from google.protobuf.empty_pb2 import Empty

from laneway.call import Call
from laneway.errors import FailedPrecondition, InvalidArgument, NotFound
from laneway.lanes.everywhere import (
    CANCEL_OPERATION,
    DELETE_OPERATION,
    GET_OPERATION,
    LIST_OPERATIONS,
    WAIT_OPERATION,
)
from laneway.lanes.operation import as_message, caller_of, cancelled, operation_name
from laneway.lanes.operation_filter import selection_of
from laneway.lanes.status import status_of
from laneway.store import DuplicateKey, Store, inbox, operations, outbox
from laneway.store.operations import Operation

PAGE, LONGEST_PAGE = 50, 1000

WAIT = 10.0
"""Seconds that `WaitOperation` waits for, if it is not told."""

ANSWER_IN = 0.25
"""Seconds before its deadline at which a wait is answered."""


class OperationHandlers:
    """The operations of one service with a database."""

    def __init__(self, service: str, store: Store) -> None:
        self._service = service
        self._store = store

    @property
    def handlers(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """The handlers by the methods' full names."""
        return {
            GET_OPERATION.method.full_name: self.get,
            LIST_OPERATIONS.method.full_name: self.list,
            WAIT_OPERATION.method.full_name: self.wait,
            CANCEL_OPERATION.method.full_name: self.cancel,
            DELETE_OPERATION.method.full_name: self.delete,
        }

    async def get(self, request: operations_pb2.GetOperationRequest, call: Call) -> operations_pb2.Operation:
        """How a queued call stands."""
        return as_message(self._service, await self._known(request.name, call))

    async def list(
        self, request: operations_pb2.ListOperationsRequest, call: Call
    ) -> operations_pb2.ListOperationsResponse:
        """The caller's operations, the newest first."""
        if request.page_size < 0:
            raise InvalidArgument(f"page_size is {request.page_size}; it is a number from 0 to {LONGEST_PAGE}.")
        size = min(request.page_size or PAGE, LONGEST_PAGE)
        found = await operations.of_caller(
            self._store, caller_of(call.identity), selection_of(request.filter), size + 1, _place(request.page_token)
        )
        return operations_pb2.ListOperationsResponse(
            operations=[as_message(self._service, each) for each in found[:size]],
            next_page_token=_token(found[size - 1]) if len(found) > size else "",
        )

    async def wait(self, request: operations_pb2.WaitOperationRequest, call: Call) -> operations_pb2.Operation:
        """How a queued call stands, as soon as it has ended, or when the wait is over."""
        seconds = request.timeout.ToNanoseconds() / 1e9 if request.HasField("timeout") else WAIT
        left = call.remaining()
        if left is not None:
            seconds = min(seconds, left - min(ANSWER_IN, left / 2))
        found, pause = await self._known(request.name, call), 0.02
        try:
            async with asyncio.timeout(seconds):
                while not found.done:
                    await asyncio.sleep(pause)
                    pause = min(pause * 1.5, 0.25)
                    found = await self._known(request.name, call)
        except TimeoutError:
            """The caller may wait again."""
        return as_message(self._service, found)

    async def cancel(self, request: operations_pb2.CancelOperationRequest, call: Call) -> Empty:
        """Cancel a queued call that has not ended.

        Once it is in the inbox as cancelled, nothing of it is committed any more; who runs it, stops. A call that is
        not known may still lie in its caller's outbox: the wish is kept for when it comes.
        """
        id, caller, now = _id(request.name), caller_of(call.identity), call.now()
        found = await operations.get(self._store, id)
        if found is None or not found.method:
            await self._store.commit([operations.wish_cancelled(id, caller, now)])
        elif not found.is_of(caller):
            raise self._unknown(request.name)
        elif not found.done:
            error = status_of(cancelled(found.method)).SerializeToString()
            writes = [
                inbox.record(id, found.method, now),
                operations.wish_cancelled(id, caller, now),
                operations.cancel(id, error=error, now=now),
                outbox.postpone([id], now),  # not later: what waits behind it for its key need not wait longer
            ]
            try:
                await self._store.commit(writes)
            except DuplicateKey:
                """It has ended meanwhile."""
        return Empty()

    async def delete(self, request: operations_pb2.DeleteOperationRequest, call: Call) -> Empty:
        """Forget an operation that has ended."""
        found = await self._known(request.name, call)
        if not found.done:
            raise FailedPrecondition(f"{request.name} has not ended; cancel it first.", reason="OPERATION_PENDING")
        call.execute_write(operations.forget(found.id))
        return Empty()

    async def _known(self, name: str, call: Call) -> Operation:
        found = await operations.get(self._store, _id(name))
        if found is None or not found.is_of(caller_of(call.identity)):
            raise self._unknown(name)
        return found

    def _unknown(self, name: str) -> NotFound:
        known = operation_name(self._service, _id(name))
        return NotFound(f"{self._service} knows no operation {known}.", reason="OPERATION_UNKNOWN")


def _id(name: str) -> str:
    id = name.rsplit("/", 1)[-1]
    if not id or len(id) > 200:
        raise InvalidArgument("An operation's name is operations/<service>/<id>.", reason="OPERATION_NAME_INVALID")
    return id


def _token(last: Operation) -> str:
    return base64.urlsafe_b64encode(f"{last.created_at!r} {last.id}".encode()).decode()


def _place(token: str) -> tuple[float, str] | None:
    if not token:
        return None
    try:
        created, _, id = base64.urlsafe_b64decode(token).decode().partition(" ")
        return float(created), id
    except (ValueError, binascii.Error):
        raise InvalidArgument("The page_token is not one that this list has given.", reason="TOKEN_INVALID") from None
