"""Limits by the clock: cron windows in which another floor or ceiling holds."""

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from laneway.errors import ConfigurationError
from laneway.scaling.model import Intent, Window


def limits(intent: Intent, now: float) -> tuple[int, int]:
    """The floor and the ceiling at a moment. A ceiling below the floor lowers the floor."""
    open_now = [window for window in intent.windows if is_open(window, int(now // 60))]
    floors = [window.minimum for window in open_now if window.minimum is not None]
    ceilings = [window.maximum for window in open_now if window.maximum is not None]
    maximum = min(ceilings) if ceilings else intent.maximum
    minimum = max(floors) if floors else intent.minimum
    return min(minimum, maximum), maximum


@lru_cache(maxsize=4096)
def is_open(window: Window, minute: int) -> bool:
    """Whether a window is open in a minute since the epoch: its next end comes before its next start."""
    moment = datetime.fromtimestamp(minute * 60 + 1, UTC).astimezone(ZoneInfo(window.timezone))
    start, end = (next(CronSim(each, moment), None) for each in (window.start, window.end))
    if end is None:
        return False
    return start is None or end < start


def check(window: Window) -> None:
    """Refuse a window that cannot be read.

    Raises:
        ConfigurationError: a cron expression or the time zone is not one, the window has no limit, or it never opens.
    """
    try:
        zone = ZoneInfo(window.timezone)
    except (KeyError, ValueError, OSError):
        raise ConfigurationError(f"`{window.timezone}` is no time zone; write one as `Europe/Berlin`.") from None
    for name, expression in (("start", window.start), ("end", window.end)):
        try:
            if len(expression.split()) != 5:
                raise CronSimError("five fields are wanted")
            CronSim(expression, datetime.now(zone))
        except CronSimError as error:
            raise ConfigurationError(
                f"`{expression}` is no cron expression for a window's {name} ({error}); write one as `0 8 * * 1-5`."
            ) from None
    if window.start.split() == window.end.split():
        raise ConfigurationError(f"A window starts and ends at `{window.start}`: it would never be open.")
    if window.minimum is None and window.maximum is None:
        raise ConfigurationError(f"The window from `{window.start}` has neither a minimum nor a maximum.")
