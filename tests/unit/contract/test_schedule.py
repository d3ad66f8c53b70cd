"""When schedules tick."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from laneway.contract.schedule import Missed, Schedule

BERLIN = "Europe/Berlin"


def moment(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def told(schedule: Schedule, after: str, until: str, at_most: int = 100) -> list[str]:
    zone = ZoneInfo(schedule.timezone)
    ticks = schedule.ticks(moment(after, schedule.timezone), moment(until, schedule.timezone), at_most)
    return [datetime.fromtimestamp(tick, zone).isoformat(sep=" ", timespec="minutes")[:16] for tick in ticks]


@pytest.mark.parametrize("missed", Missed)
def test_a_tick_counts_from_its_moment_on_and_once(missed: Missed) -> None:
    daily = Schedule(cron="0 3 * * *", missed=missed)
    assert told(daily, "2026-11-24 03:00", "2026-11-25 02:59:59") == []
    assert told(daily, "2026-11-24 03:00", "2026-11-25 03:00") == ["2026-11-25 03:00"]
    assert told(daily, "2026-11-25 03:00", "2026-11-25 03:00:01") == []


def test_of_missed_ticks_the_last_stands_for_all() -> None:
    assert told(Schedule(cron="0 * * * *"), "2026-11-24 03:30", "2026-11-24 09:30") == ["2026-11-24 09:00"]


def test_or_each_is_made_up_for_a_bounded_number_at_a_time() -> None:
    each = Schedule(cron="0 * * * *", missed=Missed.EACH)
    assert told(each, "2026-11-24 03:30", "2026-11-24 05:30") == ["2026-11-24 04:00", "2026-11-24 05:00"]
    assert len(told(each, "2026-01-01", "2026-11-24", at_most=10)) == 10


def test_years_of_missed_minutes_are_not_counted_through() -> None:
    assert told(Schedule(cron="* * * * *"), "1996-01-01", "2026-11-24 12:00:30") == ["2026-11-24 12:00"]


@pytest.mark.parametrize("missed", Missed)
def test_a_day_with_a_skipped_or_repeated_hour_has_one_tick(missed: Missed) -> None:
    nightly = Schedule(cron="30 2 * * *", timezone=BERLIN, missed=missed)
    assert len(told(nightly, "2026-03-28 12:00", "2026-03-29 12:00")) == 1  # 02:30 does not exist
    assert len(told(nightly, "2026-10-24 12:00", "2026-10-25 12:00")) == 1  # 02:30 comes twice


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        (Schedule(cron="0 3 * *"), "cron is `0 3 * *` (five fields are wanted)"),
        (Schedule(cron="* * * * * *"), "cron is `* * * * * *` (five fields are wanted)"),
        (Schedule(cron="61 * * * *"), "cron is `61 * * * *` (Bad minute"),
        (Schedule(cron="0 0 31 2 *"), "cron is `0 0 31 2 *` ("),
        (Schedule(cron="0 3 * * *", timezone="Berlin"), "timezone is `Berlin`, which is none"),
        (Schedule(cron="0 3 * * *", timezone="../etc"), "timezone is `../etc`, which is none"),
    ],
)
def test_what_cannot_be_obeyed_is_said(schedule: Schedule, problem: str) -> None:
    [said] = schedule.problems()
    assert said.startswith(problem)


def test_what_can_be_obeyed_has_no_problem() -> None:
    assert list(Schedule(cron="*/5 8-18 * * 1-5", timezone=BERLIN).problems()) == []
