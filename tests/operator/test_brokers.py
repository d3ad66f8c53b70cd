"""Where brokers are, and how often that is asked."""

import pytest

from laneway.errors import ConfigurationError, NotFound, Unavailable
from laneway_operator.brokers import FRESH, RETRY, Address, Brokers
from laneway_operator.resource import plan_of
from tests.operator.fakes import NAMESPACE, Clock, FakeCluster, FakeSignals, pool

PLAN = plan_of(pool())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cluster(clock: Clock) -> FakeCluster:
    cluster = FakeCluster(clock)
    cluster.secrets[NAMESPACE, "broker"] = {"url": b"redis://one.example:6379/0\n"}
    return cluster


@pytest.fixture
def brokers(cluster: FakeCluster, clock: Clock) -> Brokers:
    return Brokers(cluster, lambda _: FakeSignals(cluster), clock)


async def test_a_secret_is_read_once_a_minute(brokers: Brokers, cluster: FakeCluster, clock: Clock) -> None:
    for _ in range(50):
        await brokers.address(NAMESPACE, PLAN)
    assert cluster.writes == [("secret", "broker")]
    clock.advance(FRESH)
    await brokers.address(NAMESPACE, PLAN)
    assert len(cluster.writes) == 2


async def test_a_broker_that_does_not_answer_has_its_secret_read_again_soon(
    brokers: Brokers, cluster: FakeCluster, clock: Clock
) -> None:
    await brokers.address(NAMESPACE, PLAN)
    cluster.secrets[NAMESPACE, "broker"] = {"url": b"redis://two.shop.svc:6379/0"}
    brokers.doubt(NAMESPACE, PLAN)
    clock.advance(RETRY)
    assert (await brokers.address(NAMESPACE, PLAN)).url == "redis://two.shop.svc:6379/0"


async def test_an_api_server_that_is_away_leaves_what_is_known(
    brokers: Brokers, cluster: FakeCluster, clock: Clock
) -> None:
    await brokers.address(NAMESPACE, PLAN)
    clock.advance(FRESH)
    cluster.away = True
    assert (await brokers.address(NAMESPACE, PLAN)).url == "redis://one.example:6379/0"


async def test_a_secret_that_is_not_there_is_an_error(brokers: Brokers, cluster: FakeCluster) -> None:
    cluster.secrets.clear()
    with pytest.raises(NotFound):
        await brokers.address(NAMESPACE, PLAN)


async def test_a_secret_that_nobody_has_read_yet_is_an_error_while_the_api_server_is_away(
    brokers: Brokers, cluster: FakeCluster
) -> None:
    cluster.away = True
    with pytest.raises(Unavailable):
        await brokers.address(NAMESPACE, PLAN)


async def test_a_key_that_is_missing_is_named_with_those_that_are_there(brokers: Brokers, cluster: FakeCluster) -> None:
    cluster.secrets[NAMESPACE, "broker"] = {"uri": b"redis://one"}
    with pytest.raises(ConfigurationError, match=r"no key url; its keys are uri\."):
        await brokers.address(NAMESPACE, PLAN)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("redis://valkey", "redis://valkey.shop.svc"),
        ("rediss://u:p%40ss@valkey:6380/2?health_check_interval=5",
         "rediss://u:p%40ss@valkey.shop.svc:6380/2?health_check_interval=5"),
        ("redis://valkey.other:6379/0", "redis://valkey.other:6379/0"),
        ("redis://10.1.2.3:6379", "redis://10.1.2.3:6379"),
        ("redis://[::1]:6379", "redis://[::1]:6379"),
        ("redis://localhost:6379", "redis://localhost:6379"),
    ],
)  # fmt: skip
async def test_a_host_means_what_it_means_to_the_pools_pods(
    brokers: Brokers, cluster: FakeCluster, written: str, read: str
) -> None:
    cluster.secrets[NAMESPACE, "broker"] = {"url": written.encode()}
    assert (await brokers.address(NAMESPACE, PLAN)).url == read


async def test_connections_are_shared_and_closed_when_nobody_uses_them(brokers: Brokers) -> None:
    address = await brokers.address(NAMESPACE, PLAN)
    first = brokers.signals(address)
    assert brokers.signals(Address(address.url, None)) is first
    await brokers.keep({address})
    assert not first.closed  # type: ignore[attr-defined]
    await brokers.keep(set())
    assert first.closed  # type: ignore[attr-defined]


def test_an_address_never_shows_its_password() -> None:
    assert "secret" not in repr(Address("redis://user:secret@host", None))
