"""What may be used in a period, and what has been: pure, in whole numbers of tokens or of picodollars.

A call takes its part in three steps, so that calls side by side never use more than there is:

    allowance.room(wall, clock) >= expected     may it begin?
    allowance.hold(held)                        it has begun, and may use up to so much
    allowance.settle(held, used, wall, clock)   it is over, and has used this; the rest is free again

``held`` is what the call may use at most, as far as that can be told, ``expected`` what it likely will: so of all
calls under way only the last one that began can go beyond the limit, by what it uses more than was expected. With
``expected`` = ``held`` none can.

``wall`` is the time in seconds since the epoch, ``clock`` that of a clock which is never set, in nanoseconds:
periods of the calendar follow the former, buckets the latter. A call counts in the period in which it ends.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from datetime import tzinfo
from typing import Final

from chatgpt_platform.limits.bucket import SECOND, Window, take_for, wait_for
from chatgpt_platform.limits.period import bounds

SLOTS: Final = 60
"""Parts of a rolling period: what was used leaves it at the end of the part behind, so up to a sixtieth late."""

_SET_BACK: Final = 3600.0
"""Seconds by which a clock is put right now and then; further back it was wrong before."""


class Allowance(ABC):
    """``amount`` in a period. ``spent``: used in it so far; ``held``: by calls under way.

    ``turns_at``: the wall time up to which these figures hold, so that those who ask for each call need ``turn``
    only then. A clock that was set back is seen by those who ask now and then.
    """

    __slots__ = ("amount", "held", "spent", "turns_at")

    def __init__(self, amount: int) -> None:
        self.amount = amount
        self.spent = 0
        self.held = 0
        self.turns_at = -math.inf

    @property
    def ends(self) -> float:
        """When it begins anew, in seconds since the epoch; infinite: never, or not all at once."""
        return math.inf

    def room(self, wall: float, clock: int) -> int:
        """What is left for another call; below nothing where one has used more than was expected."""
        self.turn(wall, clock)
        return self.amount - self.spent - self.held

    def hold(self, held: int) -> None:
        """A call begins."""
        self.held += held

    def settle(self, held: int, used: int, wall: float, clock: int) -> None:
        """A call that held so much is over."""
        self.turn(wall, clock)
        self.held -= held
        self.spend(used, clock)

    def resize(self, amount: int, clock: int) -> None:
        """Another amount from now on; what was used of the former stays used."""
        self.amount = amount

    @abstractmethod
    def turn(self, wall: float, clock: int) -> None:
        """Begin anew what begins anew at this time."""

    @abstractmethod
    def wait(self, wanted: int, wall: float, clock: int) -> float:
        """Seconds until there is room for so much, all calls under way having used what they hold; infinite where
        there never will be."""

    @abstractmethod
    def spend(self, used: int, clock: int) -> None:
        """So much was used that nothing held."""

    @abstractmethod
    def state(self, wall: float, clock: int) -> list[object]:
        """What is to be remembered over a restart: numbers for ``restore``, whole ones to the last digit."""

    @abstractmethod
    def restore(self, state: Sequence[object], wall: float, clock: int) -> None:
        """Go on from a ``state``. Raises ValueError, TypeError or IndexError where it is none."""


class Calendar(Allowance):
    """Begins anew with each day, week, month or year of a time zone, or never (``total``)."""

    __slots__ = ("_ends", "_period", "_starts", "_zone")

    def __init__(self, amount: int, period: str, zone: tzinfo | None, wall: float) -> None:
        super().__init__(amount)
        self._period: Final = period
        self._zone: Final = zone
        self._starts, self._ends = bounds(period, wall, zone)
        self.turns_at = self._ends

    @property
    def ends(self) -> float:
        return self._ends

    def turn(self, wall: float, clock: int) -> None:
        if self._starts - _SET_BACK <= wall < self._ends:
            return
        if wall >= self._ends:
            self.spent = 0
        # Else the clock was far ahead: what was used meanwhile counts in the present period.
        self._starts, self._ends = bounds(self._period, wall, self._zone)
        self.turns_at = self._ends

    def wait(self, wanted: int, wall: float, clock: int) -> float:
        if self.room(wall, clock) >= wanted:
            return 0.0
        return math.inf if wanted > self.amount else self._ends - wall

    def state(self, wall: float, clock: int) -> list[object]:
        self.turn(wall, clock)
        return [self.spent, wall]

    def restore(self, state: Sequence[object], wall: float, clock: int) -> None:
        spent, saved = _whole(state[0]), _number(state[1])
        # Of another period, or of a clock that was ahead of this one.
        if saved >= self._starts or saved > wall:
            self.spent = spent

    def spend(self, used: int, clock: int) -> None:
        self.spent += used


class Rolling(Allowance):
    """Counts what was used in the last so many seconds, wherever they begin."""

    __slots__ = ("_now", "_parts", "_width")

    def __init__(self, amount: int, seconds: int, wall: float) -> None:
        super().__init__(amount)
        self._width: Final = seconds / SLOTS
        self._now = int(wall // self._width)
        self._parts: deque[list[int]] = deque()
        """The number of each part in which something was used, and how much; the oldest first."""

    def turn(self, wall: float, clock: int) -> None:
        now = int(wall // self._width)
        self.turns_at = (now + 1) * self._width
        if now == self._now:
            return
        if now < self._now - max(SLOTS, _SET_BACK / self._width):
            # The clock was far ahead: what was used meanwhile leaves one whole period from now.
            self._parts = deque([[now, self.spent]])
            self._now = now
        elif now > self._now:
            self._now = now
            parts = self._parts
            while parts and parts[0][0] < now - SLOTS:
                self.spent -= parts.popleft()[1]

    def wait(self, wanted: int, wall: float, clock: int) -> float:
        room = self.room(wall, clock)
        if room >= wanted:
            return 0.0
        for number, used in self._parts:
            room += used
            if room >= wanted:
                return max((number + SLOTS + 1) * self._width - wall, self._width)
        return math.inf if wanted > self.amount else SLOTS * self._width

    def state(self, wall: float, clock: int) -> list[object]:
        self.turn(wall, clock)
        return [self._width, *(figure for part in self._parts for figure in part)]

    def restore(self, state: Sequence[object], wall: float, clock: int) -> None:
        ratio = _number(state[0]) / self._width
        parts: dict[int, int] = {}
        for number, used in zip(state[1::2], state[2::2], strict=True):
            # Of a period of another length: by its time.
            part = min(int(_whole(number) * ratio) if ratio != 1 else _whole(number), self._now)
            parts[part] = parts.get(part, 0) + _whole(used)
        self._parts = deque(
            [number, used] for number, used in sorted(parts.items()) if number >= self._now - SLOTS
        )
        self.spent = sum(used for _, used in self._parts)

    def spend(self, used: int, clock: int) -> None:
        parts = self._parts
        self.spent += used
        if parts and parts[-1][0] == self._now:
            parts[-1][1] += used
        else:
            parts.append([self._now, used])


class Rate(Allowance):
    """A token bucket: ``amount`` in so many seconds, refilled evenly. What a call used is taken at its end."""

    __slots__ = ("_full_at", "_window")

    def __init__(self, amount: int, seconds: int) -> None:
        super().__init__(amount)
        self._window = Window("tokens", amount, seconds)
        self._full_at = 0
        """When the bucket is full again, as ``limits.bucket`` has it."""

    def turn(self, wall: float, clock: int) -> None:
        ahead = self._full_at - clock * self.amount
        self.spent = -(-ahead // self._window.interval) if ahead > 0 else 0

    def resize(self, amount: int, clock: int) -> None:
        missing = -(-max(self._full_at - clock * self.amount, 0) // self._window.interval)
        super().resize(amount, clock)
        self._window = Window("tokens", amount, self._window.seconds)
        self._full_at = clock * amount + missing * self._window.interval

    def wait(self, wanted: int, wall: float, clock: int) -> float:
        nanoseconds = wait_for(self._window, self._full_at, clock, wanted, self.held)
        return math.inf if nanoseconds is None else nanoseconds / SECOND

    def state(self, wall: float, clock: int) -> list[object]:
        return [max(self._full_at - clock * self.amount, 0) / self._window.second, wall]

    def restore(self, state: Sequence[object], wall: float, clock: int) -> None:
        seconds, saved = _number(state[0]), _number(state[1])
        left = max(seconds - max(wall - saved, 0.0), 0.0)
        self._full_at = clock * self.amount + int(left * self._window.second)

    def spend(self, used: int, clock: int) -> None:
        self._full_at = take_for(self._window, self._full_at, clock, used)


def _whole(figure: object) -> int:
    if not isinstance(figure, int) or figure < 0:
        raise ValueError(f"found {figure!r}, expected a whole number")
    return figure


def _number(figure: object) -> float:
    if not isinstance(figure, int | float):
        raise ValueError(f"found {figure!r}, expected a number")  # noqa: TRY004 - of a file, not of a program
    return float(figure)
