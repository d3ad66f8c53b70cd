"""The onset of a burst on a pool of zero, waited out so that zero to the number needed is one step. Pure.

A producer takes some hundred milliseconds to send a burst. A look that falls into them sees a part of it, and would
ask for a part of the pods, and for the rest a second later. Such a look is taken again soon, until nothing more comes
or the burst has been seen for long enough: work that keeps coming is no burst, and must not be kept waiting.
"""

from laneway.scaling.model import Memory, Onset, Reading

AGAIN = 0.15
"""Seconds until such a look is taken again."""

SETTLES = 0.5
"""Seconds from the first message, as far as that is known, within which a burst is waited for."""


def onset(reading: Reading, memory: Memory, now: float) -> Onset | None:
    """The burst that is still coming in, if there is one; `memory` is from before this look."""
    before = memory.onset
    if before is None:
        if any(traffic.content for traffic in memory.traffic.values()):
            return None  # it was there at the last look already, and that one decided
        before = Onset(since=now - (reading.oldest_seconds or 0.0), waiting=0)
    grows = reading.waiting > before.waiting
    return Onset(since=before.since, waiting=reading.waiting) if grows and now < before.since + SETTLES else None
