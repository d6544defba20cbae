"""Token buckets in exact integer arithmetic: pure, the time is passed in as nanoseconds from 0 up.

A client has one bucket for each ``Window``, and all of its state is one integer a window: ``full_at``, the
moment at which that bucket is full again. Buckets are a plain list of these, in the order of the windows:

    windows = windows_of(second=1, minute=3, hour=50, day=0)
    buckets = fresh(windows)
    wait = take(windows, buckets, now)      # 0: admitted, one token taken of each; else ns, nothing taken

Why this is a token bucket: a bucket that holds ``capacity - x`` tokens and gains one each ``interval`` is
full after ``x * interval``. So ``x = (full_at - now) / interval`` tokens are missing, and the level need
not be stored, nor refilled on a timer. A token is there while no more than ``capacity - 1`` are missing;
taking it moves ``max(full_at, now)`` on by one interval. The ``max`` is the rim: a bucket that was full
long ago, or a machine that slept, holds ``capacity`` tokens and no more. Each take moves ``full_at`` on by
a whole interval and may leave it at most ``capacity`` intervals ahead, so any stretch of time, wherever it
begins, admits at most ``capacity + rate * time``.

Why it is exact: an interval is ``window / capacity``, which for 7 a minute is no whole number of
nanoseconds. So ``full_at`` counts in ticks of the window's own, ``capacity`` of them to the nanosecond: an
interval is then as many ticks as the window has nanoseconds. Nothing is rounded but the waits that are
shown, and those up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

SECOND: Final = 1_000_000_000
"""Nanoseconds."""


@dataclass(frozen=True, slots=True)
class Window:
    """``capacity`` calls in ``seconds``, refilled evenly. Raises ValueError unless both are at least 1."""

    name: str
    capacity: int
    seconds: int
    interval: int = field(init=False)
    """Ticks until one more token is there."""
    slack: int = field(init=False)
    """Ticks by which ``full_at`` may lie ahead with one token still there."""
    second: int = field(init=False)
    """Ticks in a second."""

    def __post_init__(self) -> None:
        if self.capacity < 1 or self.seconds < 1:
            raise ValueError(f"window {self.name}: {self.capacity} in {self.seconds} s is no limit")
        interval = self.seconds * SECOND
        object.__setattr__(self, "interval", interval)
        object.__setattr__(self, "slack", interval * (self.capacity - 1))
        object.__setattr__(self, "second", self.capacity * SECOND)


Windows = tuple[Window, ...]


def windows_of(second: int, minute: int, hour: int, day: int) -> Windows:
    """The windows that are limited, shortest first. 0 means no limit; ValueError for less."""
    asked = (("second", second, 1), ("minute", minute, 60), ("hour", hour, 3600), ("day", day, 86400))
    return tuple(Window(name, capacity, seconds) for name, capacity, seconds in asked if capacity)


def fresh(windows: Windows) -> list[int]:
    """The buckets of a client that has not called yet: full since the beginning of time."""
    return [0] * len(windows)


def wait(windows: Windows, buckets: Sequence[int], now: int) -> int:
    """Nanoseconds, rounded up, until every bucket has a token; 0: they have. Takes nothing."""
    longest = 0
    for window, full_at in zip(windows, buckets, strict=True):
        short = full_at - now * window.capacity - window.slack
        if short > 0:
            longest = max(longest, -(-short // window.capacity))
    return longest


def take(windows: Windows, buckets: list[int], now: int) -> int:
    """Take one token of each bucket and return 0; or take of none and return the wait, as ``wait`` does."""
    taken: list[int] = []
    for window, full_at in zip(windows, buckets, strict=True):
        ahead = full_at - now * window.capacity
        if ahead > window.slack:
            return wait(windows, buckets, now)
        taken.append((full_at if ahead > 0 else full_at - ahead) + window.interval)
    buckets[:] = taken
    return 0


Spend = Callable[[list[int], int], tuple[int, ...] | None]

_SPEND: Final = """
def spend(buckets, now):
    {full_at}, = buckets
{windows}
    buckets[:] = {full_at},
    return {quotas}
