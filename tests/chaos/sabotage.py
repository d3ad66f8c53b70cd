"""Takes one of the guarantees out of every process of a run, to see that the suite notices."""

import uuid
from collections.abc import Sequence

from laneway.store import Write, inbox, operations, outbox

VARIABLE = "SABOTAGE"


def confirmation() -> None:
    """A message is forgotten when the broker has it, and not when its consumer has committed."""

    def forget(ids: Sequence[str], until: float) -> Write:
        return outbox.confirm(ids)

    outbox.postpone = forget


def inbox_() -> None:
    """Nobody remembers what was processed."""
    record = inbox.record

    def another(message_id: str, method: str, now: float, producer: str | None = None) -> Write:
        return record(str(uuid.uuid4()), method, now, producer)

    async def never(*_: object) -> None:
        return None

    inbox.record = another
    inbox.seen = never
    operations.standing = never


KINDS = {"confirmation": confirmation, "inbox": inbox_}
