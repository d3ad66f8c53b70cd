"""Structured logs on the standard library: one line per event, with the ids of the current trace.

`logging.getLogger(__name__)` everywhere; facts go into `extra`. Nothing that a caller sent is logged.
"""

import json
import logging
import sys
from typing import Literal

from opentelemetry import trace

_OF_A_RECORD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None)))
_NO_FACTS = _OF_A_RECORD | {"message", "asctime", "taskName", "color_message"}  # the last is uvicorn's


_PER_MESSAGE = ("celery.app.trace", "celery.worker.strategy", "celery.pool")
"""Celery says twice for each message what our span and metrics say once; its pool says it with the payload."""


def configure(service: str, format: Literal["text", "json"], level: str) -> None:
    """Send all logs of the process to standard error, in one format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(service) if format == "json" else _Text())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("httpx", "httpcore", "alembic", "uvicorn.access", "asyncio", *_PER_MESSAGE):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _facts(record: logging.LogRecord) -> dict[str, object]:
    facts = {name: value for name, value in vars(record).items() if name not in _NO_FACTS}
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        facts["trace_id"] = f"{span.trace_id:032x}"
        facts["span_id"] = f"{span.span_id:016x}"
    return facts


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts = " ".join(f"{name}={value}" for name, value in _facts(record).items() if name != "span_id")
        line = f"{record.levelname.lower()} {record.name}: {record.getMessage()}"
        line = f"{line} [{facts}]" if facts else line
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _Json(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": round(record.created, 6),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "event": record.getMessage(),
            **_facts(record),
        }
        if record.exc_info:
            event["error"] = self.formatException(record.exc_info)
        return json.dumps(event, default=str)
