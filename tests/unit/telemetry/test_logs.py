"""A log line is one event with its facts and its trace."""

import json
import logging
from collections.abc import Iterator

import pytest

from laneway.telemetry import logs
from laneway.telemetry.logs import Levels
from laneway.telemetry.tracing import Tracing


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_json_has_the_facts_and_the_trace(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("orders", "json", "INFO")
    with Tracing("orders", "1", None).span("call") as span:
        logging.getLogger("laneway.x").info("serving on %s", "a port", extra={"port": 7})

    event = json.loads(capsys.readouterr().err)
    assert event.pop("time") > 0
    assert event == {
        "level": "info",
        "service": "orders",
        "logger": "laneway.x",
        "event": "serving on a port",
        "port": 7,
        "trace_id": f"{span.get_span_context().trace_id:032x}",
        "span_id": f"{span.get_span_context().span_id:016x}",
    }


def test_text_is_one_line_with_the_facts_behind(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("orders", "text", "INFO")

    logging.getLogger("laneway.x").warning("full", extra={"queue": "orders.bulk"})

    assert capsys.readouterr().err == "warning laneway.x: full [queue=orders.bulk]\n"


@pytest.mark.parametrize("format", ["json", "text"])
def test_an_error_shows_where_it_came_from(capsys: pytest.CaptureFixture[str], format: str) -> None:
    logs.configure("orders", format, "INFO")  # type: ignore[arg-type]
    try:
        raise ValueError("nonsense")
    except ValueError:
        logging.getLogger("laneway.x").exception("failed")

    assert "ValueError: nonsense" in capsys.readouterr().err


def test_what_is_below_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("orders", "text", "WARNING")

    logging.getLogger("laneway.x").info("chatter")

    assert capsys.readouterr().err == ""


def test_levels_of_modules_change_while_running_and_come_back(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("orders", "text", "INFO")
    levels, one, other = Levels(), logging.getLogger("laneway.test.one"), logging.getLogger("laneway.test.other")

    def said() -> list[str]:
        one.debug("one")
        other.warning("other")
        return [line.split()[-1] for line in capsys.readouterr().err.splitlines()]

    assert said() == ["other"]
    levels.set({"laneway.test.one": "DEBUG", "laneway.test.other": "ERROR"})
    assert said() == ["one"]
    levels.set({"laneway.test.one": "DEBUG"})
    assert said() == ["one", "other"]
    levels.set({})
    assert said() == ["other"]
    assert one.level == logging.NOTSET
