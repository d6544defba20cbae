"""The circuit breaker of one upstream: while it is open, no call waits for what is known to be down. Pure.

    closed      calls go; at least FAILURES of the last WINDOW outcomes failing, and half of them, open it
    open        none goes, for half a second at first, twice as long each time, up to LONGEST; or as long as the
                upstream asked for by Retry-After
    half-open   the time is over: one call at a time may try; a good answer closes it, a bad one opens it again

``now`` is in seconds of a clock that never goes back.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

WINDOW: Final = 20
FAILURES: Final = 5
FORGET: Final = 30.0
"""Seconds after which earlier failures no longer count."""

FIRST: Final = 0.5
LONGEST: Final = 30.0
LONGEST_ASKED_FOR: Final = 300.0
"""However long an upstream asks to be left alone, one call in this time looks whether it means it."""

_MASK: Final = (1 << WINDOW) - 1


class State(Enum):
    """In the words of Nygard's "Release It!"."""

    CLOSED = "closed"
    HALF_OPEN = "half-open"
    OPEN = "open"


class Breaker:
    """Counts the outcomes of one upstream's calls, and says whether another may go."""

    __slots__ = ("_failed_at", "_failures", "_opens_for", "_outcomes", "_probing", "_until", "closed")

    def __init__(self) -> None:
        self._failed_at = 0.0
        self._until = 0.0
        self._close()

    def state(self, now: float) -> State:
        if self.closed:
            return State.CLOSED
        return State.OPEN if now < self._until else State.HALF_OPEN

    def admits(self, now: float) -> bool:
        """Whether a call may go now."""
        return self.closed or (now >= self._until and not self._probing)

    def opens_in(self, now: float) -> float:
        """Seconds until a call may try again; 0 where one may, or does, now."""
        return 0.0 if self.closed else max(0.0, self._until - now)

    def began(self) -> None:
        """A call goes that ``admits`` let: while the breaker is not closed, the only one."""
        if not self.closed:
            self._probing = True

    def succeeded(self) -> bool:
        """A call was answered. Returns whether that closes the breaker."""
        if self.closed:
            if self._failures:
                self._note(0)
            elif self._outcomes < WINDOW:
                self._outcomes += 1
            return False
        self._close()
        return True

    def failed(self, now: float, rest: float | None = None) -> bool:
        """A call was not answered, or badly. Returns whether that opens the breaker.

        ``rest``: seconds for which the upstream asked to be left alone.
        """
        if not self.closed:
            self._probing = False
            if now < self._until:
                self._until = max(self._until, now + min(rest or 0.0, LONGEST_ASKED_FOR))
            else:
                self._open(now, rest)
            return False
        if now - self._failed_at > FORGET:
            self._failures = self._outcomes = 0
        self._failed_at = now
        self._note(1)
        failures = self._failures.bit_count()
        if rest or (failures >= FAILURES and 2 * failures >= self._outcomes):
            self._open(now, rest)
            return True
        return False

    def abandoned(self) -> None:
        """A call ended without telling anything of the upstream."""
        self._probing = False

    def _close(self) -> None:
        self.closed = True
        self._outcomes = 0
        """How many are in the window."""
        self._failures = 0
        """A bit for each outcome in the window, the last one lowest; 1: failed."""
        self._until = 0.0
        self._opens_for = FIRST
        self._probing = False

    def _note(self, failed: int) -> None:
        self._failures = (self._failures << 1 | failed) & _MASK
        self._outcomes = min(self._outcomes + 1, WINDOW)

    def _open(self, now: float, rest: float | None) -> None:
        self.closed = False
        self._until = now + (min(rest, LONGEST_ASKED_FOR) if rest else self._opens_for)
        self._opens_for = min(2 * self._opens_for, LONGEST)
