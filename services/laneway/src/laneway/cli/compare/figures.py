"""What was measured of one lane in one scenario."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from laneway.cli.compare.asking import Done, Sample
from laneway.cli.percentile import percentile as exact


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Times are milliseconds. `answer` is what the caller's own caller waits, `done` until the work is done."""

    scenario: str
    lane: str
    asked: int
    ok: int
    noticed: Mapping[str, int]
    retry_after: float
    answer_p50: float
    answer_p99: float
    failure_p50: float
    done: int
    done_p50: float
    done_p99: float
    per_second: float | None = None
    cpu: float | None = None
    bytes: float | None = None
    waiting: Sequence[int] = field(default=())
    """In each quarter of a second since the beginning, how much of what was asked for was not done yet."""

    def to_json(self) -> dict[str, Any]:
        """For a program that reads."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What one change costs, by how the state is kept. Times are milliseconds."""

    how: str
    answer_p50: float
    answer_p99: float
    cpu: float | None
    stored: float

    def to_json(self) -> dict[str, Any]:
        """For a program that reads."""
        return asdict(self)


QUARTER = 0.25


def figures(scenario: str, lane: str, samples: Sequence[Sample], done: Done, **costs: float | None) -> Figures:
    """The figures of a run."""
    answers = [sample.took for sample in samples if sample.ok]
    failures = [sample.took for sample in samples if not sample.ok]
    return Figures(
        scenario=scenario,
        lane=lane,
        asked=len(samples),
        ok=len(answers),
        noticed=dict(Counter(sample.noticed for sample in samples if not sample.ok).most_common()),
        retry_after=max((sample.retry_after for sample in samples), default=0.0),
        answer_p50=percentile(answers, 0.5),
        answer_p99=percentile(answers, 0.99),
        failure_p50=percentile(failures, 0.5),
        done=len(done.at),
        done_p50=percentile(done.after, 0.5),
        done_p99=percentile(done.after, 0.99),
        waiting=_waiting(done),
        **costs,
    )


def percentile(seconds: Sequence[float], share: float) -> float:
    """Milliseconds within which this share of them is, as a table tells it; 0 of none."""
    return round(exact(seconds, share), 2)


def _waiting(done: Done) -> list[int]:
    if not done.at:
        return []
    asked = [at - after for at, after in zip(done.at, done.after, strict=True)]
    begin, end = min(asked), max(done.at)
    moments = [begin + QUARTER * number for number in range(1, int((end - begin) / QUARTER) + 2)]
    return [sum(a <= moment for a in asked) - sum(at <= moment for at in done.at) for moment in moments]
