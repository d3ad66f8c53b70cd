"""The brake: when a saturated pool has grown and no more ends per second, growing further only hurts what is behind it.

Pure. A level is a number of consuming pods that are saturated; its throughput is known when it has lasted a while, and
is compared with that of the last smaller level.
"""

from dataclasses import replace

from laneway.scaling.model import Brake, Level

WORTH_COMPARING = 1.25
"""A level must have so many times the pods of the one it is compared with."""

LEAST_GAIN = 0.25
"""Of the throughput that more pods should have added, at least this share must be there."""

SETTLES = 10.0
"""Seconds, and three service times, after which a level's throughput is known."""

ENOUGH = 20
"""Messages that must have ended at a level before its throughput is known."""

HOLDS = 60.0
"""Seconds for which the brake holds; then another try is made."""


def observe(brake: Brake, *, pods: int, saturated: bool, finished: float, service: float, now: float) -> Brake:
    """One more observation: `finished` counts all messages that have ended so far."""
    if brake.until and now >= brake.until:
        brake = Brake()
    if brake.until:
        return brake
    if not saturated or pods == 0:
        return Brake()
    present = brake.present
    if present is None or present.pods != pods:
        return Brake(before=_smaller(brake, pods), present=Level(pods=pods, since=now, finished_before=finished))
    seconds, ended = now - present.since, finished - present.finished_before
    if seconds < max(SETTLES, 3 * service) or ended < ENOUGH:
        return brake
    present = replace(present, throughput=ended / seconds)
    cause = _ineffective(brake.before, present)
    return Brake(before=brake.before, present=present, until=now + HOLDS if cause else 0.0, cause=cause)


def _smaller(brake: Brake, pods: int) -> Level | None:
    """The last level whose throughput is known and that is enough smaller."""
    for level in (brake.present, brake.before):
        if level is not None and level.throughput is not None and pods >= level.pods * WORTH_COMPARING:
            return level
    return None


def _ineffective(before: Level | None, present: Level) -> str:
    if before is None or before.throughput is None or present.throughput is None:
        return ""
    expected = before.throughput * (present.pods / before.pods - 1)
    if expected <= 0 or present.throughput - before.throughput >= expected * LEAST_GAIN:
        return ""
    return (
        f"{present.pods} pods end {present.throughput:.3g} messages/s and {before.pods} pods ended "
        f"{before.throughput:.3g}: more pods bring no more throughput, something behind them is the limit."
    )
