"""Looks at a service's log again and again, for its metrics: what has not ended, and what its readers do not see yet.

`laneway.history.sagas` keeps the view of open sagas.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping

from laneway.errors import LanewayError
from laneway.history.sagas import OpenSagas, count_open
from laneway.store import Store, events

log = logging.getLogger(__name__)

EACH = 5.0
"""Seconds between counts."""

Figures = Iterator[tuple[tuple[str, ...], float]]


class Census:
    """The sagas of one service that are open, by kind, and the age of what is withheld from the readers of its log.

    `kinds` are the beginnings of the sagas' streams, by name.
    """

    def __init__(
        self, store: Store, service: str, kinds: Mapping[str, str], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._service = service
        self._kinds = kinds
        self._clock = clock
        self._counted: Mapping[str, OpenSagas] = {}
        self._withheld_since: float | None = None

    async def keep(self) -> None:
        """Count until cancelled; a database that is away is waited for."""
        while True:
            try:
                await self.count()
            except LanewayError as error:
                log.warning("the log is not looked at", extra={"cause": error.message})
            await asyncio.sleep(EACH)

    async def count(self) -> None:
        """Count once."""
        self._counted = {name: await count_open(self._store, prefix) for name, prefix in self._kinds.items()}
        self._withheld_since = await events.withheld_since(self._store)

    def open(self) -> Figures:
        """The open sagas of each kind and direction. This and the others may be asked from any thread."""
        for kind, it in self._counted.items():
            yield (kind, "forward"), it.total - it.compensating
            yield (kind, "compensating"), it.compensating

    def silent(self) -> Figures:
        """For how many seconds the most silent saga of each kind has heard nothing."""
        now = self._clock()
        for kind, it in self._counted.items():
            yield (kind,), 0.0 if it.told_at is None else max(now - it.told_at, 0.0)

    def withheld(self) -> Figures:
        """For how many seconds readers have not seen an event that is committed; 0 while they see all."""
        since = self._withheld_since
        yield (self._service,), 0.0 if since is None else max(self._clock() - since, 0.0)
