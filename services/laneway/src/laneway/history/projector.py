"""Keeps a projection's view at the end of the log, rebuilds it beside the one that is read, and changes readers over.

One leased task per view and service. It may be killed anywhere: cursor and rows move in one commit, and of two that
run at once one finds that the cursor has moved. An event whose changes fail holds its stream and no other; held
streams are tried again whenever a process takes the view over, which a new version of the code does.
"""

import asyncio
import gc
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from laneway.domain.changes import Change, condensed
from laneway.domain.projection import Projection
from laneway.domain.upcasting import Upcasters
from laneway.errors import LanewayError
from laneway.history.log import EventLog
from laneway.store import Store, StoreUnavailable, VersionConflict, events, leases, projections
from laneway.store.events import Cursor, Event
from laneway.store.projections import Generation, Hold, State
from laneway.telemetry import names
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing

log = logging.getLogger(__name__)

LEASE = 5.0
"""Seconds after which another process takes over from one that died."""

PAUSE = 0.25
"""Seconds between looks at the log when there was nothing new."""

PATIENCE = 1.0
"""Seconds before another try when the database is away or another process keeps the view."""

HELD_AGAIN = 60.0
"""Seconds between attempts to apply what is held back."""

BATCH = 500
"""Events of one commit: it must stay short, and so must the time in which the process does nothing else."""

BATCH_ALONE = 20_000
"""The same in a process that does nothing else: a row that many events count in is written once for all of them."""


LINKED = 100
"""Events of a batch whose traces its span names."""


@dataclass(slots=True)
class _Outcome:
    """What a batch of events comes to."""

    changes: list[Change] = field(default_factory=list)
    failed: dict[str, tuple[Event, str]] = field(default_factory=dict)
    """By stream, the first event that failed, and why."""


class _Lease:
    """One of the view's leases, renewed when half of its time is over."""

    def __init__(self, store: Store, name: str, holder: str, clock: Callable[[], float]) -> None:
        self._store = store
        self._name = name
        self._holder = holder
        self._clock = clock
        self._until = 0.0

    @property
    def mine(self) -> bool:
        return self._clock() < self._until

    async def held(self) -> bool:
        """Whether this process has it, now that it was asked for."""
        now = self._clock()
        if now < self._until - LEASE / 2:
            return True
        mine = await leases.acquire(self._store, self._name, self._holder, now=now, until=now + LEASE)
        self._until = now + LEASE if mine else 0.0
        return mine

    async def release(self) -> None:
        self._until = 0.0
        await self._store.commit([leases.release(self._name, self._holder)])


