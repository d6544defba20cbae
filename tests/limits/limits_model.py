"""A token bucket as the textbook has it: a level that is refilled continuously. Slow, and obviously right."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from fractions import Fraction
from math import ceil, floor
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from chatgpt_platform.limits.bucket import SECOND, Window, windows_of

limits = st.builds(
    windows_of,
    second=st.sampled_from([0, 1, 2, 7]),
    minute=st.sampled_from([0, 1, 3, 7, 100]),
    hour=st.sampled_from([0, 1, 50, 11]),
    day=st.sampled_from([0, 2, 13]),
)

pauses = st.one_of(
    st.sampled_from([0, 1, SECOND - 1, SECOND, SECOND + 1]),
    st.integers(0, SECOND),
    st.integers(0, 90 * SECOND),
    st.sampled_from([60, 3600, 86400]).flatmap(
        lambda seconds: st.integers(1, 13).map(lambda part: -(-seconds * SECOND // part))
    ),
    st.just(10**6 * SECOND),  # the machine slept
)

zones = st.sampled_from(
    [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/Havana",  # two midnights in autumn
        "Asia/Beirut",  # no midnight in spring
        "America/Scoresbysund",  # an hour before midnight comes twice
        "Australia/Lord_Howe",  # half an hour
        "Asia/Kathmandu",
    ]
).map(ZoneInfo)

turns = st.builds(
    lambda day, seconds: datetime.fromisoformat(f"2026-{day}T00:00:00Z").timestamp() + seconds,
    st.sampled_from(
        ["01-01", "02-28", "03-08", "03-28", "03-29", "04-04", "06-01", "10-04", "10-25", "11-01", "12-31"]
    ),
    st.integers(-36 * 3600, 36 * 3600) | st.integers(-36, 36).map(lambda hours: hours * 3600),
)
"""Moments about those at which periods begin and clocks change."""


def date_periods(zone: ZoneInfo) -> dict[str, Callable[[float], object]]:
    """For each period what tells a moment's from another's."""

    def on(moment: float) -> date:
        return datetime.fromtimestamp(moment, zone).date()

    return {
        "day": on,
        "week": lambda moment: on(moment).isocalendar()[:2],
        "month": lambda moment: (on(moment).year, on(moment).month),
        "year": lambda moment: on(moment).year,
        "total": lambda _: None,
    }


class Model:
    """One client: a level for each window."""

    def __init__(self, windows: tuple[Window, ...]) -> None:
        self.windows = windows
        self.levels = [Fraction(window.capacity) for window in windows]
        self.time = 0

    def move(self, now: int) -> None:
        """Refill until ``now``; a time that lies back changes nothing."""
        passed = max(0, now - self.time)
        self.time += passed
        for index, window in enumerate(self.windows):
            gain = Fraction(passed * window.capacity, window.seconds * SECOND)
            self.levels[index] = min(Fraction(window.capacity), self.levels[index] + gain)

    def wait(self) -> int:
        """Nanoseconds until each level is 1."""
        return max((ceil(self._until(index, Fraction(1))) for index in range(len(self.windows))), default=0)

    def take(self) -> bool:
        if any(level < 1 for level in self.levels):
            return False
        self.levels = [level - 1 for level in self.levels]
        return True

    def quota(self) -> tuple[int, ...]:
        """For each window the whole tokens, and the seconds until one more."""
        result: list[int] = []
        for index, (window, level) in enumerate(zip(self.windows, self.levels, strict=True)):
            full = level == window.capacity
            seconds = 0 if full else ceil(self._until(index, Fraction(floor(level) + 1)) / SECOND)
            result += [floor(level), seconds]
        return tuple(result)

    def full(self) -> bool:
        return all(level == window.capacity for level, window in zip(self.levels, self.windows, strict=True))

    def _until(self, index: int, level: Fraction) -> Fraction:
        window = self.windows[index]
        missing = max(Fraction(0), level - self.levels[index])
        return missing * window.seconds * SECOND / window.capacity


class Level:
    """One bucket from which many tokens are taken at once, and which may owe some: a level below 0."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.level = Fraction(window.capacity)
        self.time = 0
        self._rate = Fraction(window.capacity, window.seconds * SECOND)

    def move(self, now: int) -> None:
        passed = max(0, now - self.time)
        self.time += passed
        self.level = min(Fraction(self.window.capacity), self.level + passed * self._rate)

    def until(self, level: int) -> int:
        """Nanoseconds, rounded up, until it would be at ``level``, were there no rim."""
        return ceil(max(Fraction(0), level - self.level) / self._rate)
