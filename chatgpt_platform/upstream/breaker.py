"""The circuit breaker of one upstream: while it is open, no call waits for what is known to be down. Pure.

    closed      calls go; FAILURES in a row open it
    open        none goes, for half a second at first, twice as long each time, up to LONGEST
    half-open   the time is over: one call at a time may try; a good answer closes it, a bad one opens it again

An answer can take a model its time, and nobody should wait for it who only needs to know that the service is
there: so after PATIENCE another may try. A call that was failed elsewhere and has nobody left to turn to may try
earlier, if none does just then.

In a row, so that calls which fail for a reason of their own do not take the upstream away from the others: among
them is one that succeeds. Once it is open, only the call that tries can keep it so: what began before and fails
late tells nothing new. ``now`` is in seconds of a clock that never goes back; ``call`` stands for a call.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

FAILURES: Final = 5
FORGET: Final = 60.0
"""Seconds after which earlier failures no longer count."""

FIRST: Final = 0.5
LONGEST: Final = 30.0
PATIENCE: Final = 5.0


class State(Enum):
    """In the words of Nygard's "Release It!"."""

    CLOSED = "closed"
    HALF_OPEN = "half-open"
    OPEN = "open"


class Breaker:
    """Counts the failures of one upstream's calls, and says whether another may go."""

    __slots__ = ("_failed_at", "_opens_for", "_probe", "_probed_at", "_until", "closed", "failures")

    def __init__(self) -> None:
        self.closed = True
        self.failures = 0
        """In a row, so far; while there is none, ``succeeded`` has nothing to do."""
        self._failed_at = 0.0
        self._until = 0.0
        self._opens_for = FIRST
        self._probe: object = None
        self._probed_at = 0.0

    def state(self, now: float) -> State:
        if self.closed:
            return State.CLOSED
        return State.OPEN if now < self._until else State.HALF_OPEN

    def admits(self, now: float) -> bool:
        """Whether a call may go now."""
        return self.closed or (now >= self._until and not self.tried(now))

    def tried(self, now: float) -> bool:
        """Whether a call tries just now."""
        return self._probe is not None and now < self._probed_at + PATIENCE

    def opens_in(self, now: float) -> float:
        """Seconds until a call may try again; 0 where one may, or does, now."""
        return 0.0 if self.closed else max(0.0, self._until - now)

    def began(self, call: object, now: float) -> None:
        """A call goes that ``admits`` let: while the breaker is not closed, the only one."""
        if not self.closed:
            self._probe, self._probed_at = call, now

    def succeeded(self) -> bool:
        """A call was answered. Returns whether that closes the breaker."""
        self.failures = 0
        if self.closed:
            return False
        self.closed = True
        self._opens_for = FIRST
        self._probe = None
        return True

    def failed(self, call: object, now: float) -> bool:
        """A call was not answered, or badly. Returns whether that opens the breaker, which was closed."""
        if not self.closed:
            if call is self._probe:
                if now >= self._until:
                    self._open(now)
                self._probe = None
            return False
        if now - self._failed_at > FORGET:
            self.failures = 0
        self._failed_at = now
        self.failures += 1
        if self.failures >= FAILURES:
            self._open(now)
        return not self.closed

    def ended(self, call: object) -> None:
        """A call is over: where it has told nothing of the upstream, another may try."""
        if call is self._probe:
            self._probe = None

    def _open(self, now: float) -> None:
        self.closed = False
        self._probe = None
        self._until = now + self._opens_for
        self._opens_for = min(2 * self._opens_for, LONGEST)
