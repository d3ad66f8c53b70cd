"""Mistakes in the declaration of a service are one sentence each."""

import sys
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from laneway.cli import discovery
from laneway.errors import ConfigurationError
from laneway.runtime.installed import describe
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


@pytest.mark.parametrize("wrong", ["no call", "not async", "yields"])
def test_a_handler_that_could_not_be_called_is_refused_with_how_it_is_written(base: Any, wrong: str) -> None:
    class Shelf(base):
        async def peek(self, request: Any, call: Any) -> Any: ...

        if wrong == "no call":

            async def put(self, request: Any) -> Any: ...

        elif wrong == "not async":

            def put(self, request: Any, call: Any) -> Any: ...

        else:

            async def put(self, request: Any, call: Any) -> Any:
                yield

    with pytest.raises(ConfigurationError, match=r"Shelf\.put is .*; write `async def put\(self, request, call\)`"):
        Service("shelf", Shelf())


@pytest.mark.parametrize("wrong", ["no yield", "not async"])
def test_a_handler_of_a_stream_yields(tmp_path: Path, wrong: str) -> None:
    descriptor = service_of(tmp_path, "service Shelf { rpc Watch(Request) returns (stream Reply); }")

    async def once(request: Any, call: Any) -> Any: ...

    def blocks(request: Any, call: Any) -> Any:
        yield

    with pytest.raises(ConfigurationError, match="and `yield` each reply"):
        Service("shelf").bind(descriptor, {"Watch": once if wrong == "no yield" else blocks})


def test_a_decorated_handler_is_judged_by_what_it_decorates(base: Any) -> None:
    def counted(handler: Any) -> Any:
        @wraps(handler)
        def around(*arguments: Any) -> Any:
            return handler(*arguments)

        return around

    class Shelf(base):
        @counted
        async def put(self, request: Any, call: Any) -> Any: ...

        async def peek(self, request: Any, call: Any) -> Any: ...

    assert "test.shelf.v1.Shelf.Put" in Service("shelf", Shelf()).handlers


def installed(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    """A service `broken`, whose module has this text."""
    (folder / "broken_service.py").write_text(text)
    about = folder / "broken-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[laneway.services]\nbroken = broken_service:service\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "broken_service", raising=False)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("\nimport no_such_thing\n", r"ModuleNotFoundError: No module named 'no_such_thing' \(.*broken_service.py:2\)"),
        ("def service(:\n", r"SyntaxError: .*broken_service.py, line 1"),
        ("", r"AttributeError: .*'service'"),
        ("1 / 0", r"ZeroDivisionError: .*broken_service.py:1"),
    ],
)
def test_a_service_that_cannot_be_imported_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, cause: str
) -> None:
    installed(monkeypatch, tmp_path, text)
    with pytest.raises(ConfigurationError, match=rf"`broken` cannot be loaded: importing `broken_service:.*{cause}"):
        describe("broken")


def test_a_route_that_is_none_is_found_before_anything_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "shelf.body").write_text(
        'service Shelf { rpc Put(Request) returns (Reply) { option (google.api.http) = {get: "/v1/{name"}; } }'
    )
    installed(
        monkeypatch,
        tmp_path,
        f"""
from pathlib import Path
from laneway.service import Service
from tests.fixtures.protos import service_of

async def put(request, call): ...

def service(lanes):
    here = Path({str(tmp_path)!r})
    return Service("broken").bind(service_of(here, (here / "shelf.body").read_text()), {{"Put": put}})
""",
    )
    with pytest.raises(ConfigurationError, match=r"Shelf\.Put: The path template `/v1/\{name` is invalid at position"):
        discovery.installed(["broken"])


MIXED = """service Shelf {
  rpc Put(Request) returns (Reply) { option (laneway.v1.call) = {idempotency {} queue {use: ONLY}}; }
  rpc Draw(Request) returns (Reply) {
    option (laneway.v1.call) = {idempotency {} queue {use: ONLY name: "%s" cpu_bound: true}};
  }
}"""


def drawn(folder: Path, queue: str) -> Service:
    class Shelf(Handlers):
        DESCRIPTOR = service_of(folder, MIXED % queue)

        async def put(self, request: Any, call: Any) -> Any: ...

        async def draw(self, request: Any, call: Any) -> Any: ...

    return Service("shelf", Shelf())


def test_what_computes_has_a_role_of_its_own(tmp_path: Path) -> None:
    service = drawn(tmp_path, "draw")
    assert service.roles == ("grpc", "worker", "cpu-worker")
    assert [*service.consumed("worker")] == ["shelf.default"]
    assert [*service.consumed("cpu-worker")] == ["shelf.draw"]


def test_a_queue_that_computes_only_in_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Put: its queue `shelf\.default` is cpu_bound for .*Draw"):
        drawn(tmp_path, "default")


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
