"""Expiring named rows: one process at a time does a thing, for as long as it keeps renewing."""

from sqlalchemy import bindparam, delete, or_
from sqlalchemy.dialects.postgresql import insert  # its ON CONFLICT is compiled for SQLite as well

from laneway.store.schema import leases
from laneway.store.store import Store
from laneway.store.transaction import LeaseHeld, Write


async def acquire(store: Store, name: str, holder: str, *, now: float, until: float) -> bool:
    """Take a lease, or renew one's own; false while another holder's has not expired."""
    held = LeaseHeld(f"The lease {name} has another holder.")
    row = {"name": name, "holder": holder, "expires_at": until, "at": now}
    try:
        await store.commit([Write(_ACQUIRE, [row], expect=1, otherwise=held)])
    except LeaseHeld:
        return False
    return True


def release(name: str, holder: str) -> Write:
    """Give a lease back early; nothing happens when it is another's."""
    return Write(delete(leases).where(leases.c.name == name, leases.c.holder == holder))


_INSERT = insert(leases)
_ACQUIRE = _INSERT.on_conflict_do_update(
    index_elements=["name"],
    set_={"holder": _INSERT.excluded.holder, "expires_at": _INSERT.excluded.expires_at},
    where=or_(
        leases.c.holder == _INSERT.excluded.holder,
        leases.c.expires_at <= bindparam("at", type_=leases.c.expires_at.type),
    ),
)
