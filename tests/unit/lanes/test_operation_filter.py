"""What tells a caller's operations apart."""

from datetime import UTC, datetime

import pytest

from laneway.errors import InvalidArgument
from laneway.lanes.operation_filter import selection_of
from laneway.store.operations import Selection, State

MOMENT = datetime(2026, 11, 24, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "selection"),
    [
        ("", Selection()),
        ("done = true", Selection(done=True)),
        ("done=false AND state = PENDING", Selection(done=False, state=State.PENDING)),
        ('metadata.method = "a.v1.A.Do"', Selection(method="a.v1.A.Do")),
        ("method = a.v1.A.Do", Selection(method="a.v1.A.Do")),
        ('create_time > "2026-11-24T00:00:00Z" AND done = true', Selection(created_after=MOMENT, done=True)),
        ("create_time < 2026-11-24T01:00:00+01:00", Selection(created_before=MOMENT)),
    ],
)
def test_a_filter_selects(text: str, selection: Selection) -> None:
    assert selection_of(text) == selection


@pytest.mark.parametrize(
    "text",
    [
        "done", "done = perhaps", "done > true", "done = true AND", "done = true OR done = false", "done = true done = true",
        "done = true AND done = false", "state = GONE", "name = x", "create_time > yesterday",
        "create_time > 2026-11-24T00:00:00", "AND done = true", "done = trueAND state = PENDING",
    ],
)  # fmt: skip
def test_what_is_no_filter_is_refused_with_what_is_one(text: str) -> None:
    with pytest.raises(InvalidArgument, match="cannot be read; write") as refused:
        selection_of(text)
    assert refused.value.reason == "FILTER_INVALID"
