"""The inbox: which messages this service has processed, so that another delivery changes nothing.

The unique row is written with the message's effects; it decides, whatever the broker remembers.
"""

from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import insert  # its ON CONFLICT is compiled for SQLite as well

from laneway.store.schema import inbox
from laneway.store.store import Store
from laneway.store.transaction import DuplicateKey, Write


def record(message_id: str, method: str, now: float) -> Write:
    """Claim a message; the commit is a `DuplicateKey` when it was processed before."""
    return Write(
        _RECORD,
        [{"message_id": message_id, "method": method, "processed_at": now}],
        expect=1,
        otherwise=DuplicateKey(f"The message {message_id} was processed before."),
    )


async def seen(store: Store, message_id: str) -> bool:
    """Whether a message was processed."""
    return bool(await store.fetch(_SEEN, {"of_message": message_id}))


_RECORD = insert(inbox).on_conflict_do_nothing(index_elements=["message_id"])
_SEEN = select(inbox.c.message_id).where(inbox.c.message_id == bindparam("of_message"))
