"""One service's database: commits of collected writes, reads, explicit transactions.

`Store` is the door; the modules beside it (`events`, `outbox`, `inbox`, …) are functions that return `Write`s or
read. Nothing in here knows a contract, a handler or a lane.
"""

from laneway.store.compile import Row
from laneway.store.store import Store
from laneway.store.transaction import (
    ConstraintViolated,
    DuplicateKey,
    LeaseHeld,
    LeaseLost,
    Reader,
    StoreUnavailable,
    Transaction,
    VersionConflict,
    Write,
)

__all__ = [
    "ConstraintViolated",
    "DuplicateKey",
    "LeaseHeld",
    "LeaseLost",
    "Reader",
    "Row",
    "Store",
    "StoreUnavailable",
    "Transaction",
    "VersionConflict",
    "Write",
]
