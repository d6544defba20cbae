from __future__ import annotations

import math
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.limits.period import PERIODS, bounds
from limits.limits_model import date_periods, turns, zones

calendar = st.sampled_from([period for period in PERIODS if period != "total"])


@given(calendar, zones, turns)
def test_a_period_holds_the_moments_of_its_dates_and_no_others(period: str, zone: ZoneInfo, now: float) -> None:
    of = date_periods(zone)[period]
    starts, ends = bounds(period, now, zone)
    assert starts <= now < ends
    assert of(starts) == of(now) == of(ends - 0.001)
    assert of(starts - 0.001) != of(now) != of(ends)


@given(calendar, zones, turns)
def test_periods_follow_one_another_without_a_gap(period: str, zone: ZoneInfo, now: float) -> None:
    starts, ends = bounds(period, now, zone)
    assert bounds(period, ends, zone)[0] == ends
    assert bounds(period, starts - 0.001, zone)[1] == starts


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", (2026, 3, 29), 23),
        ("Europe/Berlin", (2026, 10, 25), 25),
        ("Asia/Beirut", (2026, 3, 29), 23),  # has no midnight
        ("America/Havana", (2026, 11, 1), 25),  # has two
        ("Australia/Lord_Howe", (2026, 4, 5), 24.5),
        ("Asia/Kathmandu", (2026, 4, 5), 24),
    ],
)
def test_a_day_is_as_long_as_the_clocks_make_it(zone: str, day: tuple[int, int, int], hours: float) -> None:
    starts, ends = bounds("day", datetime(*day, 12, tzinfo=ZoneInfo(zone)).timestamp(), ZoneInfo(zone))
    assert ends - starts == hours * 3600


def test_a_week_begins_on_monday_a_month_on_its_first_day_and_a_year_with_january() -> None:
    now = datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC).timestamp()
    expected = {
        "day": (datetime(2028, 2, 29, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)),
        "week": (datetime(2028, 2, 28, tzinfo=UTC), datetime(2028, 3, 6, tzinfo=UTC)),
        "month": (datetime(2028, 2, 1, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)),
        "year": (datetime(2028, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC)),
    }
    for period, (starts, ends) in expected.items():
        assert bounds(period, now, UTC) == (starts.timestamp(), ends.timestamp())


def test_total_has_no_end() -> None:
    assert bounds("total", 5.0, UTC) == (-math.inf, math.inf)


def test_without_a_zone_it_is_the_machine_s_own() -> None:
    now = datetime(2026, 7, 1, 12).astimezone()
    starts, ends = bounds("day", now.timestamp(), None)
    assert datetime.fromtimestamp(starts).hour == 0  # noqa: DTZ006
    assert starts <= now.timestamp() < ends


def test_what_is_no_period_is_refused() -> None:
    with pytest.raises(ValueError, match="a period is one of day, week, month, year, total, not 'hour'"):
        bounds("hour", 5.0, UTC)
