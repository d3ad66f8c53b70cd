"""A service as its author declares it: a name, handlers, and what it exposes.

How processes are composed of it is `laneway.runtime`'s.
"""

from abc import ABC
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from google.protobuf.descriptor import ServiceDescriptor

from laneway.client import Client
from laneway.contract.model import Contract, Method, method_of, python_name
from laneway.errors import ConfigurationError

if TYPE_CHECKING:
    from fastapi import APIRouter


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
    ordinary FastAPI routers beside them. `migrations` is a folder of Alembic versions for the author's own
    tables. A service without a `database` has nothing to commit and starts queued calls with their owners.
    """

    def __init__(
        self,
        name: str,
        *handlers: Handlers,
        expose: Sequence[Client] = (),
        routers: Sequence["APIRouter"] = (),
        migrations: Path | None = None,
        database: bool = True,
    ) -> None:
        self.name = name
        self.contract = Contract.of(handler.DESCRIPTOR for handler in handlers)
        self.exposed = [method for client in expose for method in Contract.of([client.DESCRIPTOR]) if method.http]
        self.routers = routers
        self.migrations = migrations
        self.database = database and bool(handlers)
        self.handlers: dict[str, Callable[..., Any]] = {}
        for handler in handlers:
            self._bind(handler)

    @property
    def roles(self) -> tuple[str, ...]:
        """The processes that make up the service."""
        rest = ("rest",) if self.exposed or self.routers else ()
        grpc = ("grpc",) if self.handlers else ()
        worker = ("worker",) if self.queues else ()
        return rest + grpc + worker

    @property
    def queues(self) -> dict[str, list[Method]]:
        """The methods that workers run, by the queue's name in the broker."""
        found: dict[str, list[Method]] = {}
        for method in self.contract:
            if method.work is not None:
                found.setdefault(method.queue_name, []).append(method)
        return found

    def _bind(self, handler: Handlers) -> None:
        methods = [method_of(descriptor) for descriptor in handler.DESCRIPTOR.methods]
        for method in methods:
            if method.owner != self.name:
                raise ConfigurationError(
                    f"Service `{self.name}` cannot handle {method.full_name}: the contract's package gives it to "
                    f"`{method.owner}`; rename the service, or move the method."
                )
            self.handlers[method.full_name] = getattr(handler, method.python_name)
        known = {python_name(method.name) for method in methods}
        for name in vars(type(handler)):
            function = getattr(handler, name)
            if not name.startswith("_") and callable(function) and _is_handler(function) and name not in known:
                raise ConfigurationError(
                    f"{type(handler).__qualname__}.{name} handles nothing: {handler.DESCRIPTOR.full_name} has no "
                    f"such method; declare it in the contract, or make it private (`_{name}`)."
                )


def _is_handler(function: Callable[..., Awaitable[object]]) -> bool:
    """Handlers, and only they, are public and take a `call`."""
    code = getattr(function, "__code__", None)
    return code is not None and "call" in code.co_varnames[: code.co_argcount]
