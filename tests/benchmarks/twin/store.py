"""What the service keeps: inbox, outbox, keys, operations, in one SQLite file that several processes share."""

import hashlib
import json
import os
import random
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

MOST_ATTEMPTS = 20
FIRST_BACKOFF, LONGEST_BACKOFF = 1.0, 300.0
COPY_TTL = float(os.environ.get("COPY_TTL", "30"))
"""Seconds after which a copy that nobody confirmed is published again."""

KEEP_KEYS = 86_400.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS inbox (id TEXT PRIMARY KEY, done_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (
  id TEXT PRIMARY KEY, task TEXT NOT NULL, payload BLOB NOT NULL, headers TEXT NOT NULL,
  due_at REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, parked_at REAL, error TEXT
);
CREATE INDEX IF NOT EXISTS outbox_due ON outbox (due_at) WHERE parked_at IS NULL;
CREATE TABLE IF NOT EXISTS keys (key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, operation TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS operations (id TEXT PRIMARY KEY, done_at REAL, error TEXT);
CREATE TABLE IF NOT EXISTS leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until REAL NOT NULL);
"""


class KeyReused(Exception):
    """The key was used with another request."""


@dataclass(frozen=True)
class Due:
    """A message that is to be published."""

    id: str
    task: str
    payload: bytes
    headers: Mapping[str, str]
    attempts: int


class Store:
    """One connection for each use: SQLite's are of one thread, and opening one is cheap."""

    def __init__(self, path: str) -> None:
        self._path = path
        with self._transaction() as db:
            for statement in SCHEMA.split(";"):
                db.execute(statement)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self._path, timeout=10, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        finally:
            db.close()

    # Accepting

    def accept(self, task: str, payload: bytes, headers: Mapping[str, str], key: str | None) -> tuple[str, bool]:
        """The operation of a call, and whether it was there before: one for each key."""
        fingerprint = hashlib.sha256(task.encode() + b"\0" + payload).hexdigest()
        with self._transaction() as db:
            if key is not None:
                known = db.execute("SELECT fingerprint, operation FROM keys WHERE key = ?", (key,)).fetchone()
                if known is not None:
                    if known[0] != fingerprint:
                        raise KeyReused
                    return known[1], True
            operation = str(uuid.uuid4())
            if key is not None:
                db.execute("INSERT INTO keys VALUES (?, ?, ?, ?)", (key, fingerprint, operation, time.time()))
            _put(db, operation, task, payload, headers)
        return operation, False

    def operation(self, id: str) -> tuple[bool, str | None] | None:
        """Whether it is done, and what went wrong."""
        with self._transaction() as db:
            row = db.execute("SELECT done_at, error FROM operations WHERE id = ?", (id,)).fetchone()
        return None if row is None else (row[0] is not None, row[1])

    # Consuming

    def seen(self, id: str) -> bool:
        """Whether a message has had its effect."""
        with self._transaction() as db:
            return db.execute("SELECT 1 FROM inbox WHERE id = ?", (id,)).fetchone() is not None

    def react(self, id: str, task: str, payload: bytes, headers: Mapping[str, str]) -> str | None:
        """Take an event in, and start what follows from it: once. The id of what was started."""
        started = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{id}/{task}"))
        with self._transaction() as db:
            if not _record(db, id):
                return None
            _put(db, started, task, payload, headers)
        return started

    def done(self, id: str) -> None:
        """A message of ours has had its effect."""
        with self._transaction() as db:
            _record(db, id)
            db.execute("DELETE FROM outbox WHERE id = ?", (id,))
            db.execute("UPDATE operations SET done_at = ? WHERE id = ?", (time.time(), id))

    def failed(self, id: str, error: str, *, for_good: bool) -> bool:
        """It has not: again later, or never. Whether it is parked."""
        with self._transaction() as db:
            row = db.execute("SELECT attempts FROM outbox WHERE id = ?", (id,)).fetchone()
            if row is None:
                return False
            attempts = row[0] + 1
            parked = for_good or attempts >= MOST_ATTEMPTS
            if parked:
                db.execute("UPDATE outbox SET attempts = ?, parked_at = ?, error = ? WHERE id = ?",
                           (attempts, time.time(), error, id))  # fmt: skip
                db.execute("UPDATE operations SET done_at = ?, error = ? WHERE id = ?", (time.time(), error, id))
            else:
                full = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** (attempts - 1))
                due_at = time.time() + random.uniform(full / 2, full)
                db.execute("UPDATE outbox SET attempts = ?, due_at = ?, error = ? WHERE id = ?",
                           (attempts, due_at, error, id))  # fmt: skip
        return parked

    # Relaying

    def due(self, limit: int) -> list[Due]:
        """What is to be published; it comes again unless it is confirmed."""
        now = time.time()
        with self._transaction() as db:
            rows = db.execute(
                "SELECT id, task, payload, headers, attempts FROM outbox "
                "WHERE parked_at IS NULL AND due_at <= ? ORDER BY due_at LIMIT ?", (now, limit),
            ).fetchall()  # fmt: skip
            db.executemany("UPDATE outbox SET due_at = ? WHERE id = ?", [(now + COPY_TTL, row[0]) for row in rows])
        return [Due(id, task, payload, json.loads(headers), attempts) for id, task, payload, headers, attempts in rows]

    def not_published(self, ids: list[str]) -> None:
        """The broker did not take them: at once, when it is back."""
        with self._transaction() as db:
            db.executemany("UPDATE outbox SET due_at = ? WHERE id = ?", [(time.time() + 1, id) for id in ids])

    def lease(self, name: str, holder: str, seconds: float) -> bool:
        """Whether this process may do what only one may."""
        now = time.time()
        with self._transaction() as db:
            db.execute(
                "INSERT INTO leases VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, "
                "until = excluded.until WHERE leases.holder = excluded.holder OR leases.until < ?",
                (name, holder, now + seconds, now),
            )
            return db.execute("SELECT holder FROM leases WHERE name = ?", (name,)).fetchone()[0] == holder

    def sweep(self) -> None:
        """Forget keys and operations that nobody asks for any more."""
        with self._transaction() as db:
            db.execute("DELETE FROM keys WHERE at < ?", (time.time() - KEEP_KEYS,))
            db.execute("DELETE FROM operations WHERE done_at < ?", (time.time() - 7 * KEEP_KEYS,))

    def counts(self) -> dict[str, Any]:
        """How much waits, how long, and how much is parked."""
        with self._transaction() as db:
            waiting, oldest = db.execute("SELECT count(*), min(due_at) FROM outbox WHERE parked_at IS NULL").fetchone()
            [parked] = db.execute("SELECT count(*) FROM outbox WHERE parked_at IS NOT NULL").fetchone()
        return {"waiting": waiting, "oldest": oldest, "parked": parked}


def _put(db: sqlite3.Connection, id: str, task: str, payload: bytes, headers: Mapping[str, str]) -> None:
    db.execute("INSERT INTO operations (id) VALUES (?)", (id,))
    db.execute("INSERT INTO outbox (id, task, payload, headers, due_at) VALUES (?, ?, ?, ?, ?)",
               (id, task, payload, json.dumps(dict(headers)), time.time()))  # fmt: skip


def _record(db: sqlite3.Connection, id: str) -> bool:
    return db.execute("INSERT OR IGNORE INTO inbox VALUES (?, ?)", (id, time.time())).rowcount == 1
