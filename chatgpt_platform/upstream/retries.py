"""How often and how soon a call may be sent again. Pure.

The budget is one for the whole gateway: each call earns a share of a retry, each retry costs one whole. So an
outage makes the upstreams' work greater by that share at most, and not twice or five times as great. What was
earned and not used fades, so that a quiet hour does not pay for a storm; a small reserve lets a gateway of a few
calls an hour retry as well.

    budget = Budget(20, now, calls)   # percent
    budget.spend(now, calls)          # for each retry: whether it may be

``calls``: how many there have been so far. That they came evenly since the last retry is near enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

RESERVE: Final = 10.0
"""Retries that are to be had without calls; used up, they come back at one a second."""

FADES_WITHIN: Final = 10.0
"""Seconds within which most (all but 1/e) of what was earned is gone: so long are calls recent."""

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 2.0


class Budget:
    """The retries that are left. ``now``: seconds of a clock that never goes back."""

    __slots__ = ("_at", "_calls", "_left", "_share")

    def __init__(self, percent: float, now: float, calls: int = 0) -> None:
        """``percent``: of calls; 0: there are no retries at all."""
        self._share: Final = percent / 100
        self._left = RESERVE
        self._at = now
        self._calls = calls

    def __bool__(self) -> bool:
        """Whether there are retries at all."""
        return self._share > 0

    def spend(self, now: float, calls: int) -> bool:
        """Take a retry; False where none is left."""
        self._pass_time(now, calls)
        if not self or self._left < 1:
            return False
        self._left -= 1
        return True

    def _pass_time(self, now: float, calls: int) -> None:
        passed, self._at = max(0.0, now - self._at), now
        earned, self._calls = self._share * (calls - self._calls), calls
        fading = passed / FADES_WITHIN
        if self._left > RESERVE:
            self._left = RESERVE + (self._left - RESERVE) * math.exp(-fading)
        else:
            self._left = min(RESERVE, self._left + passed)
        # What came in at an even rate, and has been fading since: (1 - e^-x) / x of it is left.
        self._left += earned * (-math.expm1(-fading) / fading if fading else 1.0)


def pause(retry: int, random: Callable[[], float]) -> float:
    """Seconds before the same upstream is asked again, ``retry`` counting from 1: full jitter, so that calls that
    failed together do not come back together (AWS Architecture Blog, "Exponential Backoff And Jitter").

    ``random``: gives numbers from 0 to 1.
    """
    return random() * min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (retry - 1))
