"""Calendar periods in a time zone: pure, the time is passed in as seconds since the epoch.

A day begins at the owner's midnight, a week on Monday (ISO 8601), a month on its first day. Where the clocks
change at midnight, so that there is none or there are two, the first moment of the new date counts.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta, tzinfo
from typing import Final

PERIODS: Final = ("day", "week", "month", "year", "total")
"""``total`` has no end: what is used up in it stays so."""


def bounds(period: str, now: float, zone: tzinfo | None) -> tuple[float, float]:
    """Where the period around ``now`` begins and ends; the end is the next one's beginning.

    ``zone``: None is the machine's own. Raises ValueError for what is no period.
    """
    if period == "total":
        return -math.inf, math.inf
    date = datetime.fromtimestamp(now, zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    first = _first(period, date)
    return first.timestamp(), _first(period, _within_next(period, first)).timestamp()


def _first(period: str, date: datetime) -> datetime:
    match period:
        case "day":
            return date
        case "week":
            return date - timedelta(days=date.weekday())
        case "month":
            return date.replace(day=1)
        case "year":
            return date.replace(month=1, day=1)
    raise ValueError(f"a period is one of {', '.join(PERIODS)}, not {period!r}")


def _within_next(period: str, first: datetime) -> datetime:
    """Some date of the period that follows the one with this first date."""
    days = {"day": 1, "week": 7, "month": 31, "year": 366}
    return first + timedelta(days=days[period])
