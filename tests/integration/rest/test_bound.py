"""A contract served by its descriptor alone: no generated class, no client, a package of another name."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from laneway.call import Call
from laneway.errors import ConfigurationError, InvalidArgument, NotFound, Violation
from laneway.lanes.rest.app import rest_app
from laneway.lanes.rest.options import EdgeOptions
from laneway.service import Service
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from laneway.testing import serve
from tests.contract.transcoding.contract import BODY, HEAD
from tests.fixtures.protos import service_of


class Library:
    """Handlers as plain functions; they remember what they were asked."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.fail: Exception | None = None

    async def echo(self, request: Any, call: Call) -> Any:
        self.seen.append(request)
        if self.fail is not None:
            raise self.fail
        return call.method.output() if call.method.output is not type(request) else request

    async def page(self, request: Any, call: Call) -> Any:
        reply: Any = call.method.output(next="x", count=5)
        reply.file.content_type, reply.file.data = "image/png", b"\x89PNG"
        reply.messages.add(text="one")
        return reply


@pytest.fixture
def library() -> Library:
    return Library()


@pytest.fixture
def service(tmp_path: Path, library: Library) -> Service:
    descriptor = service_of(tmp_path, BODY, head=HEAD)
    handlers = {method.name: library.echo for method in descriptor.methods} | {"GetPage": library.page}
    return Service("anything", database=False).bind(descriptor, handlers)


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(lambda lanes: service) as world:
        app = rest_app(world.lanes, service.exposed, [], tracing=Tracing("edge", "edge-1", None), metrics=Metrics(),
                       options=EdgeOptions(body_bytes=1000, decompressed_bytes=2000, json_depth=5))  # fmt: skip
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://edge") as client:
            yield client


def test_bound_methods_belong_to_the_service_and_are_exposed(service: Service) -> None:
    assert service.roles == ("rest", "grpc")
    assert {method.owner for method in service.contract} == {"anything"}


@pytest.mark.parametrize(("take", "add", "named"), [({"Raw"}, {}, "`Raw`"), (set(), {"Nope": None}, "`Nope`")])
def test_handlers_and_methods_are_the_same(tmp_path: Path, take: set[str], add: dict[str, Any], named: str) -> None:
    descriptor = service_of(tmp_path, BODY, head=HEAD)
    handlers: dict[str, Any] = {method.name: lambda: None for method in descriptor.methods if method.name not in take}
    with pytest.raises(ConfigurationError, match=f"differ in {named}; give one handler for each method"):
        Service("anything").bind(descriptor, handlers | add)


async def test_a_call_goes_through_and_its_answer_comes_back(client: httpx.AsyncClient, library: Library) -> None:
    answer = await client.post("/v1/posted/a%2Fb", json={"int32Value": 7})
    assert answer.json() == {"int32Value": 7, "nested": {"stringValue": "a/b"}}


