"""Does to a shop what a plan says, and lets copies of its messages come again, late and out of order."""

import asyncio
import contextlib
import json
import os
import random
import signal
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError
from sqlalchemy import bindparam, select

from laneway.errors import LanewayError
from laneway.lanes.queue.envelope import encode, queue_of
from laneway.scaling.wire import PRIORITIES, list_of
from laneway.store import DuplicateKey, outbox
from laneway.store.outbox import OutboxMessage
from laneway.store.schema import outbox as table
from shop.payments.v1 import payments_pb2
from tests.chaos import trouble
from tests.chaos.plan import NOTE_STEPS, Deed, Size, Step
from tests.chaos.shop import SERVICES, TroubledShop

NO_WORKERS_FOR = 8.0
FLOOD_BATCH = 500
KEYS = 10
COPIES = 5


@dataclass
class Done:
    """What was done, for who checks and who reads."""

    kills: int = 0
    others: int = 0
    """Processes killed while no worker was to live."""
    flushes: int = 0
    restarts: int = 0
    duplicates: int = 0
    flooded: int = 0
    noted: int = 0
    poison: list[str] = field(default_factory=list)
    """The ids of messages that nobody can do."""


class Mischief:
    """Of one run."""

    def __init__(self, shop: TroubledShop, size: Size) -> None:
        self.done = Done()
        self._shop = shop
        self._size = size
        self._down = ""
        self._owed: list[str] = []
        # With a time limit, redis-py loses the cancellation that ends the meddling (docs/decisions/0016).
        self._broker = redis.asyncio.Redis.from_url(shop.broker_url, socket_timeout=None)

    async def close(self) -> None:
        await self._broker.aclose()

    async def do(self, step: Step) -> None:
        """One step of the plan."""
        match step.deed:
            case Deed.KILL if self._shop.service(step.target) == self._down:
                self._owed.append(step.target)  # when there is somebody to kill
            case Deed.KILL:
                await self._kill(step.target)
            case Deed.FLUSH:
                await self._patiently(self._broker.flushall)
                self.done.flushes += 1
            case Deed.RESTART_DATABASE:
                if self._shop.postgres is not None:
                    await asyncio.to_thread(self._shop.postgres.restart)
                    self.done.restarts += 1
            case Deed.OWNER_DOWN:
                self._down = step.target
                self._shop.take_down(step.target)
                await self._flood()
            case Deed.OWNER_UP:
                self._down = ""
                self._shop.bring_back(step.target)
                for owed in self._owed:
                    await self._kill(owed)
            case Deed.NO_WORKERS:
                await self._no_workers()
            case Deed.POISON:
                await self._poison()
            case Deed.NOTES:
                await self._note(int(step.target))

    async def _kill(self, name: str) -> None:
        async with asyncio.timeout(120):
            while not self._killed(name):
                await asyncio.sleep(0.05)
        self.done.kills += 1

    def _killed(self, name: str) -> bool:
        pid = self._shop.pid(name)
        if pid is None:
            return False  # it is being started
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    async def _no_workers(self) -> None:
        """Each is killed before it can take a message."""
        end = time.monotonic() + NO_WORKERS_FOR
        while time.monotonic() < end:
            self.done.others += sum(self._killed(name) for name in self._shop.names("worker"))
            await asyncio.sleep(0.1)

    async def _patiently(self, ask: Callable[[], Any]) -> Any:
        async with asyncio.timeout(60):
            while True:
                try:
                    return await ask()
                except (RedisError, OSError):
                    await asyncio.sleep(0.1)

    # Messages of our own, each in the outbox of orders as if orders had started it

    async def _flood(self) -> None:
        now = time.time()
        for begin in range(0, self._size.flood, FLOOD_BATCH):
            numbers = range(begin, min(begin + FLOOD_BATCH, self._size.flood))
            await self._commit([trouble.message("Count", f"count-{each}", now, number=each) for each in numbers])
        self.done.flooded = self._size.flood

    async def _note(self, step: int) -> None:
        """The next messages of each key, in the order of their numbers."""
        each = self._size.notes // NOTE_STEPS // KEYS
        for number in range(step * each, (step + 1) * each):
            now, keys = time.time(), [f"key-{key}" for key in range(KEYS)]
            await self._commit(
                [trouble.message("Note", f"{key}-{number}", now, key=key, number=number) for key in keys]
            )
        self.done.noted = (step + 1) * each

    async def _poison(self) -> None:
        now = time.time()
        rows = [trouble.message(name, f"poison-{name}", now) for name in ("Raise", "Hang", "Segfault")]
        unreadable = payments_pb2.DESCRIPTOR.services_by_name["Payments"].methods_by_name["Authorize"].full_name
        rows.append(
            OutboxMessage(
                id="poison-unparsable",
                service="payments",
                queue="provider",
                method=unreadable,
                payload=b"\xff\xff",
                headers={},
                due_at=now,
                created_at=now,
            )
        )
        await self._commit(rows)
        self.done.poison += [row.id for row in rows]
        for strange in _strange_copies(unreadable):
            await self._patiently(lambda strange=strange: self._broker.lpush("payments.provider", strange))

    async def _commit(self, rows: Sequence[OutboxMessage]) -> None:
        """Once, however often the database is away meanwhile."""
        async with asyncio.timeout(120):
            while True:
                try:
                    return await self._shop.stores["orders"].commit([outbox.insert(rows)])
                except DuplicateKey:
                    return None  # the attempt before was committed after all
                except LanewayError:
                    await asyncio.sleep(0.2)

    # What a broker does to copies

    async def meddle(self) -> None:
        """Until cancelled: bring copies again, some of them five times, late, and shuffle those that wait."""
        chance, held, known = random.Random(self._size.seed), [], set[str]()
        while True:
            with contextlib.suppress(RedisError, OSError, LanewayError):
                held += await self._copies(known, chance)
                chance.shuffle(held)
                for queue, copy in held[-20:]:
                    copy["properties"]["delivery_tag"] = str(uuid.uuid4())
                    await self._broker.lpush(list_of(queue, copy["properties"]["priority"]), json.dumps(copy))
                    self.done.duplicates += 1
                del held[-20:]
                await self._shuffle(chance)
            await asyncio.sleep(0.1)

    async def _copies(self, known: set[str], chance: random.Random) -> list[tuple[str, Any]]:
        """Copies that wait or run now and were not seen before: some of them, five times."""
        found = []
        for service in SERVICES:
            rows = await self._shop.stores[service].fetch(_POSTPONED, {"now": time.time()})
            for message in (OutboxMessage(**row.as_dict()) for row in rows if row.id not in known):
                if not await self._broker.exists(f"laneway:copy:{message.id}"):
                    continue  # it waits for its moment
                known.add(message.id)
                if chance.random() < 0.2:
                    copy = json.loads(encode(message, producer=service, now=time.time()))
                    found += [(queue_of(message), copy)] * COPIES
        return found

    async def _shuffle(self, chance: random.Random) -> None:
        queues = {method.queue_name for method in map(trouble.method, ("Note", "Count"))}
        queues |= {"payments.provider", "fulfilment.saga", "fulfilment.bulk", "notifications.email"}
        for queue in queues:
            for priority in PRIORITIES:
                await self._broker.eval(_SHUFFLE, 1, list_of(queue, priority), chance.randrange(1 << 30))


