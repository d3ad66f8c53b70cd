"""Mistakes in the declaration of a service are one sentence each."""

from pathlib import Path
from typing import Any

import pytest

from laneway.errors import ConfigurationError
from laneway.runtime import describe
from laneway.service import Handlers, Service
from tests.fixtures.protos import service_of

BODY = "service Shelf { rpc Put(Request) returns (Reply); rpc Peek(Request) returns (Reply); }"


@pytest.fixture
def base(tmp_path: Path) -> type[Handlers]:
    from abc import abstractmethod

    class ShelfService(Handlers):
        DESCRIPTOR = service_of(tmp_path, BODY)

        @abstractmethod
        async def put(self, request: Any, call: Any, /) -> Any: ...

        @abstractmethod
        async def peek(self, request: Any, call: Any, /) -> Any: ...

    return ShelfService


def test_a_missing_handler_is_named(base: Any) -> None:
    class Shelf(base):
        async def put(self, request: Any, call: Any) -> Any: ...

    with pytest.raises(ConfigurationError, match=r"Shelf has no handler for `peek` of test\.shelf\.v1\.Shelf"):
        Shelf()


def test_a_handler_too_many_is_named(base: Any) -> None:
    class Shelf(base):
        async def put(self, request: Any, call: Any) -> Any: ...

        async def peek(self, request: Any, call: Any) -> Any: ...

        async def poke(self, request: Any, call: Any) -> Any: ...

        def _private(self, call: Any) -> None: ...

    with pytest.raises(ConfigurationError, match=r"Shelf\.poke handles nothing"):
        Service("shelf", Shelf())


def test_a_service_of_another_owner_is_refused(base: Any) -> None:
    class Shelf(base):
        async def put(self, request: Any, call: Any) -> Any: ...

        async def peek(self, request: Any, call: Any) -> Any: ...

    with pytest.raises(ConfigurationError, match="rename the service, or move the method"):
        Service("books", Shelf())


@pytest.mark.parametrize(
    ("name", "roles"),
    [("gateway", ("rest",)), ("catalog", ("grpc",)), ("orders", ("grpc", "worker"))],
)
def test_roles_follow_from_what_a_service_declares(name: str, roles: tuple[str, ...]) -> None:
    assert describe(name).roles == roles
