"""A small language for what a trace must show.

    trace.shows(edge("gateway", "orders") >> publish("orders.fulfilment") >> process("fulfilment.saga"))

A path is spans of which each is a child of the one before. The spans are those of memory, of `laneway up`'s collector
or of a Jaeger.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Self

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from laneway.cli.embedded.spans import SpanRecord

SLACK = 5_000_000
"""Nanoseconds by which clocks of two processes may differ."""


@dataclass(frozen=True, slots=True)
class Step:
    """One span of a path. `error` is the type of its error; None, if it has none."""

    kind: str
    service: str
    name: str
    error: str | None = None

    def fits(self, span: SpanRecord) -> bool:
        """Whether it is this one."""
        named = fnmatchcase(span.service, self.service) and fnmatchcase(span.name, self.name)
        return named and span.kind == self.kind and span.error == self.error

    def __str__(self) -> str:
        method = self.name.rpartition("/")[2].replace("*", "")
        verb = {"client": "calls", "server": "serves"}.get(self.kind) if "/" in self.name or "*" in self.name else None
        what = f"{self.service} {verb} {method}".strip() if verb else self.name
        return what if self.error is None else f"{what} ✗ {self.error}"


@dataclass(frozen=True, slots=True)
class Path:
    """Spans of which each is a child of the one before."""

    steps: tuple[Step, ...]

    def __rshift__(self, further: "Path") -> "Path":
        return Path((*self.steps, *further.steps))

    def failing(self, error: str) -> "Path":
        """The same, whose last span has an error."""
        return Path((*self.steps[:-1], replace(self.steps[-1], error=error)))

    def __str__(self) -> str:
        return " → ".join(map(str, self.steps))


def enters(service: str) -> Path:
    """A request from outside."""
    return Path((Step("server", service, "*"),))


def calls(service: str, method: str = "*", error: str | None = None) -> Path:
    """A call that a service makes."""
    return Path((Step("client", service, method, error),))


def serves(service: str, method: str = "*", error: str | None = None) -> Path:
    """A call that a service answers."""
    return Path((Step("server", service, method, error),))


def edge(caller: str, callee: str, method: str = "*", error: str | None = None) -> Path:
    """A call between two, on both sides."""
    return calls(caller, method, error) >> serves(callee, method, error)


def publish(queue: str, service: str = "*", error: str | None = None) -> Path:
    """A message goes to a queue."""
    return Path((Step("producer", service, f"publish {queue}", error),))


def process(queue: str, error: str | None = None) -> Path:
    """A worker runs it."""
    return Path((Step("consumer", "*", f"process {queue}", error),))


def project(view: str) -> Path:
    """A view takes events in."""
    return Path((Step("consumer", "*", f"project {view}"),))


def sql(service: str, statement: str, error: str | None = None) -> Path:
    """What a service asks of its database: `SELECT orders`, or `COMMIT`."""
    return Path((Step("client", service, statement, error),))


class Trace:
    """The spans of one trace."""

    def __init__(self, spans: Iterable[SpanRecord]) -> None:
        self.spans = sorted(spans, key=lambda span: (span.start, -span.end))
        self._by_id = {span.span_id: span for span in self.spans}

    @classmethod
    def of(cls, spans: Iterable[ReadableSpan]) -> Self:
        """Those of memory."""
        return cls(map(_record, spans))

    def __str__(self) -> str:
        return "\n".join(f"{each.service}: {each.kind} {each.name} {each.error or ''}" for each in self.spans)

    def count(self, path: Path) -> int:
        """How many spans end such a path."""
        return len(self._ends(path))

    def shows(self, path: Path) -> bool:
        """Whether there is such a path."""
        return bool(self._ends(path))

    def _ends(self, path: Path) -> list[SpanRecord]:
        first, *others = path.steps
        ends = [span for span in self.spans if first.fits(span)]
        for step in others:
            above = {span.span_id for span in ends}
            ends = [span for span in self.spans if span.parent_id in above and step.fits(span)]
        return ends

    @property
    def roots(self) -> Sequence[SpanRecord]:
        """Spans with no parent: there is one."""
        return [span for span in self.spans if not span.parent_id]

    @property
    def orphans(self) -> Sequence[SpanRecord]:
        """Spans whose parent is missing: there are none."""
        return [span for span in self.spans if span.parent_id and span.parent_id not in self._by_id]

    @property
    def discords(self) -> Sequence[str]:
        """Where times do not add up: a span that ends before it begins, begins before its parent, or outlasts the
        call of which it is the other side.
        """
        return [
            f"{span.service} {span.name}"
            for span in self.spans
            if span.end < span.start or ((above := self._by_id.get(span.parent_id)) and _discord(above, span))
        ]


def _discord(above: SpanRecord, span: SpanRecord) -> bool:
    if span.start < above.start - SLACK:
        return True
    waited_for = above.kind == "client" and span.kind == "server" and above.error is None
    return waited_for and span.end > above.end + SLACK


def _record(span: ReadableSpan) -> SpanRecord:
    attributes = dict(span.attributes or {})
    return SpanRecord(
        span_id=f"{span.context.span_id:016x}",
        parent_id=f"{span.parent.span_id:016x}" if span.parent else "",
        service=str(span.resource.attributes["service.name"]),
        name=span.name,
        kind=span.kind.name.lower(),
        lane=str(attributes.get("laneway.lane", "")),
        start=span.start_time or 0,
        end=span.end_time or 0,
        attempt=int(str(attributes.get("laneway.attempt", 1))),
        error=str(attributes.get("error.type", "error")) if span.status.status_code is StatusCode.ERROR else None,
    )
