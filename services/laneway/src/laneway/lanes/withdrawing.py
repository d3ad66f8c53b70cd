"""Lets calls go that wait in an outbox for a later moment, and that their callers do not want any more.

Who cancels a call asks its owner, who may not have heard of it: the wish lies there, and the message here, until it is
due. So who holds it asks; what is not wanted is due at once, and ends at its owner as all that is cancelled.
"""

import logging
from collections.abc import Callable, Sequence
from typing import cast

from laneway.errors import LanewayError
from laneway.lanes.everywhere import UNWANTED
from laneway.lanes.operation import caller_told
from laneway.lanes.started import Calls
from laneway.store import Store, outbox
from laneway.store.operations import Caller
from laneway.store.outbox import Waiting
from laneway.v1 import system_pb2

log = logging.getLogger(__name__)

SOON = 60.0
"""Seconds within which a call comes to its owner by itself."""

BATCH = 500
"""Calls that are asked about at once."""


class Withdrawing:
    """Of one service's outbox."""

    def __init__(self, store: Store, calls: Calls, *, service: str, clock: Callable[[], float]) -> None:
        self._store = store
        self._calls = calls
        self._service = service
        self._clock = clock

    async def sweep(self) -> None:
        """Ask each owner which of the calls that wait for it are not wanted; what is of our own, we have heard of."""
        for owner, queue in await outbox.queues(self._store):
            if owner in ("", self._service):
                continue
            try:
                await self._ask(owner, queue)
            except LanewayError as error:
                log.info("nobody says which calls are not wanted", extra={"owner": owner, "cause": error.message})

    async def _ask(self, owner: str, queue: str) -> None:
        place = Waiting(self._clock() + SOON, "")
        while found := await outbox.waiting(self._store, (owner, queue), place, BATCH):
            place = found[-1]
            wishes = await self._wishes(owner, [each.id for each in found])
            unwanted = [each.id for each in found if each.id in wishes and caller_told(each.headers) == wishes[each.id]]
            await self._store.commit([outbox.hasten_cancelled(id, self._clock()) for id in unwanted])

    async def _wishes(self, owner: str, ids: Sequence[str]) -> dict[str, Caller]:
        answer = await self._calls.call(UNWANTED.at(owner), system_pb2.UnwantedRequest(ids=ids))
        wishes = cast(system_pb2.UnwantedResponse, answer.message).wishes
        return {wish.id: Caller(wish.tenant, wish.principal) for wish in wishes}
