"""A service as its author declares it: a name, handlers, and what it exposes.

How processes are composed of it is `laneway.runtime`'s.
"""

import inspect
from abc import ABC
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from laneway.call import Call, Identity
from laneway.client import Client
from laneway.contract.model import Contract, Method, method_of, python_name, refuse_mixed_queues
from laneway.domain.aggregate import Aggregate
from laneway.domain.projection import Projection
from laneway.domain.saga import Saga
from laneway.domain.upcasting import Upcasters
from laneway.errors import ConfigurationError
from laneway.history.sagas import SagaView
from laneway.lanes.grpc.options import GrpcOptions
from laneway.lanes.rest.options import EdgeOptions
from laneway.lanes.system import Act

if TYPE_CHECKING:
    from fastapi import APIRouter


CPU_WORKER = "cpu-worker"
WORKERS = ("worker", CPU_WORKER)
"""The roles that consume queues: those whose handlers wait, and those that are `cpu_bound`."""

Authenticate = Callable[[Mapping[str, str]], Awaitable[Identity]]
"""Who calls, by the headers of an HTTP request; raises `Unauthenticated` for credentials that are not good."""

Authorize = Callable[[Message | None, Call], Awaitable[None]]
"""Whether `call.identity` may make this call, given its request (None: a stream of them).

Raises `PermissionDenied` or `Unauthenticated` if not.
"""


class Handlers(ABC):
    """Base of the generated `…Service` classes: one abstract method per method of the contract."""

    DESCRIPTOR: ClassVar[ServiceDescriptor]

    def __new__(cls, *_: object, **__: object) -> "Handlers":
        if cls.__abstractmethods__:
            missing = ", ".join(f"`{name}`" for name in sorted(cls.__abstractmethods__))
            raise ConfigurationError(
                f"{cls.__qualname__} has no handler for {missing} of {cls.DESCRIPTOR.full_name}; "
                "write it, or remove the method from the contract."
            )
        return super().__new__(cls)


