"""The sagas of a service, from their first event to their end: a view, for people and for an alarm.

A saga is open until it has ended, and again when something was told after its end. Which step it waits for is not
in the view: its log and its class know.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, func, or_, select

from laneway.domain.changes import Change, Put
from laneway.domain.projection import Projection, projects
from laneway.domain.recorded import Recorded
from laneway.store import Store
from laneway.store.schema import sagas
from laneway.v1.saga_pb2 import (
    SagaCompensating,
    SagaEnded,
    SagaStarted,
    SagaStepCompensated,
    SagaStepCompleted,
)


class SagaView(Projection):
    """One row for each saga."""

    name = "sagas"
    tables = (sagas,)

    @projects(SagaStarted)
    def _started(self, event: Recorded[SagaStarted]) -> Iterator[Change]:
        yield _told(event, correlation=event.message.correlation, started_at=event.recorded_at)

    @projects(SagaStepCompleted)
    def _completed(self, event: Recorded[SagaStepCompleted]) -> Iterator[Change]:
        yield _told(event, step=event.message.step)

    @projects(SagaCompensating)
    def _turned_back(self, event: Recorded[SagaCompensating]) -> Iterator[Change]:
        yield _told(event, reason=event.message.reason)

    @projects(SagaStepCompensated)
    def _compensated(self, event: Recorded[SagaStepCompensated]) -> Iterator[Change]:
        yield _told(event)

    @projects(SagaEnded)
    def _ended(self, event: Recorded[SagaEnded]) -> Iterator[Change]:
        outcome = SagaEnded.Outcome.Name(event.message.outcome).lower()
        yield _told(event, outcome=outcome, ended_at=event.recorded_at, ended_version=event.version)


@dataclass(frozen=True, slots=True)
class OpenSaga:
    """A saga that has not ended, or has heard of something since.

    Attributes:
        step: the last that was completed.
        told_at: when something happened to it last, in seconds since the epoch.
        reason: why it turned back; None while it goes forward.
    """

    stream: str
    correlation: str | None
    started_at: float | None
    step: str | None
    told_at: float
    reason: str | None


async def open_sagas(store: Store, *, told_before: float, limit: int = 1_000) -> list[OpenSaga]:
    """The sagas to which nothing has happened since a time, the longest first."""
    view = SagaView.view(sagas)
    ended = or_(view.c.ended_version.is_(None), view.c.version > view.c.ended_version)
    columns = (view.c.stream, view.c.correlation, view.c.started_at, view.c.step, view.c.told_at, view.c.reason)
    query = select(*columns).where(ended, view.c.told_at <= told_before).order_by(view.c.told_at, view.c.stream)
    return [OpenSaga(*row) for row in await store.fetch(query.limit(limit))]


@dataclass(frozen=True, slots=True)
class OpenSagas:
    """The open sagas of one kind: how many, how many of them turned back, and when the most silent was told last."""

    total: int
    compensating: int
    told_at: float | None


async def count_open(store: Store, prefix: str) -> OpenSagas:
    """Count the open sagas whose stream begins so."""
    view = SagaView.view(sagas)
    ended = or_(view.c.ended_version.is_(None), view.c.version > view.c.ended_version)
    turned_back = func.sum(case((view.c.reason.is_not(None), 1), else_=0))
    query = select(func.count().label("total"), turned_back.label("back"), func.min(view.c.told_at).label("told_at"))
    [row] = await store.fetch(query.where(ended, view.c.stream.startswith(prefix, autoescape=True)))
    return OpenSagas(row.total, row.back or 0, row.told_at)


def _told(event: Recorded[Any], **more: object) -> Change:
    return Put(sagas, {"stream": event.stream}, {"told_at": event.recorded_at, "version": event.version, **more})