"""
_SPEND_IN_WINDOW: Final = """
    ahead = full_at_{name} - now * {capacity}
    if ahead <= 0:
        full_at_{name} += {interval} - ahead
        left_{name} = {capacity} - 1
        wait_{name} = -(-{interval} // {second})
    elif ahead <= {slack}:
        full_at_{name} += {interval}
        missing = (ahead - 1) // {interval}
        left_{name} = {capacity} - 2 - missing
        wait_{name} = -((missing * {interval} - ahead) // {second})
    else:
        return None
"""


def spending(windows: Windows) -> Spend:
    """A function that does ``take``, then ``quota``: spend(buckets, now); None, nothing taken, where one is empty.

    It is on the way of each call, and written out for these windows it takes half the time that a loop over
    them does, whose figures Python cannot know before.
    """
    if not windows:
        return lambda buckets, now: ()
    names = [window.name for window in windows]
    source = _SPEND.format(
        full_at=", ".join(f"full_at_{name}" for name in names),
        windows="".join(
            _SPEND_IN_WINDOW.format(
                name=window.name, capacity=window.capacity, interval=window.interval, slack=window.slack,
                second=window.second,
            )
            for window in windows
        ),
        quotas=", ".join(f"left_{name}, wait_{name}" for name in names),
    )  # fmt: skip
    made: dict[str, Spend] = {}
    exec(source, made)  # noqa: S102 - of the text above and of numbers
    return made["spend"]


def quota(windows: Windows, buckets: Sequence[int], now: int) -> tuple[int, ...]:
    """For each window in turn: the tokens left, and the seconds, rounded up, until one more (0 when full)."""
    result: list[int] = []
    for window, full_at in zip(windows, buckets, strict=True):
        capacity = window.capacity
        ahead = full_at - now * capacity
        if ahead > 0:
            interval = window.interval
            more = (ahead - 1) // interval  # tokens missing beside the next one
            result += (capacity - more - 1, -((more * interval - ahead) // window.second))
        else:
            result += (capacity, 0)
    return tuple(result)


def full_time(windows: Windows, buckets: Sequence[int]) -> int:
    """The nanosecond from which on all buckets are full, so that nothing is left to remember."""
    latest = 0
    for window, full_at in zip(windows, buckets, strict=True):
        full = -(-full_at // window.capacity)
        if full > latest:
            latest = full
    return latest


def wait_for(window: Window, full_at: int, now: int, amount: int, held: int = 0) -> int | None:
    """Nanoseconds, rounded up, until ``amount`` tokens are there beside ``held``; 0: they are. None: never.

    ``held`` is what calls under way may take yet. Where that and ``amount`` are more than a bucket holds, it
    depends on them, and the wait is as if they took all of it now.
    """
    if amount > window.capacity:
        return None
    missing = max(full_at - now * window.capacity, 0)
    short = missing + (held + amount - window.capacity) * window.interval
    return -(-short // window.capacity) if short > 0 else 0


def take_for(window: Window, full_at: int, now: int, amount: int) -> int:
    """``full_at`` after ``amount`` tokens were taken; below empty where there were fewer, and later ones wait.

    A call that does not know yet how much it will use holds what it may, waits for that beside what others
    hold, and takes at its end what it used:

        if wait_for(window, full_at, now, expected, held) == 0: held += expected
        held -= expected; full_at = take_for(window, full_at, now, used)

    So what it does not use is free at once. If it took at its beginning and gave back at its end, the bucket would
    be refilled twice: by the time that passed meanwhile, and by what came back.
    """
    return max(full_at, now * window.capacity) + amount * window.interval


def carry(old: Windows, new: Windows, buckets: Sequence[int], now: int) -> list[int]:
    """The same client's buckets under other limits: tokens used in a window of the same name stay used.

    A bucket cannot miss more than it holds: under a smaller capacity it is empty at worst.
    """
    used = {
        window.name: (full_at - now * window.capacity, window.interval)
        for window, full_at in zip(old, buckets, strict=True)
    }
    result: list[int] = []
    for window in new:
        missing, interval = used.get(window.name, (0, 1))
        missing = -(-missing * window.interval // interval)
        result.append(now * window.capacity + min(missing, window.interval * window.capacity))
    return result