@contextmanager
def few_collections() -> Iterator[None]:
    """For a process that does nothing but rebuild: let Python look for cycles rarely.

    Batches are tens of thousands of events that live at once and are in no cycle; looking at them again and again
    takes a third of the time.
    """
    before = gc.get_threshold()
    gc.set_threshold(200_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class Projector:
    """The keeper of one projection's view."""

    def __init__(
        self,
        store: Store,
        projection: Projection,
        *,
        holder: str,
        metrics: Metrics,
        upcasters: Upcasters | None = None,
        batch: int = BATCH,
        clock: Callable[[], float] = time.time,
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing
        self.projection = projection
        self._batch = batch
        self._store = store
        self._holder = holder
        self._metrics = metrics
        self._clock = clock
        self._upcasters = upcasters or Upcasters()
        self._log = EventLog(store, self._upcasters)
        self._types = projection.event_types()
        self._sources = list(self._upcasters.sources(self._types))
        self._keeping = _Lease(store, f"projection/{projection.name}", holder, clock)
        self._rebuilding = _Lease(store, f"projection/{projection.name}/rebuild", holder, clock)
        self._look_at_held = 0.0
        self._ahead: tuple[Cursor, asyncio.Task[list[Event]]] | None = None

    async def run(self) -> None:
        """Keep the view until cancelled; then let another do it."""
        try:
            while True:
                pause = await self._turn()
                await asyncio.sleep(pause)
        finally:
            await self.hand_over()

    async def hand_over(self) -> None:
        """Let another process keep the view at once."""
        if self._ahead is not None:
            self._ahead[1].cancel()
            await asyncio.wait([self._ahead[1]])
            self._ahead = None
        for lease in (self._keeping, self._rebuilding):
            with suppress(LanewayError):
                await lease.release()

    async def rebuild(self, told: Callable[[Generation], None] = lambda _: None) -> Generation:
        """Rebuild the view beside the one that is read, and change over; works beside processes that keep it.

        Args:
            told: is called with the generation as it grows.
        """
        mine = await self._rebuilding.held()  # another process that rebuilds goes on, and this one looks on
        wanted = (await self._begin(await projections.generations(self._store, self.projection.name))).generation
        while True:
            pause = await self._turn(keep=False) if mine else PATIENCE
            of_name = await projections.generations(self._store, self.projection.name)
            newer = [each for each in of_name if each.generation >= wanted]
            told(newer[0])
            if newer[0].state is not State.BUILDING:
                return newer[-1]
            await asyncio.sleep(pause)
            mine = await self._rebuilding.held()

    async def go_round(self, *, keep: bool = True, rebuild: bool = True) -> bool:
        """Bring each generation that is this code's a batch further; whether there may be more to do now.

        Args:
            keep: the one that is read, too.
            rebuild: those beside it, too.
        """
        found = await projections.generations(self._store, self.projection.name)
        if keep:
            found = await self._tidied(found)
        own = [each for each in found if each.version == self.projection.version]
        mine = [each for each in own if (rebuild if each.state is State.BUILDING else keep)]
        more = [await self._further(generation) for generation in mine]
        return any(more)

    async def _tidied(self, found: list[Generation]) -> list[Generation]:
        """Without what has retired, and with a generation of this code, if none is as new."""
        for retired in (each for each in found if each.state is State.RETIRED):
            await projections.sweep(self._store, retired, self.projection.tables)
        found = [each for each in found if each.state is not State.RETIRED]
        if all(each.version < self.projection.version for each in found):
            found.append(await self._begin(found))
        return found

    async def _turn(self, *, keep: bool = True) -> float:
        """Do what there is to do, if the view is this process's to keep; seconds to wait then."""
        try:
            if keep and not await self._hold_lease():
                return PATIENCE
            return 0.0 if await self.go_round(keep=keep, rebuild=await self._rebuilding.held()) else PAUSE
        except VersionConflict:
            return 0.0  # another process was quicker: look again
        except LanewayError as error:
            log.warning("a view waits", extra={"view": self.projection.name, "cause": error.message})
            return PATIENCE

    async def _hold_lease(self) -> bool:
        new = not self._keeping.mine
        if not await self._keeping.held():
            self._metrics.not_projecting(self.projection.name)
            return False
        if new:
            self._look_at_held = self._clock()
        return True

    async def _begin(self, found: Sequence[Generation]) -> Generation:
        number = max((each.generation for each in found), default=0) + 1
        begin = projections.begin(self.projection.name, number, self.projection.version, now=self._clock())
        await self._store.commit([begin])
        of_name = await projections.generations(self._store, self.projection.name)
        return next(each for each in of_name if each.generation == number)

    async def _further(self, generation: Generation) -> bool:
        """A batch further, and into use when it has come to the end of the log."""
        building = generation.state is State.BUILDING
        held = {each.stream: each for each in await self._held(generation)}
        new = await (self._read(generation.cursor) if building else self._after(generation.cursor))
        more = len(new) == self._batch
        if more and building:  # the database reads on while this process works
            self._ahead = new[-1].cursor, asyncio.create_task(self._after(new[-1].cursor))
        if new and not building:  # told before it is applied, which may fail again and again
            self._metrics.projected(generation.name, 0, lag=self._since(new[0].recorded_at), held=len(held))
        if new:
            with nullcontext() if building else self._span(new):
                generation = await self._apply(generation, new, held)
        if building and not more:
            await self._store.commit(projections.go_live(generation, self._clock()))
            log.info("a view was rebuilt", extra={"view": generation.name, "events": generation.applied})
        if not building:
            unseen = new[-1].recorded_at if more else await events.withheld_since(self._store)
            self._metrics.projected(generation.name, len(new), lag=self._since(unseen), held=len(held))
        return more

    def _since(self, moment: float | None) -> float:
        return 0.0 if moment is None else max(self._clock() - moment, 0.0)

    async def _read(self, cursor: Cursor) -> list[Event]:
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == cursor:
            return await ahead[1]
        if ahead is not None:
            ahead[1].cancel()
        return await self._after(cursor)

    async def _after(self, cursor: Cursor) -> list[Event]:
        return await events.read_after(self._store, cursor, self._sources, self._batch)

    # Applying

    def _span(self, new: Sequence[Event]) -> AbstractContextManager[object]:
        """In the trace of its events, if they are of one; else a trace of its own, linked to those of the first."""
        if self._tracing is None:
            return nullcontext()
        name, attributes = names.project_span(self.projection.name), names.projecting(len(new))
        links = self._tracing.links(event.metadata for event in new[:LINKED])
        parent = Context()
        if len(links) == 1:
            links, parent = [], self._tracing.extract(new[0].metadata)
        return self._tracing.span(name, SpanKind.CONSUMER, attributes, parent=parent, links=links)

    async def _apply(self, generation: Generation, new: Sequence[Event], held: Mapping[str, Hold]) -> Generation:
        free = [event for event in new if event.stream not in held]
        try:
            return await self._commit(generation, new, self._outcome(free))
        except (VersionConflict, StoreUnavailable):
            raise
        except Exception:  # a change that is none, or that the database refused: find out whose
            return await self._one_by_one(generation, new, set(held))

    async def _one_by_one(self, generation: Generation, new: Sequence[Event], held: set[str]) -> Generation:
        for event in new:
            outcome = self._outcome([] if event.stream in held else [event])
            try:
                generation = await self._commit(generation, [event], outcome)
            except (VersionConflict, StoreUnavailable):
                raise
            except Exception as error:
                outcome = _Outcome(failed={event.stream: (event, _cause(error))})
                generation = await self._commit(generation, [event], outcome)
            held |= outcome.failed.keys()
        return generation

    async def _commit(self, generation: Generation, new: Sequence[Event], outcome: _Outcome) -> Generation:
        now = self._clock()
        cursor = new[-1].cursor
        holds = [
            projections.hold(generation, stream, event.version, why, now)
            for stream, (event, why) in outcome.failed.items()
        ]
        changes = condensed(outcome.changes, generation.generation)
        await self._store.commit([projections.advance(generation, cursor, len(new)), *changes, *holds])
        for stream, (event, why) in outcome.failed.items():
            facts = {"view": generation.name, "stream": stream, "event": event.event_id, "cause": why}
            log.error("a view holds a stream back", extra=facts)
        return replace(generation, cursor=cursor, applied=generation.applied + len(new))

    def _outcome(self, new: Iterable[Event]) -> _Outcome:
        """What events change; where one fails, its stream stands still from there on."""
        outcome = _Outcome()
        changes, failed = outcome.changes, outcome.failed
        for event in new:
            if failed and event.stream in failed:
                continue
            try:
                changes += list(self.projection.changes(self._log.recorded(event, self._types)))
            except Exception as error:  # a mistake of the author's: one stream's, not everyone's
                if isinstance(error, LanewayError) and error.transient:
                    raise
                failed[event.stream] = event, _cause(error)
        return outcome

    # What is held back

    async def _held(self, generation: Generation) -> Sequence[Hold]:
        """The streams held back; when it is time, after another attempt to apply what they hold."""
        held = await projections.holds(self._store, generation.name, generation.generation)
        if not held or self._clock() < self._look_at_held:
            return held
        for each in held:
            await self._again(generation, each)
        self._look_at_held = self._clock() + HELD_AGAIN
        return await projections.holds(self._store, generation.name, generation.generation)

    async def _again(self, generation: Generation, hold: Hold) -> None:
        """Apply what a stream has had back, up to the cursor or its next failure."""
        later = await events.read_stream(self._store, hold.stream, after=hold.version - 1)
        due = [event for event in later if event.type in self._sources and event.cursor <= generation.cursor]
        outcome = self._outcome(due)
        failed = outcome.failed.get(hold.stream)
        if failed is None:
            end = projections.release(generation, hold.stream)
        else:
            end = projections.hold(generation, hold.stream, failed[0].version, failed[1], hold.since)
        unmoved = projections.advance(generation, generation.cursor, 0)
        try:
            await self._store.commit([unmoved, *condensed(outcome.changes, generation.generation), end])
        except (VersionConflict, StoreUnavailable):
            raise
        except Exception as error:  # it still is no change that the database takes
            log.info("still held back", extra={"view": hold.name, "stream": hold.stream, "cause": _cause(error)})


def _cause(error: Exception) -> str:
    return error.message if isinstance(error, LanewayError) else f"{type(error).__name__}: {error}"
