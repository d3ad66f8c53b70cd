"""SIGTERM to a server: it takes nothing new, finishes what runs, and ends well."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import pytest

from tests.fixtures.roles import Roles, listens, until

GRACE = 60
"""Seconds; longer than these tests wait for anything."""


def over_rest(roles: Roles) -> str:
    answer = httpx.post(f"http://127.0.0.1:{roles.ports['rest']}/v1/shelves/top", timeout=60)
    return str(answer.raise_for_status().json()["text"])


def over_grpc(roles: Roles) -> str:
    method = roles.method("Put")
    with grpc.insecure_channel(f"127.0.0.1:{roles.ports['grpc']}") as channel:
        call = channel.unary_unary(
            f"/{method.service_name}/{method.name}",
            request_serializer=method.input.SerializeToString,
            response_deserializer=method.output.FromString,
        )
        return str(call(method.input(name="top"), timeout=60).text)


@pytest.mark.parametrize(("role", "call"), [("grpc", over_grpc), ("rest", over_rest)])
def test_a_server_that_is_told_to_stop_takes_nothing_new_and_finishes_what_runs(roles, role, call) -> None:
    servers = {name: roles.start(name, grace_seconds=GRACE) for name in {"grpc", role}}
    for name in servers:
        until(lambda name=name: listens(roles.ports[name]), servers[name].log)
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(call, roles)
        assert roles.entered() == "top"
        servers[role].terminate()
        until(lambda: not listens(roles.ports[role]), servers[role].log)
        assert not answer.done()
        roles.let_go("top")
        assert answer.result(60) == "top"
    assert servers[role].ended() == 0
    assert "Traceback" not in servers[role].log()


@pytest.mark.parametrize("role", ["grpc", "rest"])
def test_what_does_not_end_within_the_grace_does_not_keep_a_server(roles, role) -> None:
    servers = {name: roles.start(name, grace_seconds=1) for name in {"grpc", role}}
    for name in servers:
        until(lambda name=name: listens(roles.ports[name]), servers[name].log)
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(over_grpc if role == "grpc" else over_rest, roles)
        assert roles.entered() == "top"
        servers[role].terminate()
        assert servers[role].ended() == 0
        assert answer.exception(60) is not None
