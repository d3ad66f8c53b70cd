"""The users that the chart makes in its Valkey, as a real one takes them."""

from collections.abc import Iterator
from dataclasses import replace
from time import time
from types import SimpleNamespace

import pytest
import redis

from laneway.lanes.queue.broker import Outcome, Report
from laneway.lanes.queue.valkey import ValkeyBroker
from laneway.lanes.queue.worker import celery_app
from laneway.runtime.installed import describe
from laneway.scaling.model import Reading, Unknown
from laneway.scaling.signals import Source, Workers
from laneway.scaling.signals.valkey import ValkeySignals
from laneway.scaling.wire import Demand
from laneway.scaling.worker import Reporting
from tests.charts.rendering import Charts
from tests.fixtures.valkey import Server


@pytest.fixture
def orders(charts: Charts, valkey: Server) -> Iterator[str]:
    """The URL under which `orders` reaches a Valkey that has the users of the default release."""
    rendered = charts.configured("default")
    with redis.Redis.from_url(valkey.url) as admin:
        admin.set("secret", "x")
        admin.rpush("payments.provider", "theirs")
        for line in rendered.named("Secret", "shop-valkey")["stringData"]["users.acl"].splitlines():
            if line.startswith("user ") and "user default" not in line:
                admin.execute_command("ACL", "SETUSER", *rules(line.removeprefix("user ")))
        password = rendered.named("Secret", "shop-orders")["stringData"]["broker-password"]
        yield f"redis://orders:{password}@127.0.0.1:{valkey.port}/0"


def rules(line: str) -> list[str]:
    """The words of a line of an access list; what is in parentheses is one."""
    before, *selectors = line.split(" (")
    return [*before.split(), *(f"({each.strip()}" for each in selectors)]


REFUSED = [
    "LRANGE payments.provider 0 -1", "RPOP payments.provider", "DEL payments.provider", "UNLINK payments.provider",
    "EXPIRE payments.provider 1", "SET payments.provider x", "RENAME payments.provider orders.events", "GET secret",
    "LPOP laneway:reports:payments", "DEL laneway:reports:payments", "DEL laneway:demand:payments.provider",
    "HGETALL laneway:demand:payments.provider", "ZRANGE laneway:unacked-index:payments 0 -1",
    "SADD laneway:drain:payments.provider pod", "SET laneway:paused:payments.provider 1",
    "SCAN 0", "KEYS *", "RANDOMKEY", "DBSIZE", "FLUSHALL", "FLUSHDB", "SWAPDB 0 1", "CONFIG GET *", "ACL LIST",
    "CLIENT LIST", "INFO", "MONITOR", "SHUTDOWN", "FUNCTION FLUSH", "FUNCTION LIST", "SCRIPT FLUSH", "SUBSCRIBE all",
]  # fmt: skip


@pytest.mark.parametrize("command", REFUSED)
def test_nobody_reads_or_removes_what_is_anothers_nor_flushes_lists_or_configures(orders: str, command: str) -> None:
    with redis.Redis.from_url(orders) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command.split())


@pytest.mark.parametrize(
    "command",
    [
        "LPUSH orders.events x", "BRPOP orders.events 1", "RPOP orders.events", "LLEN payments.provider", "PING", "TIME",
        "DEL orders.events", "SMEMBERS _kombu.binding.x", "SADD _kombu.binding.x orders.events",
        "ZADD laneway:unacked-index:orders 1 tag", "HSET laneway:unacked:orders tag x",
        "SET laneway:unacked-mutex:orders x NX PX 1000", "HSET laneway:worker:orders.events:pod slots 1",
        "SADD laneway:drain:orders.events pod", "SET laneway:paused:orders.events 1", "CLIENT SETNAME worker", "MULTI",
    ],
)  # fmt: skip
def test_a_service_does_what_its_worker_and_its_scaler_need_on_its_own(orders: str, command: str) -> None:
    with redis.Redis.from_url(orders) as client:
        client.execute_command(*command.split())


async def test_a_worker_reports_and_is_scaled_by_what_its_service_may_do(orders: str) -> None:
    source = Source(pool="p", queues=("orders.events",), pods=("w",), workers=Workers.LANEWAY)
    methods = [method for queue in describe("orders").queues.values() for method in queue]
    app = celery_app("orders", methods, broker_url=orders)
    worker = SimpleNamespace(app=app, concurrency=3, consumer=None)
    reporting = Reporting(worker, app.connection_for_write(), pod="w", breakers_open=lambda: 2)
    reporting._exchange()
    assert reporting._answers, "the worker may say what it does"
    app.close()

    broker = ValkeyBroker(orders, window=10)
    await broker.tell("orders", {"orders.events": Demand(at=time())})
    await broker.close()
    signals = ValkeySignals(orders)
    await signals.drain(source, ["w"])
    await signals.pause(source)
    reading = (await signals.read([source]))["p"]
    assert isinstance(reading, Reading), reading
    assert reading.drained == {"w"}
    assert reading.queues[0].paused
    [it] = reading.workers
    assert (it.pod, it.slots, it.breakers_open) == ("w", 3, 2)
    foreign = replace(source, queues=("payments.provider",))
    assert isinstance((await signals.read([foreign]))["p"], Unknown)
    await signals.close()


async def test_a_service_adds_to_what_is_anothers(orders: str) -> None:
    """As its relay and its worker do."""
    broker = ValkeyBroker(orders, window=10)
    report = Report(id="m-1", outcome=Outcome.DONE, attempt=1)
    assert await broker.room(["payments.provider"]) == [9]
    await broker.report("payments", report, enqueued_at=1.0)
    await broker.tell("orders", {"payments.provider": Demand(at=1.0)})
    await broker.wake("payments")
    await broker.report("orders", report, enqueued_at=1.0)
    async with broker.reports("orders", wait=1) as reports:
        assert reports == [report]
    async with broker.reports("orders", wait=0.01) as reports:
        assert reports == []
    await broker.close()
    with redis.Redis.from_url(orders) as client:
        pushed = "return redis.call('LPUSH', ARGV[1], 'x') + redis.call('LLEN', ARGV[1])"
        assert client.eval(pushed, 1, "laneway:copy:m-1", "payments.provider") == 4
        with pytest.raises(redis.exceptions.ResponseError, match=r"(?i)permission"):
            client.eval("return redis.call('RPOP', ARGV[1])", 0, "payments.provider")
