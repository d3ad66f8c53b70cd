"""Structured logs on the standard library: one line per event, with the ids of the current trace.

`logging.getLogger(__name__)` everywhere; facts go into `extra`. Laneway logs nothing that a caller sent; what
an author logs goes through `laneway.telemetry.redaction`.
"""

import json
import logging
import sys
from collections.abc import Mapping
from typing import Literal

from opentelemetry import trace

from laneway.telemetry import redaction

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


class Levels:
    """The levels of single modules, changed while running; what is not named any more is as it was at the start."""

    def __init__(self) -> None:
        self._before: dict[str, int] = {}

    def set(self, levels: Mapping[str, str]) -> None:
        """Put these in force, by the names of loggers; `root` is all that say nothing themselves."""
        for name in self._before.keys() - levels.keys():
            logging.getLogger(name).setLevel(self._before.pop(name))
        for name, level in levels.items():
            logger = logging.getLogger(name)
            self._before.setdefault(name, logger.level)
            logger.setLevel(level)


def _event(record: logging.LogRecord) -> str:
    """What is said. Its arguments may be messages; an argument's own format decides for everything else."""
    args, said = record.args, str(_argument(record.msg))
    if isinstance(args, Mapping):
        said %= {name: _argument(each) for name, each in args.items()}
    elif args:
        said %= tuple(map(_argument, args))
    return redaction.without_secrets(said)


def _argument(value: object) -> object:
    return _line(value) if redaction.is_message(value) else value


def _error(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return redaction.without_secrets(formatter.formatException(record.exc_info)) if record.exc_info else ""


def _line(value: object) -> str:
    plain = redaction.told(value)
    return plain if isinstance(plain, str) else json.dumps(plain, default=str, ensure_ascii=False)


def _facts(record: logging.LogRecord) -> dict[str, object]:
    facts = {name: redaction.fact(name, value) for name, value in vars(record).items() if name not in _NO_FACTS}
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        facts["trace_id"] = f"{span.trace_id:032x}"
        facts["span_id"] = f"{span.span_id:016x}"
    return facts


def _plain(value: object) -> object:
    return _line(value) if isinstance(value, dict) else value


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts = " ".join(f"{name}={_plain(value)}" for name, value in _facts(record).items() if name != "span_id")
        line = f"{record.levelname.lower()} {record.name}: {_event(record)}"
        line = f"{line} [{facts}]" if facts else line
        return f"{line}\n{_error(self, record)}" if record.exc_info else line


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
            "event": _event(record),
            **_facts(record),
        }
        if record.exc_info:
            event["error"] = _error(self, record)
        return json.dumps(event, default=str)
