"""A contract's policies as gRPC's service config, obeyed by a client that knows nothing of us."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from laneway.contract.model import Contract
from laneway.contract.service_config import service_config
from shop.orders.v1 import orders_pb2
from shop.payments.v1 import payments_pb2
from tests.fixtures.protos import service_of

BODY = """
service Shelf {
  rpc Peek(Request) returns (Reply) {
    option idempotency_level = NO_SIDE_EFFECTS;
    option (laneway.v1.call) = {retry {max_attempts: 4 initial_backoff {nanos: 1000000}} deadline {seconds: 7}};
  }
  rpc Put(Request) returns (Reply) { option (laneway.v1.call) = {deadline {nanos: 200000000}}; }
  rpc Keyed(Request) returns (Reply) { option (laneway.v1.call) = {idempotency {key: "request_id"}}; }
  rpc Charge(Request) returns (Reply) { option (laneway.v1.call) = {idempotency {key: "request_id" required: true}}; }
  rpc Watch(Request) returns (stream Reply) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc Tidy(Request) returns (Reply) { option (laneway.v1.call) = {idempotency {} queue {use: ONLY}}; }
}
"""


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    return service_config(Contract.of([service_of(tmp_path, BODY)]))


def of(config: dict[str, Any], method: str) -> dict[str, Any]:
    [found] = [each for each in config["methodConfig"] if each["name"][0]["method"] == method]
    return dict(found)


def test_deadlines_and_attempts_are_the_contracts(config: dict[str, Any]) -> None:
    peek = of(config, "Peek")
    assert peek["timeout"] == "7s"
    assert peek["retryPolicy"]["maxAttempts"] == 4
    assert peek["retryPolicy"]["initialBackoff"] == "0.01s"  # of the contract's 1 ms, gRPC would lose some
    assert "UNAVAILABLE" in peek["retryPolicy"]["retryableStatusCodes"]
    assert of(config, "Put")["timeout"] == "0.2s"
    assert config["retryThrottling"] == {"maxTokens": 10, "tokenRatio": 0.1}


def test_only_what_any_client_may_repeat_is_tried_again(config: dict[str, Any]) -> None:
    retried = {each["name"][0]["method"] for each in config["methodConfig"] if "retryPolicy" in each}
    assert retried == {"Peek", "Charge"}  # Keyed is harmless to repeat only with a key, and takes calls without one


def test_a_stream_has_no_deadline_and_a_queue_no_entry(config: dict[str, Any]) -> None:
    assert "timeout" not in of(config, "Watch")
    assert "Tidy" not in {each["name"][0]["method"] for each in config["methodConfig"]}


@pytest.mark.parametrize("file", [orders_pb2, payments_pb2])
def test_the_shops_is_one_that_grpc_takes(file: Any) -> None:
    text = json.dumps(service_config(Contract.of(file.DESCRIPTOR.services_by_name.values())))
    with grpc.insecure_channel("127.0.0.1:1", options=[("grpc.service_config", text)]) as channel:
        call = channel.unary_unary("/x.S/P")
        with pytest.raises(grpc.RpcError) as raised:
            call(b"", timeout=5)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE  # with a config it does not take: INVALID_ARGUMENT


@pytest.fixture
async def foreign(config: dict[str, Any]) -> AsyncIterator[tuple[grpc.aio.Channel, list[str]]]:
    """A client that has only the config, before a server that fails twice and then answers; Put never does."""
    calls: list[str] = []

    async def peek(request: bytes, context: Any) -> bytes:
        calls.append("Peek")
        if len(calls) < 3:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        return b""

    async def put(request: bytes, context: Any) -> bytes:
        await asyncio.Event().wait()
        return b""

    server = grpc.aio.server()
    handlers = {"Peek": grpc.unary_unary_rpc_method_handler(peek), "Put": grpc.unary_unary_rpc_method_handler(put)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.shelf.v1.Shelf", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    options = [("grpc.service_config", json.dumps(config))]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        yield channel, calls
    await server.stop(0)


async def test_a_foreign_client_tries_again_as_the_contract_says(
    foreign: tuple[grpc.aio.Channel, list[str]],
) -> None:
    channel, calls = foreign
    await channel.unary_unary("/test.shelf.v1.Shelf/Peek")(b"")
    assert calls == ["Peek"] * 3


async def test_a_foreign_client_waits_no_longer_than_the_contract_says(
    foreign: tuple[grpc.aio.Channel, list[str]],
) -> None:
    channel, _ = foreign
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await channel.unary_unary("/test.shelf.v1.Shelf/Put")(b"", timeout=60)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