async def test_raw_bodies_go_through_both_ways(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/raw", content=b"\x00\x01", headers={"Content-Type": "image/png"})
    assert (answer.content, answer.headers["content-type"]) == (b"\x00\x01", "image/png")
    picture = await client.get("/v1/page/file")
    assert (picture.content, picture.headers["content-type"]) == (b"\x89PNG", "image/png")
    assert (await client.get("/v1/page/messages")).json() == [{"text": "one"}]


async def test_a_wrong_verb_is_405_with_those_that_are_right(client: httpx.AsyncClient) -> None:
    answer = await client.put("/v1/values")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
    assert answer.json()["error"]["details"][0]["reason"] == "METHOD_NOT_ALLOWED"
    assert (await client.post("/v2/messages/1")).headers["allow"] == "DELETE, GET, HEAD, PATCH, PUT"


async def test_a_head_request_has_no_body(client: httpx.AsyncClient) -> None:
    assert (await client.head("/v2/messages/1")).status_code == 200


async def test_an_unknown_parameter_is_400_and_named_in_a_violation(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/values?nothing=1")
    error = answer.json()["error"]
    assert (answer.status_code, error["status"]) == (400, "INVALID_ARGUMENT")
    (violations,) = [detail["fieldViolations"] for detail in error["details"] if "fieldViolations" in detail]
    assert violations == [{"field": "nothing", "description": "there is no such field"}]


async def test_a_services_own_violations_reach_the_client(client: httpx.AsyncClient, library: Library) -> None:
    library.fail = InvalidArgument("no", reason="BAD", violations=[Violation("int32_value", "is too small")])
    error = (await client.get("/v1/values")).json()["error"]
    assert error["details"][1]["fieldViolations"] == [{"field": "int32_value", "description": "is too small"}]


async def test_an_error_that_is_a_librarys_says_nothing_of_it(client: httpx.AsyncClient, library: Library) -> None:
    library.fail = ValueError("connecting to 10.1.2.3:5432 failed")
    answer = await client.get("/v1/values")
    assert answer.status_code == 500
    assert "10.1.2.3" not in answer.text


async def test_an_answer_of_the_business_is_told(client: httpx.AsyncClient, library: Library) -> None:
    library.fail = NotFound("There is no such book.")
    assert (await client.get("/v1/values")).json()["error"]["message"] == "There is no such book."


def gzipped(data: bytes) -> bytes:
    import gzip

    return gzip.compress(data, mtime=0)  # the same in every process that collects the tests


LIMITS = [
    # body, headers, status, reason
    (b'{"stringValue":"' + b"x" * 1000 + b'"}', {}, 413, "BODY_TOO_LARGE"),
    (b"[[[[[[[]]]]]]]", {}, 400, "JSON_TOO_DEEP"),
    (b'{"recursive":' * 6 + b"{}" + b"}" * 6, {}, 400, "JSON_TOO_DEEP"),
    (gzipped(b'{"stringValue":"' + b"x" * 3000 + b'"}'), {"Content-Encoding": "gzip"}, 413, "BODY_TOO_LARGE"),
    (gzipped(b"{}")[:-4], {"Content-Encoding": "gzip"}, 400, "MALFORMED_REQUEST"),
    (gzipped(b"{}") * 2, {"Content-Encoding": "gzip"}, 400, "MALFORMED_REQUEST"),
    (b"{}", {"Content-Encoding": "gzip"}, 400, "MALFORMED_REQUEST"),
    (b"{}", {"Content-Encoding": "br"}, 415, "UNSUPPORTED_ENCODING"),
]


@pytest.mark.parametrize(("body", "headers", "status", "reason"), LIMITS)
async def test_a_body_beyond_a_limit_is_refused_by_its_own_reason(
    client: httpx.AsyncClient, body: bytes, headers: dict[str, str], status: int, reason: str
) -> None:
    answer = await client.post("/v1/values", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["details"][0]["reason"]) == (status, reason)
    assert (answer.headers.get("connection") == "close") == (status == 413)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "deflate", "identity"])
async def test_a_body_may_be_compressed(client: httpx.AsyncClient, encoding: str) -> None:
    import zlib

    body = b'{"stringValue":"' + b"x" * 1500 + b'"}'
    sent = {"deflate": zlib.compress(body), "identity": b'{"stringValue":"x"}'}.get(encoding, gzipped(body))
    answer = await client.post("/v1/values", content=sent, headers={"Content-Encoding": encoding})
    assert answer.json()["stringValue"].strip("x") == ""


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_a_body_of_unknown_length_is_held_to_the_limit(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/values", content=chunks(b"x" * 600, b"x" * 600))
    assert answer.status_code == 413


async def test_a_lenient_edge_takes_what_it_does_not_know(service: Service) -> None:
    async with serve(lambda lanes: service) as world:
        app = rest_app(world.lanes, service.exposed, [], tracing=Tracing("edge", "edge-1", None), metrics=Metrics(),
                       options=EdgeOptions(ignore_unknown=True))  # fmt: skip
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://edge") as client:
            assert (await client.get("/v1/values?nothing=1&int32_value=2")).json() == {"int32Value": 2}


@pytest.mark.parametrize("wrong", [{"body_bytes": 0}, {"json_depth": 201}, {"header_seconds": -1}])
def test_a_limit_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"EdgeOptions.{next(iter(wrong))} is"):
        EdgeOptions(**wrong)
