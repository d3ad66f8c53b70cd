"""When a method starts by itself: cron expressions in a time zone. Must not know who starts it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

FIELDS = 5
"""Of a cron expression: a schedule is no finer than a minute."""


class Missed(Enum):
    """What becomes of ticks that passed while nobody looked: one message for all of them, or one for each."""

    ONCE = "once"
    EACH = "each"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A cron expression, its time zone, and what becomes of missed ticks. Moments are seconds since the epoch."""

    cron: str = ""
    timezone: str = "UTC"
    missed: Missed = Missed.ONCE

    @property
    def expression(self) -> str:
        """What tells it from another schedule."""
        return f"{self.cron} {self.timezone}"

    def ticks(self, after: float, until: float, at_most: int) -> list[float]:
        """The ticks to be obeyed of those after one moment and up to another, the first of them first."""
        if self.missed is Missed.ONCE:
            last = next(self._run(until + 1, reverse=True), None)  # the one at `until` counts
            return [] if last is None or last <= after else [last]
        return [tick for tick in islice(self._run(after), at_most) if tick <= until]

    def next(self, after: float) -> float | None:
        """The first tick after a moment; none for an expression that never comes true again."""
        return next(self._run(after), None)

    def problems(self) -> Iterator[str]:
        """What cannot be obeyed."""
        try:
            ZoneInfo(self.timezone)
        except (KeyError, ValueError, OSError):
            yield f"timezone is `{self.timezone}`, which is none; write one as `Europe/Berlin`."
            return
        try:
            if len(self.cron.split()) != FIELDS:
                raise CronSimError("five fields are wanted")
            if self.next(0.0) is None:
                raise CronSimError("it never comes true")
        except CronSimError as error:
            yield f"cron is `{self.cron}` ({error}); write it as `0 3 * * 1-5`."

    def _run(self, moment: float, *, reverse: bool = False) -> Iterator[float]:
        begin = datetime.fromtimestamp(moment, UTC).astimezone(ZoneInfo(self.timezone))
        return (tick.timestamp() for tick in CronSim(self.cron, begin, reverse=reverse))
