"""Which traces are kept: a share, decided where a trace begins; and, by option, what failed or was slow of the others.

Each process keeps its own part of a trace that was not sampled, until the span that it began with has ended. Errors go
up through the callers of who fails, so the part of each of them is kept, and the tree holds together along the error.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from opentelemetry.sdk.trace import ReadableSpan

MOST_TRACES = 1_000
MOST_SPANS = 500
"""What is remembered at most, of one process and of one trace: what is beyond goes."""

_IDS = 1 << 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """What is kept. `slow` is the seconds from which on a process's part of a trace is."""

    share: float = 1.0
    errors: bool = False
    slow: float | None = None

    def takes(self, trace_id: int) -> bool:
        """Whether a new trace is one of the share."""
        return self.share >= 1 or trace_id % _IDS < self.share * _IDS

    @property
    def looks_back(self) -> bool:
        """Whether it can matter how a trace that was not taken has ended."""
        return self.errors or self.slow is not None

    def worth(self, part: list[ReadableSpan], seconds: float) -> bool:
        """Whether a part of a trace is kept though its trace was not taken."""
        slow = self.slow is not None and seconds >= self.slow
        return slow or (self.errors and any(not span.status.is_ok for span in part))


class Untaken:
    """The parts, of this process, of traces that were not taken."""

    def __init__(self, sampling: Sampling, keep: Callable[[ReadableSpan], None]) -> None:
        self._sampling = sampling
        self._keep = keep
        self._parts: OrderedDict[int, list[ReadableSpan]] = OrderedDict()
        self._kept: OrderedDict[int, None] = OrderedDict()

    def ended(self, trace_id: int, span: ReadableSpan, *, first: bool) -> None:
        """A span has; `first` is that with which the process's part began."""
        if trace_id in self._kept:
            self._keep(span)
            return
        if not first:
            part = self._part(trace_id)
            if len(part) < MOST_SPANS:
                part.append(span)
            return
        part = [*self._parts.pop(trace_id, ()), span]
        if self._sampling.worth(part, ((span.end_time or 0) - (span.start_time or 0)) / 1e9):
            self._remember(trace_id)
            for each in part:
                self._keep(each)

    def _part(self, trace_id: int) -> list[ReadableSpan]:
        part = self._parts.setdefault(trace_id, [])
        if len(self._parts) > MOST_TRACES:
            self._parts.popitem(last=False)
        return part

    def _remember(self, trace_id: int) -> None:
        self._kept[trace_id] = None
        if len(self._kept) > MOST_TRACES:
            self._kept.popitem(last=False)
