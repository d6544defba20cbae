"""One timer for all the phases of a connection, one exchange after another.

Moving a timer costs a heap operation each time; so this one is moved only to an earlier time, and when it
fires before the deadline that holds by then. A busy connection pays that once in some seconds.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

_TICK: Final = 0.016
"""Seconds by which a loop may run a timer early: the coarsest clock, that of Windows."""

STANDSTILL: Final = 1.0
"""Seconds by which a timer is late only where the program stood still: stopped, paused with its container, or kept
from the processor."""

GRACE: Final = 0.5
"""Seconds that what came meanwhile then has to be read: uvloop runs timers before it looks for it."""


def _nothing(_: str) -> None:
    """What a closed deadline calls."""


class Deadline:
    """Calls ``expire`` with the name of the phase that took too long. Times are the loop's, in seconds."""

    __slots__ = ("_at", "_expire", "_fires", "_loop", "_phase", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, expire: Callable[[str], None]) -> None:
        self._loop: Final = loop
        self._expire = expire
        self._timer: asyncio.TimerHandle | None = None
        self._fires = math.inf
        self._at = math.inf
        self._phase = ""

    def expect(self, seconds: float, phase: str) -> None:
        """The phase ends within ``seconds``, or it has taken too long."""
        self._at = self._loop.time() + seconds
        self._phase = phase
        if self._fires > self._at:
            self._set()

    def rest(self) -> None:
        """Nothing is waited for."""
        self._at = math.inf

    def close(self) -> None:
        """For good. Lets go of ``expire``, and so of the circle that it makes with its owner."""
        self.cancel()
        self._expire = _nothing

    def cancel(self) -> None:
        """Until ``expect``."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._fires = None, math.inf

    def _set(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._fires = self._loop.call_at(self._at, self._on_timer), self._at

    def _on_timer(self) -> None:
        fired, self._timer, self._fires = self._fires, None, math.inf
        if self._at == math.inf:
            return
        now = self._loop.time()
        if now < self._at - _TICK:
            self._set()
        elif now > self._at + STANDSTILL and fired <= self._at:  # so once
            self._fires = now + GRACE
            self._timer = self._loop.call_at(self._fires, self._on_timer)
        else:
            self._expire(self._phase)