_POSTPONED = (
    select(*outbox.COLUMNS)
    .where(table.c.parked_at.is_(None), table.c.turn == 0, table.c.due_at > bindparam("now"))
    .limit(100)
)
_SHUFFLE = """
local waiting = redis.call('LRANGE', KEYS[1], 0, -1)
if #waiting < 2 then return 0 end
math.randomseed(tonumber(ARGV[1]))
for last = #waiting, 2, -1 do
  local other = math.random(last)
  waiting[last], waiting[other] = waiting[other], waiting[last]
end
redis.call('DEL', KEYS[1])
redis.call('RPUSH', KEYS[1], unpack(waiting))
return #waiting
"""


def _strange_copies(method: str) -> list[str]:
    """What no producer of ours writes: no message at all, one of no task of ours, and one of ours with an argument that
    is none.
    """
    copies = ["not JSON", "{}"]
    for task, body in (("no.such.task", '[["x"], {}, {}]'), (method, '[["%%%"], {}, {}]')):
        properties = {
            "correlation_id": "x", "delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "x"},
            "priority": 3, "body_encoding": "utf-8", "delivery_tag": str(uuid.uuid4()),
        }  # fmt: skip
        headers = {"lang": "py", "task": task, "id": str(uuid.uuid4()), "root_id": "x", "argsrepr": "", "origin": "x"}
        copies.append(
            json.dumps(
                {
                    "body": body,
                    "content-encoding": "utf-8",
                    "content-type": "application/json",
                    "headers": headers,
                    "properties": properties,
                }
            )
        )
    return copies
