"""Two replicas and a call that may run once at a time: the lease of one that is killed, or stands still, is taken over."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from laneway.store import migrations
from laneway.telemetry import names
from tests.fixtures.roles import PATIENCE, Role, Roles, listens, until
from tests.fixtures.valkey import free_port

LEASE = 3.0
"""Seconds, in the contract of these roles."""


class Replica:
    """A server of the shelf, and a client of it."""

    def __init__(self, roles: Roles, name: str, database_url: str) -> None:
        port = free_port()
        self.name = name
        self.role: Role = roles.start("grpc", grpc_port=port, instance=name, database_url=database_url)
        until(lambda: listens(port), self.role.log)
        method = roles.method("Charge")
        self._input = method.input
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._charge = self._channel.unary_unary(
            f"/{method.service_name}/{method.name}",
            request_serializer=method.input.SerializeToString,
            response_deserializer=method.output.FromString,
        )

    def charge(self) -> tuple[str, bool]:
        """Who has charged, and whether this was a replay. Always under the same key."""
        reply, call = self._charge.with_call(self._input(request_id="k", name="card"), timeout=60)
        return reply.text, dict(call.trailing_metadata()).get(names.REPLAYED) == "true"

    def refusal(self) -> grpc.StatusCode:
        """The code with which a charge ends."""
        with pytest.raises(grpc.RpcError) as refused:
            self.charge()
        code: grpc.StatusCode = refused.value.code()  # type: ignore[attr-defined]
        return code

    def close(self) -> None:
        self._channel.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, roles: Roles) -> str:
    if request.param == "sqlite":
        return roles.database_url
    url = str(request.getfixturevalue("postgres_url"))
    migrations.migrate(url, service="shelf")
    return url


@pytest.fixture
def replicas(roles: Roles, database_url: str) -> Iterator[tuple[Replica, Replica]]:
    pair = Replica(roles, "one", database_url), Replica(roles, "other", database_url)
    yield pair
    for replica in pair:
        replica.role.resume()
        replica.close()


@pytest.fixture
def beside() -> Iterator[Callable[..., "Future[Any]"]]:
    """Runs something at the same time."""
    with ThreadPoolExecutor() as threads:
        yield threads.submit


def taken_over(replica: Replica, roles: Roles, beside: Callable[..., "Future[Any]"]) -> tuple[str, bool]:
    """Repeat the call as a patient client does, until its handler is entered; then let it go."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        charging = beside(replica.charge)
        until(lambda charging=charging: charging.done() or roles.gates.llen("entered") > 0)
        if not charging.done():
            assert roles.entered() == "card"
            roles.let_go("card")
            return tuple(charging.result(PATIENCE))  # type: ignore[return-value]
        assert charging.exception().code() is grpc.StatusCode.ABORTED
    raise AssertionError("the lease was not taken over")


def test_the_lease_of_a_killed_owner_is_taken_over_when_it_has_ended_and_not_before(
    roles: Roles, replicas: tuple[Replica, Replica], beside: Callable[..., "Future[Any]"]
) -> None:
    one, other = replicas
    lost = beside(one.charge)
    assert roles.entered() == "card"
    begin = time.monotonic()
    one.role.kill()
    assert lost.exception(PATIENCE).code() is grpc.StatusCode.UNAVAILABLE

    assert taken_over(other, roles, beside) == ("other", False)
    assert time.monotonic() - begin >= LEASE / 2, "it was held for a while"
    assert other.charge() == ("other", True)


def test_an_owner_that_stood_still_until_its_lease_was_taken_over_cannot_commit(
    roles: Roles, replicas: tuple[Replica, Replica], beside: Callable[..., "Future[Any]"]
) -> None:
    one, other = replicas
    late = beside(one.charge)
    assert roles.entered() == "card"
    assert other.refusal() is grpc.StatusCode.ABORTED, "its lease holds"
    one.role.pause()
    roles.let_go("card")  # waits in the paused one's connection

    assert taken_over(other, roles, beside) == ("other", False)
    one.role.resume()
    assert late.exception(PATIENCE).code() is grpc.StatusCode.ABORTED
    assert roles.all_ended().count("card") == 2, "both came to their end, and one has an effect"
    assert one.charge() == other.charge() == ("other", True)
