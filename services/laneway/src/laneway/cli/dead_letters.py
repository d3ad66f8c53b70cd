"""What a person does to the dead letters of running services, in the outboxes where they lie."""

import base64
import json
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from google.protobuf.message import DecodeError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from laneway.cli import discovery
from laneway.cli.database import database_url
from laneway.cli.payloads import Payloads
from laneway.cli.screen import whole
from laneway.errors import ConfigurationError, NotFound
from laneway.runtime.installed import describe
from laneway.settings import Settings
from laneway.store import Store, Write, dead_letters, migrations, turns
from laneway.store.dead_letters import Selection
from laneway.store.outbox import OutboxMessage, name_in_broker

BATCH = 500
"""Dead letters of one transaction."""

WIDTH = 220
"""Columns at least where nobody looks: a row that is cut tells less than a long one."""

SHARED = "–"
"""Stands for the producer where several services have one database URL: in a pod, which is of one of them."""


@dataclass(frozen=True, slots=True)
class Order:
    """Which dead letters, of which service's outbox, in which folder of `laneway up`."""

    selection: Selection
    service: str | None
    data: Path


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, and whose outbox it is in."""

    producer: str
    message: OutboxMessage
    holds: int = 0

    @classmethod
    async def of(cls, producer: str, store: Store, message: OutboxMessage) -> Self:
        """The letter, with how many messages of its key wait for it."""
        waiting = [await turns.behind(store, key) for key in turns.key_of(message) if message.skipped_at is None]
        return cls(producer, message, sum(waiting))

    @property
    def queue(self) -> str:
        return name_in_broker(self.message.service, self.message.queue)

    @property
    def trace(self) -> str:
        """The id of its trace; empty without one."""
        parts = self.message.headers.get("traceparent", "").split("-")
        return parts[1] if len(parts) == 4 else ""

    def to_json(self) -> dict[str, Any]:
        """What `list` tells of it."""
        message = self.message
        return {
            "id": message.id,
            "producer": self.producer,
            "queue": self.queue,
            "method": message.method,
            "attempts": message.attempts,
            "createdAt": _moment(message.created_at),
            "parkedAt": _moment(message.parked_at),
            "skippedAt": _moment(message.skipped_at),
            "error": message.error,
            "trace": self.trace,
            "orderKey": message.order_key,
            "holds": self.holds,
        }


class Desk:
    """Carries out one order."""

    def __init__(self, order: Order, *, settings: Settings | None = None, console: Console | None = None) -> None:
        self._order = order
        self._settings = settings or Settings.load()
        self._console = console or Console()

    async def list_all(self, limit: int, *, as_json: bool) -> None:
        """Print those that there are."""
        letters: list[Letter] = []
        async with self._outboxes() as outboxes:
            for producer, store in outboxes.items():
                found = await dead_letters.find(store, self._order.selection, limit)
                letters += [await Letter.of(producer, store, message) for message in found]
        letters = sorted(letters, key=lambda letter: (letter.message.parked_at or 0.0, letter.message.id))[:limit]
        if as_json:
            print(json.dumps([letter.to_json() for letter in letters], indent=1))
        elif letters:
            self._print(_table(letters, time.time()))
        else:
            print("There are none.", file=sys.stderr)

    async def show(self, id: str, *, payloads: Payloads, as_json: bool) -> None:
        """Print all of one, skipped or not."""
        async with self._outboxes() as outboxes:
            for producer, store in outboxes.items():
                for skipped in (False, True):
                    for message in await dead_letters.find(store, Selection(ids=(id,), skipped=skipped), 1):
                        letter = await Letter.of(producer, store, message)
                        self._show(letter, payloads, as_json=as_json)
                        return
        raise _unknown([id])

    async def redrive(self, rate: float | None) -> None:
        """Give them all their attempts again, `rate` a second."""
        begin, done = time.time(), 0

        def writes(messages: Sequence[OutboxMessage]) -> list[Write]:
            nonlocal done
            pause = 0.0 if rate is None else 1 / rate
            due = {message.id: begin + (done + place) * pause for place, message in enumerate(messages)}
            done += len(messages)
            return [dead_letters.redrive(due)]

        count = await self._each(writes)
        last = "" if rate is None or count < 2 else f"; the last of them in {(count - 1) / rate:.0f} s"
        print(f"{count} redriven{last}")

    async def skip(self) -> None:
        """Leave them undone, on record."""
        count = await self._each(lambda messages: dead_letters.skip(messages, time.time()))
        print(f"{count} skipped")

    async def drop(self, *, confirm: Callable[[int], bool] | None) -> None:
        """Delete them, if `confirm`, told how many there are, says so."""
        if confirm is not None and not confirm(await self._count()):
            print("0 dropped")
            return
        print(f"{await self._each(dead_letters.drop)} dropped")

    async def _each(self, write: Callable[[Sequence[OutboxMessage]], Sequence[Write]]) -> int:
        """Change the chosen ones, a batch in a transaction; how many there were."""
        changed: set[str] = set()
        async with self._outboxes() as outboxes:
            for store in outboxes.values():
                async for batch in _batches(store, self._bounded()):
                    await store.commit(write(batch))
                    changed |= {message.id for message in batch}
                    if self._console.is_terminal and len(batch) == BATCH:
                        print(f"{len(changed)} …", file=sys.stderr)
        if missing := [id for id in self._order.selection.ids if id not in changed]:
            raise _unknown(missing)
        return len(changed)

    def _bounded(self) -> Selection:
        """The chosen ones as they are now: what fails again meanwhile is not chosen again."""
        chosen, now = self._order.selection, time.time()
        if chosen.ids or chosen.parked_before is not None:
            return chosen
        return replace(chosen, parked_before=now)

    async def _count(self) -> int:
        async with self._outboxes() as outboxes:
            counts = [len(batch) for s in outboxes.values() async for batch in _batches(s, self._order.selection)]
        return sum(counts)

    @asynccontextmanager
    async def _outboxes(self) -> AsyncIterator[Mapping[str, Store]]:
        """The databases by whose they are; each is opened once."""
        opened: dict[str, Store] = {}
        try:
            for producer, url in self._places().items():
                migrations.check(url)
                opened[producer] = await Store.open(url, pool=2)
            yield opened
        finally:
            for store in opened.values():
                await store.close()

    def _places(self) -> Mapping[str, str]:
        chosen = [self._order.service] if self._order.service else []
        owners: dict[str, list[str]] = defaultdict(list)
        for each in discovery.installed(chosen):
            if each.database:
                owners[database_url(self._settings, each.name, self._order.data)].append(each.name)
        if not owners:
            raise ConfigurationError(f"{self._order.service} has no database, and so no dead letters.")
        return {names[0] if len(names) == 1 else SHARED: url for url, names in owners.items()}

    def _print(self, table: Table) -> None:
        whole(self._console, WIDTH).print(table, crop=self._console.is_terminal)

    def _show(self, letter: Letter, payloads: Payloads, *, as_json: bool) -> None:
        payload = _payload(letter.message, payloads)
        whole = {**letter.to_json(), "headers": dict(letter.message.headers), "payload": payload}
        if as_json:
            print(json.dumps(whole, indent=1))
            return
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in whole.items():
            text = json.dumps(value, indent=1) if isinstance(value, dict) else "" if value is None else str(value)
            table.add_row(name, Text(text))
        self._print(table)


async def _batches(store: Store, selection: Selection) -> AsyncIterator[Sequence[OutboxMessage]]:
    last: OutboxMessage | None = None
    while batch := await dead_letters.find(store, selection, BATCH, after=last):
        yield batch
        last = batch[-1]


def _table(letters: Sequence[Letter], now: float) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("id", "producer", "queue", "method"):
        table.add_column(column, no_wrap=True)
    for column in ("attempts", "parked", "holds"):
        table.add_column(column, no_wrap=True, justify="right")
    table.add_column("error", overflow="fold")
    for letter in letters:
        message = letter.message
        table.add_row(
            message.id,
            letter.producer,
            letter.queue,
            message.method.rpartition(".")[2],
            str(message.attempts),
            _age(now - (message.parked_at or now)),
            str(letter.holds or ""),
            Text(" ".join((message.error or "").split())),
        )
    return table


def _payload(message: OutboxMessage, payloads: Payloads) -> Any:
    """The request or event as JSON; where its contract is not installed, what is told of bytes."""
    try:
        method = describe(message.service).contract.methods[message.method]
        return payloads.message(method.input.FromString(message.payload))
    except (ConfigurationError, KeyError, DecodeError):
        return payloads.unread(message.payload, base64.b64encode(message.payload).decode())


def _unknown(ids: Sequence[str]) -> NotFound:
    more = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
    return NotFound(f"There is no dead letter {ids[0]}{more}; `laneway dead list` has those that there are.")


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _age(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f}{unit}"
    return f"{max(0.0, seconds):.0f}s"