class Service:
    """One deployable service.

    `expose` are clients of services whose `google.api.http` methods this one answers over REST; `routers` are
    ordinary FastAPI routers beside them, and `edge` says what that door takes from outside. `grpc` says how connections
    are kept, to the service and from it. `migrations` is a folder
    of Alembic versions for the author's own tables. A service without a `database` has nothing to commit and starts
    queued calls with their owners. `authenticate` tells, at the edge, from a request's headers who calls; without it
    everybody is anonymous. `authorize` decides on each call to the service's handlers, before it runs and before a kept
    answer is replayed.

    `aggregates` are named for `laneway events`, which shows what the log makes of them; `upcasters` bring old events
    into today's shape; `projections` are views that are kept in the service's database. `sagas` have beside them what
    does one of their actions, for `laneway sagas resume`.
    """

    def __init__(
        self,
        name: str,
        *handlers: Handlers,
        expose: Sequence[Client] = (),
        routers: Sequence["APIRouter"] = (),
        edge: EdgeOptions | None = None,
        grpc: GrpcOptions | None = None,
        migrations: Path | None = None,
        database: bool = True,
        authenticate: Authenticate | None = None,
        authorize: Authorize | None = None,
        aggregates: Sequence[type[Aggregate]] = (),
        upcasters: Upcasters | None = None,
        projections: Sequence[Projection] = (),
        sagas: Mapping[type[Saga], Act] | None = None,
    ) -> None:
        self.name = name
        self.sagas = sagas or {}
        self.aggregates = [*aggregates, *self.sagas]
        self.upcasters = upcasters or Upcasters()
        self.projections = [*projections, *([SagaView()] if self.sagas else [])]
        self.contract = Contract.of(handler.DESCRIPTOR for handler in handlers)
        self.exposed = [method for client in expose for method in Contract.of([client.DESCRIPTOR]) if method.http]
        self.routers = routers
        self.edge = edge or EdgeOptions()
        self.grpc = grpc or GrpcOptions()
        self.migrations = migrations
        self.authenticate = authenticate
        self._authorize = authorize
        self._database = database
        self.handlers: dict[str, Callable[..., Any]] = {}
        for handler in handlers:
            self._bind(handler)

    def bind(self, descriptor: ServiceDescriptor, handlers: Mapping[str, Callable[..., Any]]) -> Self:
        """Handle a contract by its descriptor alone, below the generated classes: any descriptor set can be served.

        `handlers` are by the methods' names as the contract spells them; each takes a request and a `Call`, as a
        generated class's would. The methods belong to this service, whatever their package is called, and those that
        have a `google.api.http` rule are answered over REST, too.

        Raises:
            ConfigurationError: a method has no handler, or a handler no method; or a method contradicts itself.
        """
        methods = [replace(method_of(method), owner=self.name) for method in descriptor.methods]
        names = {method.name for method in methods}
        if names != handlers.keys():
            wrong = ", ".join(f"`{name}`" for name in sorted(names ^ handlers.keys()))
            raise ConfigurationError(
                f"{descriptor.full_name} and its handlers differ in {wrong}; give one handler for each method."
            )
        for method in methods:
            handler = handlers[method.name]
            _refuse_what_cannot_be_called(f"The handler of {method.full_name}", method, handler)
            self.contract.methods[method.full_name] = method
            self.handlers[method.full_name] = handler
        refuse_mixed_queues(self.contract)
        self.exposed += [method for method in methods if method.http]
        return self

    async def admit(self, request: Message | None, call: Call) -> None:
        """Ask the author's `authorize`; what every service answers besides its contract is not asked about."""
        if self._authorize is not None and call.method.full_name in self.contract.methods:
            await self._authorize(request, call)

    @property
    def database(self) -> bool:
        """Whether it has one of its own."""
        return self._database and bool(self.handlers)

    @property
    def roles(self) -> tuple[str, ...]:
        """The processes that make up the service."""
        rest = ("rest",) if self.exposed or self.routers else ()
        grpc = ("grpc",) if self.handlers else ()
        workers = tuple(role for role in WORKERS if self.consumed(role))
        return rest + grpc + workers

    @property
    def queues(self) -> dict[str, list[Method]]:
        """The methods that workers run, by the queue's name in the broker."""
        found: dict[str, list[Method]] = {}
        for method in self.contract:
            if method.work is not None:
                found.setdefault(method.queue_name, []).append(method)
        return found

    def consumed(self, role: str) -> dict[str, list[Method]]:
        """Those of the queues that the workers of a role consume."""
        return {name: of for name, of in self.queues.items() if (role == CPU_WORKER) == any(m.cpu_bound for m in of)}

    def _bind(self, handler: Handlers) -> None:
        methods = [method_of(descriptor) for descriptor in handler.DESCRIPTOR.methods]
        for method in methods:
            if method.owner != self.name:
                raise ConfigurationError(
                    f"Service `{self.name}` cannot handle {method.full_name}: the contract's package gives it to "
                    f"`{method.owner}`; rename the service, or move the method."
                )
            function = getattr(handler, method.python_name)
            _refuse_what_cannot_be_called(f"{type(handler).__qualname__}.{method.python_name}", method, function)
            self.handlers[method.full_name] = function
        known = {python_name(method.name) for method in methods}
        for name in vars(type(handler)):
            function = getattr(handler, name)
            if not name.startswith("_") and callable(function) and _is_handler(function) and name not in known:
                raise ConfigurationError(
                    f"{type(handler).__qualname__}.{name} handles nothing: {handler.DESCRIPTOR.full_name} has no "
                    f"such method; declare it in the contract, or make it private (`_{name}`)."
                )


def _refuse_what_cannot_be_called(name: str, method: Method, handler: Callable[..., Any]) -> None:
    """A handler that would fail at its first call is refused before it has one.

    Raises:
        ConfigurationError: it takes something else than a request and a call, or its kind of function does not wait.
    """
    request = "requests" if method.client_streaming else "request"
    wanted = f"`async def {method.python_name}(self, {request}, call)`"
    try:
        inspect.signature(handler).bind(None, None)
    except TypeError:
        raise ConfigurationError(f"{name} is called with a {request} and a call; write {wanted}.") from None
    function = inspect.unwrap(handler)
    if not inspect.isroutine(function):
        return  # an object that can be called says nothing of how
    if method.server_streaming:
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise ConfigurationError(f"{name} answers with a stream; write {wanted} and `yield` each reply.")
    elif not inspect.iscoroutinefunction(function):
        raise ConfigurationError(f"{name} is awaited, and gives one reply; write {wanted} and `return` it.")


def _is_handler(function: Callable[..., Awaitable[object]]) -> bool:
    """Handlers, and only they, are public and take a `call`."""
    code = getattr(function, "__code__", None)
    return code is not None and "call" in code.co_varnames[: code.co_argcount]
