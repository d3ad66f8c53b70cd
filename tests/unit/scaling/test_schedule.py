from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from laneway.errors import ConfigurationError
from laneway.scaling.model import Intent, Window
from laneway.scaling.schedule import check, limits

OFFICE = Window(start="0 8 * * 1-5", end="0 18 * * 1-5", timezone="Europe/Berlin", minimum=5)
NIGHT = Window(start="0 22 * * *", end="0 6 * * *", timezone="Europe/Berlin", maximum=2)
INTENT = Intent(queues=("q",), minimum=1, maximum=10, windows=(OFFICE, NIGHT))


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-11-25 07:59:59", (1, 10)),
        ("2026-11-25 08:00:00", (5, 10)),
        ("2026-11-25 17:59:59", (5, 10)),
        ("2026-11-25 18:00:00", (1, 10)),
        ("2026-11-28 12:00:00", (1, 10)),  # a Saturday
        ("2026-11-25 23:00:00", (1, 2)),
        ("2026-11-26 05:59:00", (1, 2)),
        ("2026-10-25 05:30:00", (1, 2)),  # the night in which the clock goes back
    ],
)
def test_a_window_sets_the_floor_or_the_ceiling_while_it_is_open(moment: str, expected: tuple[int, int]) -> None:
    when = datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    assert limits(INTENT, when.timestamp()) == expected


def test_a_ceiling_below_the_floor_lowers_the_floor() -> None:
    always = [
        Window(start="0 0 * * *", end="59 23 * * *", minimum=8),
        Window(start="0 0 * * *", end="59 23 * * *", maximum=3),
    ]
    intent = Intent(queues=("q",), windows=tuple(always))
    assert limits(intent, datetime(2026, 11, 25, 12, tzinfo=ZoneInfo("UTC")).timestamp()) == (3, 3)


def test_of_several_open_windows_the_highest_floor_and_the_lowest_ceiling_count() -> None:
    day = {"start": "0 0 * * *", "end": "59 23 * * *"}
    windows = [Window(**day, minimum=low, maximum=high) for low, high in ((2, 9), (4, 7), (3, 8))]
    intent = Intent(queues=("q",), windows=tuple(windows))
    assert limits(intent, datetime(2026, 11, 25, 12, tzinfo=ZoneInfo("UTC")).timestamp()) == (4, 7)


@pytest.mark.parametrize(
    ("window", "said"),
    [
        (
            Window(start="0 8 * *", end="0 9 * * *", minimum=1),
            "`0 8 \\* \\*` is no cron expression for a window's start",
        ),
        (Window(start="0 8 * * *", end="61 9 * * *", minimum=1), "no cron expression for a window's end"),
        (
            Window(start="0 8 * * *", end="0 9 * * *", minimum=1, timezone="Mars/Olympus"),
            "`Mars/Olympus` is no time zone",
        ),
        (Window(start="0 8 * * *", end="0 8 * * *", minimum=1), "never be open"),
        (Window(start="0 8 * * *", end="0 9 * * *"), "neither a minimum nor a maximum"),
    ],
)
def test_mistakes_in_windows_are_named(window: Window, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        check(window)


def test_good_windows_pass() -> None:
    check(OFFICE)
    check(NIGHT)
