"""Typed clients: each attribute is a method of a contract, called (`await`) or started (queued).

The generated classes build on these; what carries the calls is `laneway.lanes.outgoing.Lanes`.
"""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import ClassVar, Generic, TypeVar, cast

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from laneway.contract.model import Method, method_of
from laneway.contract.policy import Priority
from laneway.errors import InvalidArgument, NotFound
from laneway.lanes.fallback import Own
from laneway.lanes.operation import operation_name
from laneway.lanes.outgoing import Lanes
from laneway.lanes.started import Operations, Progress, Started

__all__ = [
    "BidiStream", "Client", "ClientStream", "Lanes", "Operations", "Priority", "Progress", "Queueable", "Queued",
    "ServerStream", "Started", "Unary",
]  # fmt: skip

Req = TypeVar("Req", bound=Message)
Res = TypeVar("Res", bound=Message)


class Client:
    """A service's methods as seen by its callers; generated classes fill it in."""

    DESCRIPTOR: ClassVar[ServiceDescriptor]

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes

    @property
    def lanes(self) -> Lanes:
        return self._lanes

    def _method(self, name: str) -> Method:
        return method_of(self.DESCRIPTOR.methods_by_name[name])

    def _unary(self, name: str) -> "Unary[Req, Res]":
        return Unary(self._method(name), self._lanes)

    def _queueable(self, name: str) -> "Queueable[Req, Res]":
        return Queueable(self._method(name), self._lanes)

    def _queued(self, name: str) -> "Queued[Req, Res]":
        return Queued(self._method(name), self._lanes)

    def _server_stream(self, name: str) -> "ServerStream[Req, Res]":
        return ServerStream(self._method(name), self._lanes)

    def _client_stream(self, name: str) -> "ClientStream[Req, Res]":
        return ClientStream(self._method(name), self._lanes)

    def _bidi_stream(self, name: str) -> "BidiStream[Req, Res]":
        return BidiStream(self._method(name), self._lanes)


class _Bound:
    def __init__(self, method: Method, lanes: Lanes) -> None:
        self.method = method
        self._lanes = lanes
        lanes.expect(method)


class Unary(_Bound, Generic[Req, Res]):
    """A method whose answer is awaited."""

    async def __call__(
        self,
        request: Req,
        *,
        timeout: float | None = None,
        key: str | None = None,
        step: str | None = None,
        fallback: Callable[[Req, Exception], Awaitable[Res]] | None = None,
    ) -> Res:
        """Call it; see `Lanes.call`."""
        own = cast("Own | None", fallback)
        answer = await self._lanes.call(self.method, request, timeout=timeout, key=key, step=step, fallback=own)
        return cast(Res, answer.message)


class Queued(_Bound, Generic[Req, Res]):
    """A method that can only be started."""

    async def start(
        self,
        request: Req,
        *,
        key: str | None = None,
        step: str | None = None,
        after: float | timedelta = 0.0,
        at: datetime | None = None,
        priority: Priority | None = None,
    ) -> Started[Res]:
        """Queue it; true when the caller's transaction (or the owner's) commits.

        It starts as soon as a worker is free; not before the moment `at`, if it is said, or not before `after`
        (seconds, or a `timedelta`) has passed. `priority` is in the place of the contract's.

        Raises:
            InvalidArgument: both `at` and `after` were said, or `at` has no time zone.
        """
        started = await self._lanes.start(
            self.method, request, key=key, step=step, after=after, at=at, priority=priority
        )
        return cast(Started[Res], started)

    def operation(self, name: str) -> Started[Res]:
        """A call that was started before, by the name of its operation.

        Raises:
            InvalidArgument: it is not the name of an operation of this method's service.
        """
        if not name.startswith(operation_name(self.method.owner, "")):
            raise InvalidArgument(f"{name} is no operation of {self.method.owner}: `operations/{self.method.owner}/…`.")
        return Started(name, self.method, Operations(self._lanes))


class Queueable(Unary[Req, Res], Queued[Req, Res]):
    """A method that callers may await or start."""


class ServerStream(_Bound, Generic[Req, Res]):
    """A method that answers with a stream."""

    def __call__(self, request: Req, *, timeout: float | None = None) -> AsyncIterator[Res]:
        """Open the stream; leaving the loop cancels the call."""
        return cast(AsyncIterator[Res], self._lanes.stream(self.method, request, timeout=timeout))


class ClientStream(_Bound, Generic[Req, Res]):
    """A method that takes a stream and gives one answer."""

    async def __call__(self, requests: AsyncIterable[Req], *, timeout: float | None = None) -> Res:
        """Send the stream and wait for the answer."""
        async with aclosing(self._lanes.stream(self.method, requests, timeout=timeout)) as replies:
            async for reply in replies:
                return cast(Res, reply)
        raise NotFound(f"{self.method.full_name} ended without an answer.")


class BidiStream(_Bound, Generic[Req, Res]):
    """A method that takes a stream and answers with one."""

    def __call__(self, requests: AsyncIterable[Req], *, timeout: float | None = None) -> AsyncIterator[Res]:
        """Open both streams."""
        return cast(AsyncIterator[Res], self._lanes.stream(self.method, requests, timeout=timeout))
