"""Prunes the inbox: only of what its producer says it cannot deliver any more, and only some time after that.

A message may be redriven after weeks, for as long as its row is in its producer's outbox; so who has processed it asks,
and does not count days. Once the row is gone no new copy is made, and a copy that was made before is not run when it is
older than `COPY_LIFE`. What is kept beyond that is for an outbox that was restored from a backup.
"""

import logging
import re
from collections.abc import Callable, Sequence
from typing import cast

from laneway.errors import LanewayError
from laneway.lanes.everywhere import HOLDS
from laneway.lanes.started import Calls
from laneway.store import Store, inbox, outbox
from laneway.v1 import system_pb2

log = logging.getLogger(__name__)

COPY_LIFE = 86_400.0
"""Seconds after which a copy is not run any more: if its message has not ended, the relay brings another."""

BATCH = 500
"""Messages that are asked about at once, and rows of one transaction."""

_SERVICE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Forgetting:
    """Of one service's inbox."""

    def __init__(self, store: Store, calls: Calls, *, service: str, keep: float, clock: Callable[[], float]) -> None:
        """`keep` is for how many seconds a message is remembered once its producer cannot deliver it any more."""
        self._store = store
        self._calls = calls
        self._service = service
        self._keep = keep
        self._clock = clock

    async def sweep(self) -> None:
        """Ask each producer what it still holds, then forget what has been confirmed for long enough."""
        for producer in await inbox.producers(self._store):
            try:
                await self._ask(producer)
            except LanewayError as error:
                log.info("the inbox waits for a producer", extra={"producer": producer, "cause": error.message})
        confirmed = self._clock() - self._keep
        while (until := await inbox.over(self._store, confirmed, BATCH)) is not None:
            await self._store.commit([inbox.sweep(until)])

    async def _ask(self, producer: str) -> None:
        place = inbox.FIRST
        while found := await inbox.unconfirmed(self._store, producer, place, BATCH):
            place, ids = found[-1], [each.message_id for each in found]
            held = set(await self._held(producer, ids))
            confirmed = [id for id in ids if id not in held]
            if confirmed:
                await self._store.commit([inbox.confirm(confirmed, self._clock())])

    async def _held(self, producer: str, ids: Sequence[str]) -> Sequence[str]:
        if producer == self._service:
            return await outbox.held(self._store, ids)
        if not _SERVICE.fullmatch(producer):
            return ids  # the broker may say anything; what is no name of a service is not asked
        answer = await self._calls.call(HOLDS.at(producer), system_pb2.HoldsRequest(ids=ids))
        return cast(system_pb2.HoldsResponse, answer.message).ids
