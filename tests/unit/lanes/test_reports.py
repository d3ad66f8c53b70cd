"""Reports, which plain applications write too."""

import json
from typing import Any

import pytest

from laneway.lanes.queue.broker import LONGEST_DELAY, Outcome, Report, decode_report


def test_a_report_is_read_as_it_was_written() -> None:
    report = Report(id="m1", outcome=Outcome.RETRY, attempt=3, delay=1.5, error="UNAVAILABLE: away")
    assert decode_report(report.encode().encode()) == report


def test_what_a_plain_application_leaves_out_is_as_built_in() -> None:
    assert decode_report(b'{"id": "m1", "outcome": "done"}') == Report(id="m1", outcome=Outcome.DONE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": None}, {"outcome": "ok"}, {"outcome": []}, {"attempt": 0}, {"attempt": "1"}, {"attempt": True},
        {"attempt": 2**31}, {"delay": -1}, {"delay": None}, {"delay": float("nan")}, {"delay": float("inf")},
        {"delay": LONGEST_DELAY + 1}, {"error": None}, {"error": ["x"]},
    ],
)  # fmt: skip
def test_what_no_row_can_take_is_refused(wrong: dict[str, Any]) -> None:
    report = {"id": "m1", "outcome": "retry", "attempt": 1, "delay": 1.0, "error": "x", **wrong}
    with pytest.raises(ValueError):
        decode_report(json.dumps(report).encode())
