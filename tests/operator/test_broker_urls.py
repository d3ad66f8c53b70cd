"""What a pool's secrets say of its broker, down to a real one: TLS, users with few rights, databases."""

import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
import trustme

from laneway.scaling.model import Reading, Unknown
from laneway.scaling.signals import Source
from laneway_operator.brokers import Brokers
from laneway_operator.main import _connect
from laneway_operator.resource import plan_of
from tests.fixtures.proxy import proxy
from tests.fixtures.valkey import Server
from tests.operator.fakes import NAMESPACE, Clock, FakeCluster, pool

PAGE = Path("docs/how-to/move-from-keda.md")


@dataclass
class Secured:
    """A Valkey behind TLS, with two messages in its database 2, and a user that has the rights the page asks for."""

    port: int
    authority: bytes


@pytest.fixture
def user(valkey: Server) -> Iterator[str]:
    [asked] = re.findall(r"^ACL SETUSER (.*)$", PAGE.read_text(), re.MULTILINE)
    with redis.Redis.from_url(valkey.url) as admin:
        admin.execute_command("ACL", "SETUSER", *asked.split())
        admin.select(2)
        admin.lpush("mail", "one", "two")
        admin.zadd("unacked_index", {"tag": 1})
        admin.hset("unacked", "tag", '[{}, "topics", "mail.sent"]')
        admin.sadd("_kombu.binding.topics", "mail.#\x06\x16^mail$\x06\x16mail")
    return asked.split()[0]


@pytest.fixture
async def secured(valkey: Server, user: str) -> AsyncIterator[Secured]:
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    async with proxy(valkey.port, tls=tls) as between:
        yield Secured(between.port, authority.cert_pem.bytes())


@asynccontextmanager
async def brokers(**secrets: dict[str, bytes]) -> AsyncIterator[Brokers]:
    clock = Clock()
    cluster = FakeCluster(clock)
    cluster.secrets = {(NAMESPACE, name): values for name, values in secrets.items()}
    found = Brokers(cluster, _connect, clock)
    try:
        yield found
    finally:
        await found.close()


async def read(url: str, authority: bytes | None) -> Reading | Unknown:
    """What is read of a pool whose secrets say this; after the second look, and after all that a pool is told."""
    broker = {"secretRef": {"name": "broker"}, **({"caSecretRef": {"name": "authority"}} if authority else {})}
    secrets = {"broker": {"url": url.encode()}, "authority": {"ca.crt": authority or b""}}
    plan = plan_of(pool(broker=broker))
    source = Source(pool="p", queues=plan.intent.queues)
    async with brokers(**secrets) as found:
        signals = found.signals(await found.address(NAMESPACE, plan))
        if isinstance((await signals.read([source]))["p"], Reading):
            await signals.drain(source, ["pod"])
            await signals.pause(source)
        return (await signals.read([source]))["p"]


@pytest.mark.parametrize(
    "query", ["", "?ssl_cert_reqs=required", "?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs=/in/a/pod"]
)
async def test_a_broker_with_tls_is_read_by_a_user_with_few_rights(secured: Secured, user: str, query: str) -> None:
    reading = await read(f"rediss://{user}:secret@127.0.0.1:{secured.port}/2{query}", secured.authority)
    assert isinstance(reading, Reading), reading
    assert (reading.waiting, reading.orphans) == (2, 1)
    assert (reading.drained, reading.queues[0].paused) == ({"pod"}, True)


@pytest.mark.parametrize("requirement", ["none", "CERT_NONE"])
async def test_a_broker_may_go_unverified_where_its_url_says_so(secured: Secured, user: str, requirement: str) -> None:
    url = f"rediss://{user}:secret@127.0.0.1:{secured.port}/2?ssl_cert_reqs={requirement}"
    assert isinstance(await read(url, None), Reading)


async def test_a_broker_that_nobody_vouches_for_is_not_talked_to(secured: Secured, user: str) -> None:
    unknown = await read(f"rediss://{user}:secret@127.0.0.1:{secured.port}/2", None)
    assert isinstance(unknown, Unknown)
    assert "CERTIFICATE_VERIFY_FAILED" in unknown.reason


async def test_a_certificate_for_another_host_is_refused(secured: Secured, user: str) -> None:
    unknown = await read(f"rediss://{user}:secret@localhost:{secured.port}/2", secured.authority)
    assert isinstance(unknown, Unknown)
    assert "mismatch" in unknown.reason


async def test_a_wrong_password_is_said(secured: Secured, user: str) -> None:
    unknown = await read(f"rediss://{user}:wrong@127.0.0.1:{secured.port}/2", secured.authority)
    assert isinstance(unknown, Unknown)
    assert "invalid username-password pair" in unknown.reason
