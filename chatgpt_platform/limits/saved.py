"""A client's hour and day buckets as a short text of JSON, to outlive the process: pure.

    {"at":1764151435123456789,"hour":[50,3600000000000],"day":[200,86400000000000]}

``at`` is the wall clock when it was written, in nanoseconds since the epoch. Each window has its capacity then,
and the ticks (``limits.bucket``) that it missed to be full; one that was full is left out. The monotonic clock
by which buckets go begins anew with the machine, so only what is missing outlives it, and the wall clock says
for how long it was refilled meanwhile. Shorter windows are not saved: they are full again by the time of a start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from chatgpt_platform.limits.bucket import Window, Windows, carry, full_time

WINDOWS: Final = frozenset({"hour", "day"})
"""The names of those that are saved."""

_HOUR: Final = 3600
_DAY: Final = 86400
_FULL: Final = (1, 0)


class _Saved(msgspec.Struct, frozen=True):
    at: int
    hour: tuple[int, int] = _FULL
    day: tuple[int, int] = _FULL


class Restored(NamedTuple):
    """``full``: the nanosecond from which on the buckets are. ``ahead``: they were written by a clock that was set
    back since, and are to be written again."""

    buckets: list[int]
    full: int
    ahead: bool


def text_of(windows: Windows, buckets: Sequence[int], now: int, wall: int) -> str:
    """What is to be saved of a client at ``now``, which the wall clock calls ``wall``; "": nothing."""
    parts = ""
    for window, full_at in zip(windows, buckets, strict=True):
        missing = full_at - now * window.capacity
        if missing > 0 and window.name in WINDOWS:
            parts += f',"{window.name}":[{window.capacity},{missing}]'
    return f'{{"at":{wall}{parts}}}' if parts else ""


class Reader:
    """Reads texts back at one moment: ``now``, which the wall clock calls ``wall``, and for these windows."""

    def __init__(self, windows: Windows, now: int, wall: int) -> None:
        self._windows: Final = windows
        self._now: Final = now
        self._wall: Final = wall
        self._decode: Final = msgspec.json.Decoder(_Saved).decode
        self._former: Final[dict[tuple[int, int], Windows]] = {}
        """By their capacities: most clients were saved under the same."""

    def read(self, text: str) -> Restored | None:
        """A client's buckets, refilled by the time that has passed; None: they are full, or the text is none.

        A wall clock that went back has refilled nothing. Limits that are others now are carried over as at a
        reload.
        """
        try:
            saved = self._decode(text)
            (hour, hour_missing), (day, day_missing) = saved.hour, saved.day
            former = self._windows_of(hour, day)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        passed = self._wall - saved.at
        refilled = self._now - max(passed, 0)
        buckets = [max(hour_missing, 0) + refilled * hour, max(day_missing, 0) + refilled * day]
        carried = carry(former, self._windows, buckets, self._now)
        full = full_time(self._windows, carried)
        return Restored(carried, full, passed < 0) if full > self._now else None

    def _windows_of(self, hour: int, day: int) -> Windows:
        """Raises ValueError where a capacity is none."""
        windows = self._former.get((hour, day))
        if windows is None:
            windows = self._former[hour, day] = (Window("hour", hour, _HOUR), Window("day", day, _DAY))
        return windows
